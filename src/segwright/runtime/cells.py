"""The classes of the pixels in mixed coarse cells, in NumPy: whole cells at a time, and of each few classes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segwright.runtime.bilinear import FloatArray, IndexArray, Neighbours
from segwright.runtime.masks import MaskArray

_BLOCK_SIDE = 32
"""Pixels of a cell worked on at a time along each side."""

_BLOCK_VALUES = 1 << 17
"""Scores worked on at a time (512 KB): what fits into a core's cache beside those they are made of."""

_MARGIN = np.float32(1e-6)
"""Of the largest score: more than rounding adds to the difference of two interpolated scores (8 * 2 ** -24)."""


class _Runs(NamedTuple):
    """Pixels along one side between the same two coarse positions, in blocks of ``length`` or fewer."""

    start: IndexArray
    stop: IndexArray
    length: int

    def pixels(self, runs: IndexArray) -> IndexArray:
        """(length, len(runs)): the pixels of some runs; short ones repeat their last."""
        pixels: IndexArray = np.minimum(self.start[runs] + np.arange(self.length)[:, None], self.stop[runs] - 1)
        return pixels


def decide_cells(logits: FloatArray, rows: Neighbours, columns: Neighbours, mask: MaskArray) -> None:
    """Fill ``mask``: the winner where a cell's corners have the same, that of the interpolated scores elsewhere.

    Args:
        logits: (C, h, w) float32.
        rows: neighbours of the mask's rows.
        columns: neighbours of its columns.
        mask: (H, W), contiguous.
    """
    winners: MaskArray = logits.argmax(0).astype(mask.dtype)
    np.take(winners.take(columns.first, axis=1), rows.first, axis=0, out=mask, mode="clip")  # "raise" would buffer it
    down, across = _runs(rows), _runs(columns)
    y, x = np.nonzero(_is_mixed(winners)[rows.first[down.start]][:, columns.first[across.start]])
    margin = _MARGIN * max(logits.max(), -logits.min())
    step = max(1, _BLOCK_VALUES // (len(logits) * across.length))
    for start in range(0, y.size, step):
        runs_y, runs_x = y[start : start + step], x[start : start + step]
        places = _corners(rows, down.start[runs_y], columns, across.start[runs_x])
        corners = [logits[:, row, column] for row, column in places]
        rivals = np.array([winners[place] for place in places])
        for classes, cells in _contests(corners, rivals, margin):
            scores = [corner[classes, cells] for corner in corners]
            pixels = down.pixels(runs_y[cells]), across.pixels(runs_x[cells])
            _decide(scores, classes.astype(mask.dtype), pixels, (rows.weight, columns.weight), mask)


def _runs(side: Neighbours) -> _Runs:
    pixels = np.arange(side.first.size)
    is_new = np.diff(side.first, prepend=-1) > 0
    offsets = pixels - np.maximum.accumulate(np.where(is_new, pixels, 0))
    # A whole cell; those at the border of a map may be half a cell longer and become two runs.
    length = min(-(-side.first.size // (int(side.first[-1]) + 1)), _BLOCK_SIDE)
    start = np.flatnonzero(offsets % length == 0)
    return _Runs(start, np.append(start[1:], side.first.size), length)


def _is_mixed(winners: MaskArray) -> NDArray[np.bool_]:
    """(h, w): whether the winner differs between a position and those below it, to its right, and across."""
    padded = np.pad(winners, (0, 1), mode="edge")
    below, right, across = padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]
    mixed: NDArray[np.bool_] = (winners != below) | (winners != right) | (winners != across)
    return mixed


def _corners(
    rows: Neighbours, y: IndexArray, columns: Neighbours, x: IndexArray
) -> list[tuple[IndexArray, IndexArray]]:
    """Coarse rows and columns of the corners that these pixels lie between: two above, two below."""
    return [(row[y], column[x]) for row in rows[:2] for column in columns[:2]]


def _contests(
    corners: list[FloatArray], rivals: MaskArray, margin: np.float32
) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Classes (K, n) that may win in a cell, and which n cells these are.

    A class is out where the winner of one corner is above it at all four, by more than rounding could make up for.

    Args:
        corners: four times (C, cells), the scores.
        rivals: (4, cells), the winner of each corner.
        margin: see ``_MARGIN``.
    """
    every = np.arange(rivals.shape[1])
    is_out = np.zeros(corners[0].shape, np.bool_)
    for rival in rivals:
        is_below = corners[0] < corners[0][rival, every] - margin
        for corner in corners[1:]:
            is_below &= corner < corner[rival, every] - margin
        is_out |= is_below
    may_win = ~is_out
    counts = may_win.sum(0)
    sizes = np.where(counts > 4, -(-counts // 4) * 4, counts)  # fewer, larger groups
    order = np.cumsum(may_win, axis=0, dtype=np.intp) - 1
    candidates, cells = np.nonzero(may_win)
    # What remains 0 in the larger groups does no harm: class 0 is out, or stands first and wins no tie against itself.
    classes = np.zeros((int(sizes.max()), rivals.shape[1]), np.intp)
    classes[order[candidates, cells], cells] = candidates
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        yield classes[:size, alike], alike


def _decide(
    corners: list[FloatArray],
    classes: MaskArray,
    pixels: tuple[IndexArray, IndexArray],
    weights: tuple[FloatArray, FloatArray],
    mask: MaskArray,
) -> None:
    """Fill the pixels (rows, n) and (columns, n) of n cells with the best of K classes (K, n) each."""
    x = pixels[1]
    weight = weights[1][x][:, None]
    above, below = (left * (1 - weight) + right * weight for left, right in (corners[:2], corners[2:]))
    flat = mask.reshape(-1)
    for y in pixels[0]:
        weight = weights[0][y]
        scores = above * (1 - weight)
        scores += below * weight
        best, chosen = scores[:, 0], np.repeat(classes[None, 0], len(x), axis=0)
        for k in range(1, len(classes)):
            np.copyto(chosen, classes[k], where=scores[:, k] > best)
            best = np.maximum(best, scores[:, k], out=best)
        flat[y * mask.shape[1] + x] = chosen
