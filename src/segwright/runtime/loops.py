"""Loops over pixels, written for numba: :mod:`segwright.runtime.compiled` compiles them where it pays.

Plain Python as it stands here, and so its own slow twin. Inner loops run over one row, without branches, so that the
compiler turns them into vector instructions; no sum is reordered and nothing is contracted, so that masks come out as
NumPy's, bit for bit. Scores lie anywhere in a flat array: class c, row y, column x at ``c * strides[0] + y * strides[1]
+ x * strides[2]``, which takes channels first and channels last alike.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
Strides = tuple[int, int, int]
Side = tuple[Indices, Indices, Floats]
"""First neighbours, second neighbours and weights along one side: ``bilinear.Neighbours`` with 32-bit indices."""

BLOCK = 256
"""Pixels whose scores are held at a time: 19 classes of them fill half of a core's first cache."""

_EIGHT_ONES = np.uint64(0x0101010101010101)
_LOG2_E = np.float32(1.4426950408889634)
_ONE, _HALF = np.float32(1), np.float32(0.5)
_LOWEST = np.float32(-126)  # exponent of the smallest normal number
# Of 2 ** x around 0, from the sixth power down: ln(2) ** k / k!; off by 1e-7 of itself where |x| <= 0.5.
_C6, _C5, _C4 = np.float32(1.5403530e-4), np.float32(1.3333558e-3), np.float32(9.6181291e-3)
_C3, _C2, _C1 = np.float32(5.5504109e-2), np.float32(2.4022651e-1), np.float32(6.9314718e-1)


class Coarse(NamedTuple):
    """Scores (C, h, w), wherever they lie."""

    flat: Floats
    strides: Strides
    shape: tuple[int, int, int]


class TwoRows(NamedTuple):
    """The two coarse rows that the fine row at work lies between; which of them is above changes."""

    scores: Floats  # (2, C, w)
    winners: Indices  # (2, w)
    widened: Floats  # (2, C, W): mixed between columns
    held: Indices  # (2,): which coarse rows they are
    is_widened: NDArray[np.bool_]  # (2,): whether ``widened`` holds every column
    best: Floats  # (w,): scratch


def load_row(coarse: Coarse, y: int, row: Floats) -> None:
    """Row ``y`` of all classes into (C, w)."""
    flat, strides = coarse.flat, coarse.strides
    num_classes, width = row.shape
    for c in range(num_classes):
        start = c * strides[0] + y * strides[1]
        if strides[2] == 1:
            for x in range(width):
                row[c, x] = flat[start + x]
        else:
            for x in range(width):
                row[c, x] = flat[start + x * strides[2]]


def winners_of(row: Floats, best: Floats, winners: Indices) -> None:
    """The class with the largest score at each x, the first of equals."""
    for x in range(row.shape[1]):
        best[x] = row[0, x]
        winners[x] = 0
    for c in range(1, row.shape[0]):
        for x in range(row.shape[1]):
            score = row[c, x]
            is_better = score > best[x]
            best[x] = score if is_better else best[x]
            winners[x] = np.int32(c) if is_better else winners[x]


def widen(row: Floats, first: Indices, second: Indices, weight: Floats, count: int, out: Floats) -> None:
    """(C, w) mixed between columns, into the first ``count`` places of (C, W)."""
    for c in range(row.shape[0]):
        for x in range(count):
            w = weight[x]
            out[c, x] = row[c, first[x]] * (_ONE - w) + row[c, second[x]] * w


def winners_between(
    above: Floats, below: Floats, weight: np.float32, count: int, best: Floats, winners: Indices
) -> None:
    """The class with the largest score between two rows at each of the first ``count`` places."""
    other = _ONE - weight
    for x in range(count):
        best[x] = above[0, x] * other + below[0, x] * weight
        winners[x] = 0
    for c in range(1, above.shape[0]):
        for x in range(count):
            score = above[c, x] * other + below[c, x] * weight
            is_better = score > best[x]
            best[x] = score if is_better else best[x]
            winners[x] = np.int32(c) if is_better else winners[x]


def settle(above: Indices, below: Indices, columns: Side, settled: Indices, mixed: Indices) -> int:
    """Write the winner of each column's left upper neighbour; list the columns whose four neighbours disagree."""
    first, second, _ = columns
    count = 0
    for x in range(len(first)):
        winner = above[first[x]]
        settled[x] = winner
        if (winner != above[second[x]]) | (winner != below[first[x]]) | (winner != below[second[x]]):
            mixed[count] = x
            count += 1
    return count


