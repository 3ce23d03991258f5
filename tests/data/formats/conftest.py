"""A picture to label, and what a conversion has written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segwright.data import MaskReader, check_data, load_data
from segwright.data.dataset import SegmentationData
from segwright.data.formats import Conversion, Options, convert

SIZE = (48, 64)
SQUARE = [[10.0, 8.0], [30.0, 8.0], [30.0, 28.0], [10.0, 28.0]]
"""Corners x, y whose inside is rows 8..27 and columns 10..29 by the rule of the COCO tools."""


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture below ``source``."""

    def write(name: str, size: tuple[int, int] = SIZE, value: int = 90, exif: int = 1) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = Image.Exif()
        head[0x0112] = exif
        Image.new("RGB", (size[1], size[0]), (value, value, 0)).save(path, **({"exif": head} if exif != 1 else {}))
        return path

    return write


@pytest.fixture
def mask_file(tmp_path: Path) -> Callable[[str, NDArray[np.uint8]], Path]:
    """Writes a mask below ``source``."""

    def write(name: str, mask: NDArray[np.uint8]) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
        return path

    return write


def assert_reads_alike_in_place(source: Path, done: "Converted") -> None:
    """What training reads where it lies is what was converted: classes, pictures and every mask."""
    data = load_data(source)
    assert not [problem for problem in check_data(data).problems if problem.severity == "error"]
    assert data.classes == done.data.classes
    assert data.palette == done.data.palette
    for split in done.done.images:
        pairs, written = data.pairs(split), done.data.pairs(split)
        assert [pair.image.read_bytes() for pair in pairs] == [pair.image.read_bytes() for pair in written]
        for pair, other in zip(pairs, written, strict=True):
            expected = MaskReader(done.data.labels).read(other.mask)
            np.testing.assert_array_equal(MaskReader(data.labels).read(pair.mask), expected)


class Converted:
    """A converted data set."""

    def __init__(self, done: Conversion, told: list[tuple[str, str]]) -> None:
        self.done, self.told = done, told
        self.data: SegmentationData = load_data(done.folder)

    def mask(self, stem: str, split: str = "train") -> NDArray[np.uint8]:
        with Image.open(self.done.folder / "masks" / split / f"{stem}.png") as mask:
            assert mask.mode == "P"
            return np.asarray(mask)

    def said(self, words: str) -> bool:
        return any(words in note for note in self.done.notes)


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., Converted]:
    """Converts ``source``; fails where something temporary is left behind."""

    def run(source: Path | None = None, name: str = "auto", **options: object) -> Converted:
        told: list[tuple[str, str]] = []
        done = convert(
            source or tmp_path / "source",
            tmp_path / "out",
            name=name,
            options=Options(**options),  # type: ignore[arg-type]
            tell=lambda name, understood: told.append((name, understood)),
        )
        assert not list(tmp_path.glob(".segwright-*"))
        return Converted(done, told)

    return run
