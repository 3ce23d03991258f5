"""Packages that some tests need."""

from importlib.util import find_spec

import pytest


def needs(*packages: str) -> None:
    """Skip the module's tests where one is missing; nothing is imported: OpenVINO would report its use."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed", allow_module_level=True)
