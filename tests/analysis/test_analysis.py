import subprocess
import sys

import pytest

import segwright.analysis

PAGES = ("check_page", "contact_sheet", "choice", "out_file", "page", "previews", "statistics", "statistics_page")


def test_pages_about_data_need_neither_torch_nor_matplotlib() -> None:
    names = ", ".join(f"segwright.analysis.{name}" for name in PAGES)
    code = f"import sys; sys.modules.update(torch=None, matplotlib=None); import {names}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", segwright.analysis.__all__)
def test_public_names_are_loaded_on_first_use(name: str) -> None:
    assert getattr(segwright.analysis, name).__name__ == name


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'label_limit'"):
        segwright.analysis.label_limit  # noqa: B018  what is tested
