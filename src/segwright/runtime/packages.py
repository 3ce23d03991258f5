"""Optional packages, imported without their makers hearing of it."""

import importlib
import sys
from types import ModuleType

_REPORTER = "openvino_telemetry"


def import_silently(package: str) -> ModuleType:
    """Import a package that would otherwise report its use.

    OpenVINO and NNCF write into the user's home folder and report to their makers unless the user has forbidden it;
    OpenVINO begins when it is imported. Both do without where the package for it is not found.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not to be found
    if _REPORTER in modules:
        return importlib.import_module(package)
    modules[_REPORTER] = None
    try:
        return importlib.import_module(package)
    finally:
        del modules[_REPORTER]
