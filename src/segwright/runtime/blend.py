"""Scores of pictures that a network sees through windows, made a few rows at a time.

Only the coarse logits of the windows near the rows in work are kept, never the scores of all classes at every pixel:
19 classes at 8192x8192 would take 5 GB.
"""

from collections.abc import Callable, Sequence

import numpy as np

from segwright.runtime.bilinear import FloatArray, Neighbours, mix, neighbours
from segwright.runtime.decide import Decision, mean_argmax
from segwright.runtime.masks import MaskArray, mask_dtype
from segwright.runtime.tiles import Box, window_boxes, window_starts, window_weights

_STRIP_VALUES = 1 << 19
"""Scores worked on at a time (2 MB): what fits into a core's cache."""


class Blended:
    """The windows of a picture, blended: each pixel's logits are the weighted mean of those of its windows.

    The weights are :func:`~segwright.runtime.tiles.window_weights`. A window is predicted when its first row is asked
    for, and forgotten when the rows are past it.

    Args:
        size: (height, width) of the picture.
        window: (height, width); clipped to the picture.
        logits_of: gives the logits (C, h, w) of a window, at the network's own stride.
        align_corners: of the resize from these to the window's size.
    """

    def __init__(
        self,
        size: tuple[int, int],
        window: tuple[int, int],
        logits_of: Callable[[Box], FloatArray],
        *,
        align_corners: bool = False,
    ) -> None:
        self.size = size
        self.logits_of, self.align_corners = logits_of, align_corners
        self.height, self.width = min(window[0], size[0]), min(window[1], size[1])
        self.tops, self.lefts = window_starts(size[0], self.height), window_starts(size[1], self.width)
        boxes = window_boxes(size, window)
        self.bands = [boxes[start : start + len(self.lefts)] for start in range(0, len(boxes), len(self.lefts))]
        self.row_weights = window_weights(size[0], self.height)
        self.column_weights = window_weights(size[1], self.width)
        self.kept: dict[int, list[FloatArray]] = {}

    def rows(self, start: int, stop: int) -> FloatArray:
        """(C, stop - start, W) logits; ``start`` must never go back."""
        bands = [band for band in range(len(self.tops)) if self.row_weights[band, start:stop].any()]
        self.kept = {band: self.kept[band] if band in self.kept else self._predict(band) for band in bands}
        logits = self.kept[bands[0]][0]
        scores = np.zeros((len(logits), stop - start, self.size[1]), np.float32)
        columns = neighbours(logits.shape[2], self.width, align_corners=self.align_corners)
        for position, left in enumerate(self.lefts):
            # The windows of one column are mixed at their coarse width, and stretched once.
            mixed = np.zeros((len(logits), stop - start, logits.shape[2]), np.float32)
            for band in bands:
                self._add_rows(mixed, band, position, start, stop)
            inside = slice(left, left + self.width)
            scores[:, :, inside] += stretch(mixed, columns, axis=2) * self.column_weights[position, inside]
        return scores

    def _predict(self, band: int) -> list[FloatArray]:
        return [self.logits_of(box) for box in self.bands[band]]

    def _add_rows(self, mixed: FloatArray, band: int, position: int, start: int, stop: int) -> None:
        """Add the part of a window that lies in rows ``start`` to ``stop``, at the window's coarse width."""
        logits, top = self.kept[band][position], self.tops[band]
        first, last = max(start, top), min(stop, top + self.height)
        rows = neighbours(logits.shape[1], self.height, align_corners=self.align_corners)
        part = stretch(logits, rows.part(first - top, last - top), axis=1)
        mixed[:, first - start : last - start] += part * self.row_weights[band, first:last, None]


def blended_argmax(
    views: Sequence[FloatArray | Blended],
    size: tuple[int, int],
    num_classes: int,
    *,
    align_corners: bool = False,
    with_confidence: bool = False,
) -> Decision:
    """The class of every pixel from one or several views of a picture; of several, by the mean of the probabilities.

    Args:
        views: logits (C, h, w) of any size, or windows of the picture at any size.
        size: (height, width) of the mask.
        num_classes: C.
        align_corners: of the resize from a view's size to the mask's.
        with_confidence: also give the (mean) probability of the winning class.
    """
    sizes = [view.shape[1:] if isinstance(view, np.ndarray) else view.size for view in views]
    heights = [neighbours(height, size[0], align_corners=align_corners) for height, _ in sizes]
    widths = [neighbours(width, size[1], align_corners=align_corners) for _, width in sizes]
    mask: MaskArray = np.empty(size, mask_dtype(num_classes))
    confidence = np.empty(size, np.float32) if with_confidence else None
    step = max(1, _STRIP_VALUES // (num_classes * size[1]))
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        strips = [
            _strip(view, rows.part(start, stop), columns)
            for view, rows, columns in zip(views, heights, widths, strict=True)
        ]
        decision = mean_argmax(strips, (stop - start, size[1]), with_confidence=with_confidence)
        mask[start:stop] = decision.mask
        if confidence is not None:
            confidence[start:stop] = decision.confidence
    return Decision(mask, confidence)


def stretch(maps: FloatArray, along: Neighbours, axis: int) -> FloatArray:
    """Bilinear resize of (C, h, w) along one axis, to some or all of its positions."""
    weight = along.weight if axis == 2 else along.weight[:, None]
    return mix(maps.take(along.first, axis), maps.take(along.second, axis), weight)


def _strip(view: FloatArray | Blended, rows: Neighbours, columns: Neighbours) -> FloatArray:
    """(C, rows, W) scores of a view in some rows of the mask."""
    first = int(rows.first[0])
    last = int(rows.second[-1]) if rows.weight.any() else int(rows.first[-1])  # of the same size: no row beyond
    scores = view[:, first : last + 1] if isinstance(view, np.ndarray) else view.rows(first, last + 1)
    local = Neighbours(rows.first - first, np.minimum(rows.second, last) - first, rows.weight)
    if local.weight.any() or len(local.first) != scores.shape[1]:
        scores = stretch(scores, local, axis=1)
    is_stretched = columns.weight.any() or len(columns.first) != scores.shape[2]
    return stretch(scores, columns, axis=2) if is_stretched else scores
