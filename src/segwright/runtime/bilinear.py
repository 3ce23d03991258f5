"""Bilinear resizing as ``torch.nn.functional.interpolate`` does it (no antialiasing), in NumPy.

A value is mixed between columns first and between rows then, each time as ``first * (1 - weight) + second * weight``
in float32: torch's order, and the order of the compiled loops, which so give the same bits as NumPy. Rounding keeps the
order of values in this form: where one class is nowhere below another, it is not below it in between either.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.intp]


class Neighbours(NamedTuple):
    """For each position along one side of the fine map, between which two of the coarse map it lies."""

    first: IndexArray
    second: IndexArray
    weight: FloatArray  # of the second, 0..1

    def part(self, start: int, stop: int) -> "Neighbours":
        return Neighbours(self.first[start:stop], self.second[start:stop], self.weight[start:stop])


def neighbours(coarse: int, fine: int, *, align_corners: bool) -> Neighbours:
    """Bilinear positions and weights along one side, those of torch to the bit."""
    steps = np.arange(fine, dtype=np.float32)
    if align_corners:
        positions = steps * np.float32((coarse - 1) / max(fine - 1, 1))
    else:
        scale = np.float32(coarse / fine)
        # In one rounding, as processors with a fused multiply-add compute it; float64 holds the product in full.
        exact = (steps + np.float32(0.5)).astype(np.float64) * np.float64(scale) - 0.5
        positions = np.maximum(exact.astype(np.float32), 0)
    first = np.minimum(positions.astype(np.intp), coarse - 1)
    return Neighbours(first, np.minimum(first + 1, coarse - 1), positions - first.astype(np.float32))


def span(places: Neighbours) -> tuple[int, int, Neighbours]:
    """First and end of what some positions lie between, and the positions counted from there."""
    first = int(places.first[0])
    last = int(places.second[-1]) if places.weight.any() else int(places.first[-1])  # of the same size: none beyond
    return first, last + 1, Neighbours(places.first - first, np.minimum(places.second, last) - first, places.weight)


def grid(maps: FloatArray, size: tuple[int, int], *, align_corners: bool) -> tuple[Neighbours, Neighbours]:
    """Of the rows and of the columns of a map of this size over (C, h, w)."""
    rows = neighbours(maps.shape[1], size[0], align_corners=align_corners)
    return rows, neighbours(maps.shape[2], size[1], align_corners=align_corners)


def resize(maps: FloatArray, size: tuple[int, int], *, align_corners: bool = False) -> FloatArray:
    """Bilinear resize of (C, h, w) to (C, *size); the same array where the size is right already."""
    if maps.shape[1:] == size:
        return maps
    return interpolate(maps, *grid(maps, size, align_corners=align_corners))


def interpolate(maps: FloatArray, rows: Neighbours, columns: Neighbours) -> FloatArray:
    """(C, rows, columns) float32: between columns first, of those rows alone that are needed."""
    needed, places = np.unique(np.concatenate([rows.first, rows.second]), return_inverse=True)
    between_columns = maps[:, needed]
    if columns.weight.any() or len(columns.first) != maps.shape[2]:
        left, right = (between_columns.take(index, axis=2) for index in (columns.first, columns.second))
        between_columns = mix(left, right, columns.weight)
    first, second = np.split(places, 2)
    return mix(between_columns[:, first], between_columns[:, second], rows.weight[:, None])


def mix(first: FloatArray, second: FloatArray, weight: FloatArray) -> FloatArray:
    """``first * (1 - weight) + second * weight``; overwrites both."""
    first *= 1 - weight
    second *= weight
    first += second
    return first
