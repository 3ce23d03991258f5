from pathlib import Path

import numpy as np

from segwright.data.decoded import DecodedFiles

MEGABYTE = np.zeros((1024, 1024), np.uint8)


def test_a_file_is_decoded_once() -> None:
    calls: list[int] = []

    def decode() -> np.ndarray:
        calls.append(1)
        return MEGABYTE

    decoded = DecodedFiles(1)
    assert decoded.get(Path("a"), decode) is decoded.get(Path("a"), decode)
    assert len(calls) == 1


def test_no_more_is_kept_than_the_memory_allows() -> None:
    calls: list[str] = []
    decoded = DecodedFiles(2)
    for name in "abcabc":
        decoded.get(Path(name), lambda name=name: calls.append(name) or MEGABYTE)
    assert "".join(calls) == "abcc"


def test_nothing_is_kept_by_default() -> None:
    calls: list[int] = []
    decoded = DecodedFiles()
    for _ in range(2):
        decoded.get(Path("a"), lambda: calls.append(1) or MEGABYTE)
    assert len(calls) == 2
