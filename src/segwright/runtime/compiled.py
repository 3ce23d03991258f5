"""Who loops over pixels: NumPy, or numba where it is installed and there is so much work that it pays.

Loading numba and one of its loops takes as long as NumPy needs for fifty large masks, and compiling a loop for the
first time on a machine takes seconds. So a process begins with NumPy, adds up what the compiled loop would have saved,
and changes over when that would have paid for it. Machine code is kept in the user's cache folder.

Overlays, counts and masks decided on logits are the same either way, bit for bit. Probabilities differ by up to 1e-6,
and so may a mask of several maps, where the mean probabilities of two classes are that close.

The environment variable ``SEGWRIGHT_COMPILED`` chooses otherwise: ``always`` (from the first picture on), ``never``,
or ``auto``.
"""

import functools
import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from segwright.runtime import loops
from segwright.runtime.machine import cache_folder

Loop = Callable[..., None]

_LOAD_SECONDS = 0.4
"""Importing numba and reading the machine code of a loop."""


class _Purpose(NamedTuple):
    function: Loop
    compile_seconds: float


_PURPOSES = {
    "mask": _Purpose(loops.decide_mask, 3),
    "wide_mask": _Purpose(loops.decide_mask, 3),
    "confidence": _Purpose(loops.decide_confidence, 3),
    "probabilities": _Purpose(loops.add_probabilities, 3),
    "count_pairs": _Purpose(loops.count_pairs, 0.5),
    "blend": _Purpose(loops.blend, 0.5),
}
_saved: dict[str, float] = dict.fromkeys(_PURPOSES, 0.0)
_lock = threading.Lock()

logger = logging.getLogger(__name__)


def compiled(purpose: str, seconds: float) -> Loop | None:
    """The compiled loop for a purpose, or None where NumPy shall do this job.

    Args:
        purpose: ``mask``, ``wide_mask`` (of 16 bits), ``confidence``, ``probabilities``, ``count_pairs`` or
            ``blend``.
        seconds: roughly what the compiled loop saves on this job.
    """
    mode = os.environ.get("SEGWRIGHT_COMPILED", "auto")
    if mode == "never":
        return None
    if mode != "always" and _saved[purpose] < _price(purpose):
        _saved[purpose] += seconds
        return None
    return _load(purpose)


def prepare(*purposes: str) -> bool:
    """Compile now, for a server or a measurement that shall not stop for it later; every loop unless some are named.

    Returns:
        Whether they are compiled; not so where numba is missing, or forbidden by ``SEGWRIGHT_COMPILED``.
    """
    if os.environ.get("SEGWRIGHT_COMPILED") == "never":
        return False
    names = purposes or tuple(_PURPOSES)
    for purpose in names:
        _saved[purpose] = float("inf")
    loaded = [_load(purpose) for purpose in names]
    return None not in loaded


def code_folder() -> Path:
    """Where machine code is kept: below ``$SEGWRIGHT_CACHE``, or ``segwright`` in the user's cache folder."""
    return cache_folder("compiled")


@functools.cache
def _price(purpose: str) -> float:
    """Seconds until the loop is there."""
    if importlib.util.find_spec("numba") is None:
        return float("inf")
    function, compile_seconds = _PURPOSES[purpose]
    is_kept = any(code_folder().glob(f"*/loops.{function.__name__}-*.nbi"))
    return _LOAD_SECONDS if is_kept else _LOAD_SECONDS + compile_seconds


@functools.cache
def _load_once(purpose: str) -> Loop | None:
    try:
        return _compile(purpose)
    except Exception as reason:  # a numba that does not fit NumPy, damaged machine code: NumPy can do it all
        logger.info("the loop '%s' is not compiled, NumPy does its work (%s)", purpose, reason)
        return None


def _load(purpose: str) -> Loop | None:
    with _lock:
        return _load_once(purpose)


def _compile(purpose: str) -> Loop:
    import numba  # an extra, and slow to import
    from numba.extending import register_jitable

    for part in loops.PARTS:
        register_jitable(part)
    settings: Any = numba.config
    chosen, folder = settings.CACHE_DIR, code_folder()
    keep = bool(chosen) or _is_writable(folder)
    try:
        settings.CACHE_DIR = chosen or str(folder)
        signature = _signature(purpose, numba.types)
        compile_loop: Any = numba.njit(signature, nogil=True, cache=keep)
        loop: Loop = compile_loop(_PURPOSES[purpose].function)
        return loop
    finally:
        settings.CACHE_DIR = chosen


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _signature(purpose: str, types: Any) -> Any:
    """Given in full, so that a loop is compiled once, whether its inputs are read-only or not."""

    def read(kind: Any, dimensions: int = 1) -> Any:
        return types.Array(kind, dimensions, "C", readonly=True)

    byte, single = types.uint8, types.float32
    side = types.Tuple((read(types.int32), read(types.int32), read(single)))
    three = types.UniTuple(types.int64, 3)
    scores = (read(single), three, three, side, side)
    arguments = {
        "mask": (*scores, byte[:, ::1]),
        "wide_mask": (*scores, types.uint16[:, ::1]),
        "confidence": (*scores, single[:, ::1]),
        "probabilities": (*scores, single[:, :, ::1]),
        "count_pairs": (read(byte), read(byte), types.int64[:, ::1]),
        "blend": (read(byte, 2), read(byte, 2), read(byte, 2), single, byte[:, ::1]),
    }
    return types.void(*arguments[purpose])
