"""The names a user imports."""

import subprocess
import sys

import pytest

import segwright


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, segwright; segwright.__version__; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


@pytest.mark.parametrize("name", segwright.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(segwright, name)
    assert callable(value) or name == "zoo"
    assert name in dir(segwright)


def test_verbs_stay_functions_when_modules_of_like_names_are_imported() -> None:
    script = (
        "import segwright.evaluation, segwright.engine.train, segwright.cli.train, segwright.cli.evaluate, segwright;"
        "assert callable(segwright.evaluate) and callable(segwright.train) and callable(segwright.check_data);"
        "from segwright.engine import train; assert callable(train)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'segwright' has no attribute 'trian'"):
        _ = segwright.trian