def two_rows(coarse: Coarse, wide: int) -> TwoRows:
    """Room for two coarse rows, of which none is held yet."""
    num_classes, _, width = coarse.shape
    return TwoRows(
        np.empty((2, num_classes, width), np.float32),
        np.empty((2, width), np.int32),
        np.empty((2, num_classes, wide), np.float32),
        np.full(2, -1, np.int32),
        np.zeros(2, np.bool_),
        np.empty(width, np.float32),
    )


def hold(coarse: Coarse, above_row: int, below_row: int, pair: TwoRows, above: int, with_winners: bool) -> int:
    """Load those of two coarse rows that are not held yet; gives which of the buffers is above."""
    if pair.held[1 - above] == above_row:
        above = 1 - above
    for buffer in range(2):
        wanted = above_row if buffer == above else below_row
        if pair.held[buffer] != wanted:
            pair.held[buffer] = wanted
            pair.is_widened[buffer] = False
            load_row(coarse, wanted, pair.scores[buffer])
            if with_winners:
                winners_of(pair.scores[buffer], pair.best, pair.winners[buffer])
    return above


def widen_both(pair: TwoRows, columns: Side) -> None:
    """Mix every column of the two rows that is not mixed yet."""
    for buffer in range(2):
        if not pair.is_widened[buffer]:
            widen(pair.scores[buffer], columns[0], columns[1], columns[2], len(columns[0]), pair.widened[buffer])
            pair.is_widened[buffer] = True


def widen_some(pair: TwoRows, columns: Side, mixed: Indices, count: int, some: Side) -> None:
    """Mix the ``mixed`` columns alone, side by side; ``some`` is room for their neighbours and weights."""
    for x in range(count):
        some[0][x], some[1][x], some[2][x] = columns[0][mixed[x]], columns[1][mixed[x]], columns[2][mixed[x]]
    for buffer in range(2):
        widen(pair.scores[buffer], some[0], some[1], some[2], count, pair.widened[buffer])
        pair.is_widened[buffer] = False


def decide_mask(
    flat: Floats,
    strides: Strides,
    shape: tuple[int, int, int],
    rows: Side,
    columns: Side,
    mask: NDArray[np.uint8 | np.uint16],
) -> None:
    """Bilinear resize and argmax: arithmetic only where the four neighbours of a pixel have not one winner.

    Args:
        flat: the scores.
        strides: of class, row and column in ``flat``.
        shape: (C, h, w).
        rows: neighbours of the mask's rows.
        columns: neighbours of its columns.
        mask: (H, W), is filled.
    """
    coarse, wide = Coarse(flat, strides, shape), mask.shape[1]
    pair = two_rows(coarse, wide)
    best, decided = np.empty(wide, np.float32), np.empty(wide, np.int32)
    settled, mixed = np.empty(wide, np.int32), np.empty(wide, np.int32)
    some = (np.empty(wide, np.int32), np.empty(wide, np.int32), np.empty(wide, np.float32))
    above, count = 0, 0
    for y in range(mask.shape[0]):
        if pair.held[above] != rows[0][y] or pair.held[1 - above] != rows[1][y]:
            above = hold(coarse, rows[0][y], rows[1][y], pair, above, True)
            count = settle(pair.winners[above], pair.winners[1 - above], columns, settled, mixed)
            if 2 * count > wide:  # then all, since those of the lower row serve the next pair as well
                count = wide
                widen_both(pair, columns)
            elif count:
                widen_some(pair, columns, mixed, count, some)
        if count < wide:
            for x in range(wide):
                mask[y, x] = settled[x]
        if count:
            winners_between(pair.widened[above], pair.widened[1 - above], rows[2][y], count, best, decided)
            if count == wide:
                for x in range(wide):
                    mask[y, x] = decided[x]
            else:
                for x in range(count):
                    mask[y, mixed[x]] = decided[x]


def exponentials(
    above: Floats, below: Floats, weight: np.float32, scores: Floats, total: Floats, bits: Indices
) -> None:
    """Of a block of pixels between two rows: ``exp(score - largest score)`` of each class, and the sum of them.

    ``exp`` is 2 ** whole part, put together from its bits, times a polynomial of the rest: to 1e-6 of itself or better.

    Args:
        above: (C, at most ``BLOCK``).
        below: likewise.
        weight: of ``below``.
        scores: (C, BLOCK), is filled.
        total: (BLOCK,), is filled.
        bits: (BLOCK,), scratch.
    """
    other, count = _ONE - weight, above.shape[1]
    best, powers = np.full(count, -np.inf, np.float32), bits.view(np.float32)
    for c in range(above.shape[0]):
        for x in range(count):
            score = above[c, x] * other + below[c, x] * weight
            scores[c, x] = score
            best[x] = score if score > best[x] else best[x]
    total[:] = 0
    total[count:] = _ONE
    for c in range(above.shape[0]):
        for x in range(count):
            exponent = (scores[c, x] - best[x]) * _LOG2_E
            exponent = exponent if exponent > _LOWEST else _LOWEST
            whole = np.floor(exponent + _HALF)
            rest = exponent - whole
            bits[x] = (np.int32(whole) + np.int32(127)) << np.int32(23)
            power = ((_C6 * rest + _C5) * rest + _C4) * rest + _C3
            scores[c, x] = ((power * rest + _C2) * rest + _C1) * rest + _ONE
        for x in range(count):
            scores[c, x] *= powers[x]
            total[x] += scores[c, x]


