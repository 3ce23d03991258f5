"""What a split holds: sizes of its pictures, their colours, and how much there is of each class with which others."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segwright.data.dataset import Pair, SegmentationData
from segwright.data.masks import MaskReader
from segwright.data.statistics import (
    Kind,
    Moments,
    PictureStatistics,
    PictureSums,
    picture_moments,
    read_stored,
    statistics_of,
)
from segwright.errors import DataError
from segwright.info import UNITS
from segwright.runtime.machine import available_cpus

Size = tuple[int, int]
"""(height, width) in pixels."""

RGB = Kind(3, "uint8")

_MOST_THREADS = 8  # each holds one picture in memory


class Spread(NamedTuple):
    """The smallest, the middle and the largest of some numbers."""

    least: float
    middle: float
    most: float


class ClassStatistics(NamedTuple):
    """How much of a class there is.

    Args:
        pixels: in all masks.
        share: of the labelled pixels, 0..1.
        masks: that hold at least one pixel of it.
        mean_area: share of a mask that it takes up, 0..1, averaged over the masks that hold it; 0 where none does.
    """

    pixels: int
    share: float
    masks: int
    mean_area: float


@dataclass(frozen=True)
class SplitStatistics:
    """What a split holds.

    Args:
        split: its name.
        sizes: number of pictures of each size, the most frequent first.
        pictures: mean and standard deviation, of each kind of picture apart.
        pixels: of all masks.
        ignored: share of them that is left out, 0..1.
        classes: by name, in order.
        co_occurrence: masks that hold both the class of the row and that of the column.
    """

    split: str
    sizes: dict[Size, int]
    pictures: tuple[PictureStatistics, ...]
    pixels: int
    ignored: float
    classes: dict[str, ClassStatistics]
    co_occurrence: tuple[tuple[int, ...], ...]

    @property
    def images(self) -> int:
        return sum(self.sizes.values())

    @property
    def class_counts(self) -> list[int]:
        """Pixels of each class, in order."""
        return [found.pixels for found in self.classes.values()]

    def spread(self, axis: int) -> Spread:
        """Of the pictures' heights (0) or widths (1)."""
        lengths = [size[axis] for size, count in self.sizes.items() for _ in range(count)]
        return Spread(min(lengths), median(lengths), max(lengths))

    def to_json(self) -> dict[str, Any]:
        sizes = [{"size": list(size), "images": count} for size, count in self.sizes.items()]
        return {
            "images": self.images,
            "height": _named(self.spread(0)),
            "width": _named(self.spread(1)),
            "sizes": sizes,
            "channels": list(map(_channels, self.pictures)),
            "pixels": self.pixels,
            "ignored": self.ignored,
            "classes": {name: found._asdict() for name, found in self.classes.items()},
            "co_occurrence": [list(row) for row in self.co_occurrence],
        }


class _Found(NamedTuple):
    """What one pair holds: its size, its pixels' moments, and pixels of each class."""

    size: Size
    moments: Moments
    counts: NDArray[np.int64]


class _Totals:
    """What the pairs of a split hold together; as large as the tables of classes and sizes, however many pairs."""

    def __init__(self, num_classes: int) -> None:
        self.sizes: Counter[Size] = Counter()
        self.kinds: dict[Kind, PictureSums] = {}
        self.masks = np.zeros(num_classes, np.int64)
        self.together = np.zeros((num_classes, num_classes), np.int64)
        # Pixels by class for each number of pixels that masks have: areas are then shares of whole numbers.
        self.by_area: dict[int, NDArray[np.int64]] = {}

    def add(self, found: _Found) -> None:
        self.sizes[found.size] += 1
        self.kinds.setdefault(found.moments.kind, PictureSums(found.moments.kind)).add(found.moments)
        present = np.flatnonzero(found.counts)
        self.masks[present] += 1
        self.together[np.ix_(present, present)] += 1
        area = found.size[0] * found.size[1]
        self.by_area.setdefault(area, np.zeros(len(self.masks), np.int64))[:] += found.counts

    def result(self, split: str, classes: Sequence[str]) -> SplitStatistics:
        counts = sum(self.by_area.values(), np.zeros(len(classes), np.int64))
        areas = sum(part / area for area, part in sorted(self.by_area.items()))
        labelled, pixels = int(counts.sum()), sum(height * width * n for (height, width), n in self.sizes.items())
        columns = (counts, counts / max(1, labelled), self.masks, areas / np.maximum(1, self.masks))
        rows = starmap(ClassStatistics, zip(*(column.tolist() for column in columns), strict=True))
        return SplitStatistics(
            split=split,
            sizes=dict(sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))),
            pictures=tuple(statistics_of(self.kinds.values())),
            pixels=pixels,
            ignored=1 - labelled / pixels,
            classes=dict(zip(classes, rows, strict=True)),
            co_occurrence=tuple(map(tuple, self.together.tolist())),
        )


