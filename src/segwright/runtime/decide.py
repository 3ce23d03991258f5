"""From a network's coarse scores to the class of every pixel, without ever holding the scores of every pixel.

Everything is bilinear as in ``torch.nn.functional.interpolate`` (no antialiasing), so that a mask does not depend on
what ran the network. Scores must be numbers: where one is NaN, any class may be chosen.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ShapeError
from segwright.runtime.bilinear import FloatArray, Neighbours, grid, interpolate, neighbours, resize
from segwright.runtime.cells import decide_cells
from segwright.runtime.compiled import compiled
from segwright.runtime.masks import MaskArray, mask_dtype

__all__ = ["Decision", "Neighbours", "mean_argmax", "neighbours", "resize", "resize_argmax"]

_STRIP_VALUES = 1 << 19
"""Scores worked on at a time (2 MB): small, and yet some rows, which share the coarse rows they are mixed from."""

# What the compiled loops save, in seconds: per pixel of the mask, or per score of all its pixels.
_MASK_SAVES, _CONFIDENCE_SAVES, _PROBABILITIES_SAVE = 3e-9, 1e-9, 1e-9


class Decision(NamedTuple):
    """The class of every pixel.

    Args:
        mask: (H, W) class indices.
        confidence: (H, W) float32, the probability of that class in 1/C..1; None unless asked for.
    """

    mask: MaskArray
    confidence: FloatArray | None


def resize_argmax(
    logits: FloatArray, size: tuple[int, int], *, align_corners: bool = False, with_confidence: bool = False
) -> Decision:
    """Bilinear resize to ``size`` and the class with the largest score, fused.

    Interpolation mixes the scores of a coarse cell's four corners with weights that sum to 1, so where one class wins
    at all four it wins in the whole cell; only the pixels of the other cells need arithmetic. The mask is that of
    torch's two steps but for pixels whose best scores differ by less than rounding.

    Args:
        logits: (C, h, w) float32; as fast with the channels last in memory, and copied at other strides.
        size: (height, width) of the mask.
        align_corners: as the network's own final resize.
        with_confidence: also give the softmax probability of the winning class, which needs arithmetic everywhere; to
            1e-6.

    Raises:
        ShapeError: logits that are not (C, h, w) with C, h, w >= 1.
    """
    logits = _checked(logits)
    rows, columns = grid(logits, size, align_corners=align_corners)
    mask = _decide(logits, rows, columns)
    return Decision(mask, _confidence(logits, rows, columns) if with_confidence else None)


def mean_argmax(
    maps: Sequence[FloatArray], size: tuple[int, int], *, align_corners: bool = False, with_confidence: bool = False
) -> Decision:
    """Resize several logits of one picture, average their softmax probabilities, and take the largest.

    Args:
        maps: each (C, h, w) float32, of any h and w.
        size: (height, width) of the mask.
        align_corners: as the network's own final resize.
        with_confidence: also give the mean probability of the winning class; to 1e-6.

    Raises:
        ShapeError: maps that are not (C, h, w) with C, h, w >= 1, or none at all.
    """
    if not maps:
        raise ShapeError("no logits were given", fix="give at least one map")
    maps = [_checked(logits) for logits in maps]
    if len(maps) == 1:  # decided on its logits, which rounding in the softmax could make equal
        return resize_argmax(maps[0], size, align_corners=align_corners, with_confidence=with_confidence)
    num_classes = len(maps[0])
    mask: MaskArray = np.empty(size, mask_dtype(num_classes))
    confidence = np.empty(size, np.float32) if with_confidence else None
    for rows, sums in _summed_probabilities(maps, size, align_corners):
        mask[rows] = resize_argmax(sums, sums.shape[1:]).mask
        if confidence is not None:
            np.divide(sums.max(0), np.float32(len(maps)), out=confidence[rows])
    return Decision(mask, confidence)


def _checked(logits: FloatArray) -> FloatArray:
    if logits.ndim != 3 or not logits.size:
        raise ShapeError(f"logits must be (C, h, w), got {logits.shape}", fix="give one picture at a time: logits[0]")
    return logits.astype(np.float32, copy=False)


def _decide(logits: FloatArray, rows: Neighbours, columns: Neighbours) -> MaskArray:
    mask: MaskArray = np.empty((rows.first.size, columns.first.size), mask_dtype(len(logits)))
    if loop := compiled("mask" if mask.dtype == np.uint8 else "wide_mask", mask.size * _MASK_SAVES):
        loop(*_flat(logits), _narrow(rows), _narrow(columns), mask)
    elif logits.shape[1:] == mask.shape:
        mask[:] = logits.argmax(0)
    else:
        decide_cells(logits, rows, columns, mask)
    return mask


def _confidence(logits: FloatArray, rows: Neighbours, columns: Neighbours) -> FloatArray:
    confidence = np.empty((rows.first.size, columns.first.size), np.float32)
    if loop := compiled("confidence", len(logits) * confidence.size * _CONFIDENCE_SAVES):
        loop(*_flat(logits), _narrow(rows), _narrow(columns), confidence)
        return confidence
    for strip in _strips(len(logits), confidence.shape):
        powers = _powers(interpolate(logits, rows.part(strip.start, strip.stop), columns))
        np.divide(1, powers.sum(0), out=confidence[strip])  # the winner's power is exp(0)
    return confidence


def _summed_probabilities(
    maps: Sequence[FloatArray], size: tuple[int, int], align_corners: bool
) -> Iterator[tuple[slice, FloatArray]]:
    """Strip by strip: its rows, and (C, rows, W) the softmax probabilities summed over the maps."""
    num_classes = len(maps[0])
    loop = compiled("probabilities", len(maps) * num_classes * size[0] * size[1] * _PROBABILITIES_SAVE)
    grids = [grid(logits, size, align_corners=align_corners) for logits in maps]
    sources = [_flat(logits) for logits in maps] if loop else []
    for strip in _strips(num_classes, size):
        sums = np.zeros((num_classes, strip.stop - strip.start, size[1]), np.float32)
        for number, (all_rows, columns) in enumerate(grids):
            rows = all_rows.part(strip.start, strip.stop)
            if loop:
                loop(*sources[number], _narrow(rows), _narrow(columns), sums)
            else:
                powers = _powers(interpolate(maps[number], rows, columns))
                sums += np.divide(powers, powers.sum(0), out=powers)
        yield strip, sums


def _strips(num_classes: int, size: tuple[int, int]) -> list[slice]:
    """Bands of rows whose scores fit into the cache."""
    rows = max(1, _STRIP_VALUES // (num_classes * size[1]))
    return [slice(start, min(start + rows, size[0])) for start in range(0, size[0], rows)]


def _powers(logits: FloatArray) -> FloatArray:
    """``exp(logits - largest)`` over the classes, axis 0; overwrites them."""
    logits -= logits.max(0)
    return np.exp(logits, out=logits)


def _flat(logits: FloatArray) -> tuple[FloatArray, tuple[int, int, int], tuple[int, int, int]]:
    """The scores in one row, as they lie in memory if need be, the strides of (class, row, column) in it, (C, h, w)."""
    num_classes, height, width = logits.shape
    channels_last = logits.transpose(1, 2, 0)
    if channels_last.flags.c_contiguous:
        return channels_last.reshape(-1), (1, width * num_classes, num_classes), (num_classes, height, width)
    return np.ascontiguousarray(logits).reshape(-1), (height * width, width, 1), (num_classes, height, width)


def _narrow(side: Neighbours) -> tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]:
    """With 32-bit indices, of which a vector register holds twice as many."""
    return side.first.astype(np.int32), side.second.astype(np.int32), np.ascontiguousarray(side.weight)