def decide_confidence(
    flat: Floats, strides: Strides, shape: tuple[int, int, int], rows: Side, columns: Side, confidence: Floats
) -> None:
    """Bilinear resize and the largest softmax probability; arguments as of :func:`decide_mask`."""
    coarse, wide = Coarse(flat, strides, shape), confidence.shape[1]
    pair = two_rows(coarse, wide)
    scores, total = np.empty((shape[0], BLOCK), np.float32), np.empty(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.int32)
    above = 0
    for y in range(confidence.shape[0]):
        above = hold(coarse, rows[0][y], rows[1][y], pair, above, False)
        widen_both(pair, columns)
        for start in range(0, wide, BLOCK):
            part, out = slice(start, start + BLOCK), confidence[y, start : start + BLOCK]
            lower, upper = pair.widened[1 - above][:, part], pair.widened[above][:, part]
            exponentials(upper, lower, rows[2][y], scores, total, bits)
            for x in range(len(out)):
                out[x] = _ONE / total[x]


def add_probabilities(
    flat: Floats, strides: Strides, shape: tuple[int, int, int], rows: Side, columns: Side, sums: Floats
) -> None:
    """Bilinear resize, softmax, and add to ``sums`` (C, rows, W); arguments as of :func:`decide_mask`."""
    coarse, wide = Coarse(flat, strides, shape), sums.shape[2]
    pair = two_rows(coarse, wide)
    scores, total = np.empty((shape[0], BLOCK), np.float32), np.empty(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.int32)
    above = 0
    for y in range(sums.shape[1]):
        above = hold(coarse, rows[0][y], rows[1][y], pair, above, False)
        widen_both(pair, columns)
        for start in range(0, wide, BLOCK):
            part, out = slice(start, start + BLOCK), sums[:, y, start : start + BLOCK]
            lower, upper = pair.widened[1 - above][:, part], pair.widened[above][:, part]
            exponentials(upper, lower, rows[2][y], scores, total, bits)
            for x in range(BLOCK):
                total[x] = _ONE / total[x]
            for c in range(shape[0]):
                for x in range(out.shape[1]):
                    out[c, x] += scores[c, x] * total[x]


def count_pairs(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Add each pixel to ``counts`` (256, 256) at [truth, predicted].

    Neighbours mostly agree. So a run of pixels is counted in a register and added once, and eight pixels at a time are
    compared with the run they may belong to.
    """
    words = len(truth) // 8
    eight_true, eight_predicted = truth[: 8 * words].view(np.uint64), predicted[: 8 * words].view(np.uint64)
    row, column, run = truth[0], predicted[0], 0
    for word in range(words + 1):
        start = 8 * word
        if (
            word < words
            and eight_true[word] == np.uint64(row) * _EIGHT_ONES
            and eight_predicted[word] == np.uint64(column) * _EIGHT_ONES
        ):
            run += 8
            continue
        for i in range(start, min(start + 8, len(truth))):
            if truth[i] != row or predicted[i] != column:
                counts[row, column] += run
                row, column, run = truth[i], predicted[i], 0
            run += 1
    counts[row, column] += run


def blend(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    alpha: np.float32,
    out: NDArray[np.uint8],
) -> None:
    """``image + alpha * (colours[mask] - image)`` in float32, cut to whole numbers as Pillow does.

    Args:
        image: (H, 3 * W).
        mask: (H, W).
        colours: (256, 3).
        alpha: 0..1.
        out: (H, 3 * W), is filled.
    """
    painted = np.empty(3 * mask.shape[1], np.uint8)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            colour = colours[mask[y, x]]
            painted[3 * x], painted[3 * x + 1], painted[3 * x + 2] = colour[0], colour[1], colour[2]
        for i in range(painted.size):
            value = np.float32(image[y, i])
            out[y, i] = np.uint8(np.int32(value + alpha * (np.float32(painted[i]) - value)))


PARTS = (
    load_row,
    winners_of,
    widen,
    winners_between,
    settle,
    two_rows,
    hold,
    widen_both,
    widen_some,
    exponentials,
)
"""What the other loops call."""
