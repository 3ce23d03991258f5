"""Decoded files kept in memory: a small data set is decoded once per run, not once per epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

Array = TypeVar("Array", bound=NDArray[Any])


class DecodedFiles:
    """Keeps the arrays of files until the memory it may take is full; what came first stays.

    In a shuffled order every file is as likely to be asked for as any other, so that nothing is gained by dropping one
    for another.

    Args:
        megabytes: how much to keep; 0 keeps nothing.
    """

    def __init__(self, megabytes: int = 0) -> None:
        self._left = megabytes * 2**20
        self._arrays: dict[Path, Any] = {}

    def get(self, path: Path, decode: Callable[[], Array]) -> Array:
        """The array of a file: the one that is kept, or a newly decoded one. It must not be written to."""
        if path in self._arrays:
            kept: Array = self._arrays[path]
            return kept
        array = decode()
        if array.nbytes <= self._left:
            self._arrays[path] = array
            self._left -= array.nbytes
        return array
