"""Runs a test once in NumPy and once in compiled loops."""

import pytest

from segwright.runtime import prepare

TOOLS = ("numpy", "numba")


def loop_with(tool: str, patch: pytest.MonkeyPatch, *purposes: str) -> None:
    """Have NumPy do the work, or the compiled loops, ready by now; skips where numba is missing."""
    if tool == "numpy":
        patch.setenv("SEGWRIGHT_COMPILED", "never")
        return
    pytest.importorskip("numba", reason="numba, which compiles the loops, is not installed")
    patch.setenv("SEGWRIGHT_COMPILED", "always")
    assert prepare(*purposes)
