import os
import subprocess
import sys
from pathlib import Path

import pytest

from segwright.runtime.packages import import_silently
from tests.support.extras import needs


@pytest.mark.parametrize("package", ["openvino", "nncf", "onnxruntime"])
def test_import_leaves_nothing_in_the_home_folder(package: str, tmp_path: Path) -> None:
    needs(package)
    code = f"from segwright.runtime.packages import import_silently; import_silently('{package}')"
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    for name in ("CI", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        home.pop(name, None)
    subprocess.run([sys.executable, "-c", code], env=home, check=True, timeout=120)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_blocked_can_be_imported_again_afterwards() -> None:
    import_silently("json")
    assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is not None


def test_missing_package_is_named() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        import_silently("no_such_package")
    assert caught.value.name == "no_such_package"
