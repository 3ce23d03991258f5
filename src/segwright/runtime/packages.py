"""Optional packages, imported without their makers hearing of it."""

import importlib
import os
import sys
from types import ModuleType

_REPORTER = "openvino_telemetry"
_FORBIDDEN = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""ONNX Runtime's variable, and its name in earlier releases."""


def import_silently(package: str) -> ModuleType:
    """Import a package that would otherwise report its use.

    OpenVINO, NNCF and ONNX Runtime write into the user's home folder and report to their makers unless the user has
    forbidden it; they begin when they are imported. The first two do without where the package for it is not found;
    ONNX Runtime reads the environment, in which a user's own word stays.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    for variable in _FORBIDDEN:
        os.environ.setdefault(variable, "1")
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not to be found
    if _REPORTER in modules:
        return importlib.import_module(package)
    modules[_REPORTER] = None
    try:
        return importlib.import_module(package)
    finally:
        del modules[_REPORTER]
