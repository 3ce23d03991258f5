"""From a network's coarse scores to the class of every pixel, without ever holding the scores of every pixel.

Everything is bilinear as in ``torch.nn.functional.interpolate`` (no antialiasing), so that a mask does not depend on
what ran the network.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ShapeError
from segwright.runtime.masks import MaskArray, mask_dtype

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.intp]

_STRIP_VALUES = 1 << 19
"""Scores worked on at a time (2 MB): what fits into a core's cache."""


class Decision(NamedTuple):
    """The class of every pixel.

    Args:
        mask: (H, W) class indices.
        confidence: (H, W) float32, the probability of that class in 1/C..1; None unless asked for.
    """

    mask: MaskArray
    confidence: FloatArray | None


class Neighbours(NamedTuple):
    """For each position along one side of the fine map, between which two of the coarse map it lies."""

    first: IndexArray
    second: IndexArray
    weight: FloatArray  # of the second, 0..1

    def part(self, start: int, stop: int) -> "Neighbours":
        return Neighbours(self.first[start:stop], self.second[start:stop], self.weight[start:stop])


def neighbours(coarse: int, fine: int, *, align_corners: bool) -> Neighbours:
    """Bilinear positions and weights along one side, computed in float32 as torch does."""
    steps = np.arange(fine, dtype=np.float32)
    if align_corners:
        positions = steps * np.float32((coarse - 1) / max(fine - 1, 1))
    else:
        positions = np.maximum((steps + np.float32(0.5)) * np.float32(coarse / fine) - np.float32(0.5), 0)
    first = np.minimum(positions.astype(np.intp), coarse - 1)
    return Neighbours(first, np.minimum(first + 1, coarse - 1), positions - first.astype(np.float32))


def resize(maps: FloatArray, size: tuple[int, int], *, align_corners: bool = False) -> FloatArray:
    """Bilinear resize of (C, h, w) to (C, *size); the same array where the size is right already."""
    if maps.shape[1:] == size:
        return maps
    rows, columns = _grid(maps, size, align_corners)
    return _interpolate(maps, rows, columns)


def resize_argmax(
    logits: FloatArray, size: tuple[int, int], *, align_corners: bool = False, with_confidence: bool = False
) -> Decision:
    """Bilinear resize to ``size`` and the class with the largest score, fused.

    Interpolation mixes the scores of a coarse cell's four corners with weights that sum to 1, so where one class wins
    at all four it wins in the whole cell; only the pixels of the other cells need arithmetic.

    Args:
        logits: (C, h, w) float32, at any stride.
        size: (height, width) of the mask.
        align_corners: as the network's own final resize.
        with_confidence: also give the softmax probability of the winning class, which needs arithmetic everywhere.

    Raises:
        ShapeError: logits that are not (C, h, w) with C, h, w >= 1.
    """
    _check(logits)
    if with_confidence or logits.shape[1:] == size:
        return mean_argmax([logits], size, align_corners=align_corners, with_confidence=with_confidence)
    num_classes, height, width = logits.shape
    flat = np.ascontiguousarray(logits.transpose(1, 2, 0), np.float32).reshape(height * width, num_classes)
    winners = flat.argmax(1).astype(mask_dtype(num_classes)).reshape(height, width)
    settled = _cells_of_one_class(winners)
    rows, columns = _grid(logits, size, align_corners)
    mask = winners[rows.first][:, columns.first]
    for start, stop in _strips(num_classes, size):
        part = rows.part(start, stop)
        y, x = np.nonzero(~settled[part.first][:, columns.first])
        first, second = part.first[y] * width, part.second[y] * width
        left = _between(flat, first + columns.first[x], second + columns.first[x], part.weight[y])
        right = _between(flat, first + columns.second[x], second + columns.second[x], part.weight[y])
        right -= left
        right *= columns.weight[x, None]
        left += right
        mask[start:stop][y, x] = left.argmax(1)
    return Decision(mask, None)


def mean_argmax(
    maps: Sequence[FloatArray], size: tuple[int, int], *, align_corners: bool = False, with_confidence: bool = False
) -> Decision:
    """Resize several logits of one picture, average their softmax probabilities, and take the largest.

    Args:
        maps: each (C, h, w) float32, of any h and w.
        size: (height, width) of the mask.
        align_corners: as the network's own final resize.
        with_confidence: also give the mean probability of the winning class.

    Raises:
        ShapeError: maps that are not (C, h, w) with C, h, w >= 1, or none at all.
    """
    if not maps:
        raise ShapeError("no logits were given", fix="give at least one map")
    for logits in maps:
        _check(logits)
    num_classes = len(maps[0])
    grids = [_grid(logits, size, align_corners) for logits in maps]
    mask: MaskArray = np.empty(size, mask_dtype(num_classes))
    confidence = np.empty(size, np.float32) if with_confidence else None
    for start, stop in _strips(num_classes, size):
        strips = [
            _interpolate(logits, rows.part(start, stop), columns)
            for logits, (rows, columns) in zip(maps, grids, strict=True)
        ]
        # One map is decided on its logits, which rounding in the softmax could make equal.
        scores: FloatArray = strips[0] if len(maps) == 1 else np.mean([_softmax(strip) for strip in strips], axis=0)
        mask[start:stop] = scores.argmax(0)
        if confidence is not None:
            confidence[start:stop] = (_softmax(scores) if len(maps) == 1 else scores).max(0)
    return Decision(mask, confidence)


def _check(logits: FloatArray) -> None:
    if logits.ndim != 3 or not logits.size:
        raise ShapeError(f"logits must be (C, h, w), got {logits.shape}", fix="give one picture at a time: logits[0]")


def _grid(maps: FloatArray, size: tuple[int, int], align_corners: bool) -> tuple[Neighbours, Neighbours]:
    rows = neighbours(maps.shape[1], size[0], align_corners=align_corners)
    return rows, neighbours(maps.shape[2], size[1], align_corners=align_corners)


def _strips(num_classes: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """First and last row of bands whose scores fit into the cache."""
    rows = max(1, _STRIP_VALUES // (num_classes * size[1]))
    return [(start, min(start + rows, size[0])) for start in range(0, size[0], rows)]


def _interpolate(maps: FloatArray, rows: Neighbours, columns: Neighbours) -> FloatArray:
    """(C, rows, columns): between rows first, then between columns."""
    between_rows = _lerp(maps[:, rows.first], maps[:, rows.second], rows.weight[:, None])
    return _lerp(between_rows.take(columns.first, axis=2), between_rows.take(columns.second, axis=2), columns.weight)


def _between(flat: FloatArray, first: IndexArray, second: IndexArray, weight: FloatArray) -> FloatArray:
    return _lerp(flat.take(first, axis=0), flat.take(second, axis=0), weight[:, None])


def _lerp(first: FloatArray, second: FloatArray, weight: FloatArray) -> FloatArray:
    """``first + (second - first) * weight``; overwrites both."""
    second -= first
    second *= weight
    first += second
    return first


def _softmax(logits: FloatArray) -> FloatArray:
    """Over the classes, axis 0."""
    powers: FloatArray = np.exp(logits - logits.max(0))
    powers /= powers.sum(0)
    return powers


def _cells_of_one_class(winners: MaskArray) -> NDArray[np.bool_]:
    """(h, w): whether the winner is the same at a position, below it, to its right, and across."""
    padded = np.pad(winners, (0, 1), mode="edge")
    below, right, across = padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]
    settled: NDArray[np.bool_] = (winners == below) & (winners == right) & (winners == across)
    return settled