def split_statistics(
    data: SegmentationData, split: str, *, progress: Callable[[int, int], None] | None = None
) -> SplitStatistics:
    """Read every pair of a split once, a few at a time, and count.

    Args:
        data: the data set.
        split: its name.
        progress: called with pairs done and in all.

    Raises:
        DataError: no such split, a file without its partner, or one that cannot be read or does not fit its partner.
    """
    pairs, totals = data.pairs(split), _Totals(len(data.classes))
    read = partial(_read, MaskReader(data.labels))
    with ThreadPoolExecutor(min(_MOST_THREADS, available_cpus())) as pool:
        for done, found in enumerate(pool.map(read, pairs), start=1):
            totals.add(found)
            if progress:
                progress(done, len(pairs))
    return totals.result(split, data.classes)


def _read(reader: MaskReader, pair: Pair) -> _Found:
    pixels = read_stored(pair.image)
    mask = reader.read(pair.mask)
    if pixels.shape[:2] != mask.shape:
        raise DataError(
            f"mask '{pair.mask}' is {mask.shape[1]}x{mask.shape[0]} (width x height), its picture '{pair.image}' is "
            f"{pixels.shape[1]}x{pixels.shape[0]}",
            fix="export the mask at the picture's size (resize masks with nearest only)",
        )
    classes = len(reader.labels.classes)
    counts = np.bincount(mask.ravel(), minlength=classes)[:classes]
    return _Found((mask.shape[0], mask.shape[1]), picture_moments(pixels), counts)


def _named(spread: Spread) -> dict[str, float]:
    return {"min": spread.least, "median": spread.middle, "max": spread.most}


def _channels(part: PictureStatistics) -> dict[str, Any]:
    return {
        "bands": part.kind.bands,
        "type": part.kind.dtype,
        "unit": UNITS[part.kind.dtype],
        "images": part.images,
        "mean": list(part.mean),
        "std": list(part.std),
        "low": list(part.low),
        "high": list(part.high),
    }


def describe_sizes(found: SplitStatistics) -> str:
    """The sizes of the pictures as half a sentence."""
    (height, width), count = next(iter(found.sizes.items()))
    if len(found.sizes) == 1:
        return f"all {width} x {height} (width x height)"
    width_facts, height_facts = (
        f"{name} {spread.least:g} to {spread.most:g}, median {spread.middle:g}"
        for name, spread in (("width", found.spread(1)), ("height", found.spread(0)))
    )
    often = f"{len(found.sizes)} sizes, {count} of them {width} x {height}"
    return f"{often}; {width_facts}; {height_facts} (width x height)"


def describe_colours(found: SplitStatistics) -> list[str]:
    """Mean and standard deviation of each kind of picture, a line each."""
    lines = []
    for part in found.pictures:
        mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (part.mean, part.std))
        pictures = (
            "" if len(found.pictures) == 1 else f" ({part.images} {'picture' if part.images == 1 else 'pictures'})"
        )
        lines.append(f"{_described(part.kind)}: mean {mean}, std {std}{pictures}")
    return lines


def _described(kind: Kind) -> str:
    """What the values are, and which of them is 1."""
    if kind == RGB:
        return "RGB, 255 as 1"
    unit = "as stored" if kind.dtype == "float32" else f"{UNITS[kind.dtype]:g} as 1"
    return f"{kind.bands} {'band' if kind.bands == 1 else 'bands'} of {kind.dtype}, {unit}"
