"""Scores of pictures that a network sees through windows, made a few rows at a time.

Only the coarse logits of the windows near the rows in work are kept, never the scores of all classes at every pixel:
19 classes at 8192x8192 would take 5 GB.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from segwright.runtime.bilinear import FloatArray, Neighbours, mix, neighbours, span
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
        columns: first and end of those that are wanted; windows that do not count there are not predicted. None is all.
    """

    def __init__(
        self,
        size: tuple[int, int],
        window: tuple[int, int],
        logits_of: Callable[[Box], FloatArray],
        *,
        align_corners: bool = False,
        columns: tuple[int, int] | None = None,
    ) -> None:
        self.size, self.window = size, window
        self.logits_of, self.align_corners = logits_of, align_corners
        self.height, self.width = min(window[0], size[0]), min(window[1], size[1])
        self.tops, self.lefts = window_starts(size[0], self.height), window_starts(size[1], self.width)
        boxes = window_boxes(size, window)
        self.bands = [boxes[start : start + len(self.lefts)] for start in range(0, len(boxes), len(self.lefts))]
        self.row_weights = window_weights(size[0], self.height)
        self.column_weights = window_weights(size[1], self.width)
        self.columns = columns or (0, size[1])
        counting = np.flatnonzero(self.column_weights[:, slice(*self.columns)].any(1))
        self.positions = range(int(counting[0]), int(counting[-1]) + 1)
        self.kept: dict[int, FloatArray] = {}

    def part(self, columns: tuple[int, int]) -> "Blended":
        """The same view, of some of its columns."""
        return Blended(self.size, self.window, self.logits_of, align_corners=self.align_corners, columns=columns)

    @property
    def windows(self) -> int:
        """How many there are to predict."""
        return len(self.tops) * len(self.positions)

    def rows(self, start: int, stop: int) -> FloatArray:
        """(C, stop - start, wanted columns) logits; ``start`` must never go back."""
        bands = [band for band in range(len(self.tops)) if self.row_weights[band, start:stop].any()]
        self.kept = {band: self.kept[band] if band in self.kept else self._predict(band) for band in bands}
        logits = self.kept[bands[0]][0]
        begin, end = self.columns
        scores = np.zeros((len(logits), stop - start, end - begin), np.float32)
        columns = neighbours(logits.shape[2], self.width, align_corners=self.align_corners)
        for index, position in enumerate(self.positions):
            # The windows of one column are mixed at their coarse width, and stretched once.
            mixed = np.zeros((len(logits), stop - start, logits.shape[2]), np.float32)
            for band in bands:
                self._add_rows(mixed, band, index, start, stop)
            left = self.lefts[position]
            first, last = max(left, begin), min(left + self.width, end)
            part = stretch(mixed, columns.part(first - left, last - left), axis=2)
            scores[:, :, first - begin : last - begin] += part * self.column_weights[position, first:last]
        return scores

    def _predict(self, band: int) -> FloatArray:
        """(windows, C, h, w) logits, in one piece: small ones would lie among what the network gives back."""
        for index, position in enumerate(self.positions):
            logits = self.logits_of(self.bands[band][position])
            if index == 0:
                predicted = np.empty((len(self.positions), *logits.shape), np.float32)
            predicted[index] = logits
        return predicted

    def _add_rows(self, mixed: FloatArray, band: int, index: int, start: int, stop: int) -> None:
        """Add the part of a window that lies in rows ``start`` to ``stop``, at the window's coarse width."""
        logits, top = self.kept[band][index], self.tops[band]
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
    mask: MaskArray = np.empty(size, mask_dtype(num_classes))
    confidence = np.empty(size, np.float32) if with_confidence else None
    strips = blended_strips(
        views, size, num_classes, (0, size[1]), align_corners=align_corners, with_confidence=with_confidence
    )
    for rows, decision in strips:
        mask[rows] = decision.mask
        if confidence is not None:
            confidence[rows] = decision.confidence
    return Decision(mask, confidence)


def blended_strips(
    views: Sequence[FloatArray | Blended],
    size: tuple[int, int],
    num_classes: int,
    columns: tuple[int, int],
    *,
    align_corners: bool = False,
    with_confidence: bool = False,
) -> Iterator[tuple[slice, Decision]]:
    """As :func:`blended_argmax`, of some columns of the mask, and handed out a few rows at a time.

    Args:
        views: as there; of windows only those columns are predicted that are needed.
        size: (height, width) of the whole mask.
        num_classes: C.
        columns: first and end of those that are wanted.
        align_corners: as there.
        with_confidence: as there.

    Yields:
        Rows of the mask, in order, and what is decided of them.
    """
    parts = [columns_of(view, size[1], columns, align_corners) for view in views]
    heights = [
        neighbours(
            view.shape[1] if isinstance(view, np.ndarray) else view.size[0], size[0], align_corners=align_corners
        )
        for view in views
    ]
    width = columns[1] - columns[0]
    step = max(1, _STRIP_VALUES // (num_classes * width))
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        strips = [
            _strip(view, rows.part(start, stop), places) for (view, places), rows in zip(parts, heights, strict=True)
        ]
        yield slice(start, stop), mean_argmax(strips, (stop - start, width), with_confidence=with_confidence)


def stretch(maps: FloatArray, along: Neighbours, axis: int) -> FloatArray:
    """Bilinear resize of (C, h, w) along one axis, to some or all of its positions."""
    weight = along.weight if axis == 2 else along.weight[:, None]
    return mix(maps.take(along.first, axis), maps.take(along.second, axis), weight)


def columns_of(
    view: FloatArray | Blended, width: int, columns: tuple[int, int], align_corners: bool
) -> tuple[FloatArray | Blended, Neighbours]:
    """The part of a view that some columns of the mask need, and their places in it."""
    coarse = view.shape[2] if isinstance(view, np.ndarray) else view.size[1]
    first, end, places = span(neighbours(coarse, width, align_corners=align_corners).part(*columns))
    return view[:, :, first:end] if isinstance(view, np.ndarray) else view.part((first, end)), places


def _strip(view: FloatArray | Blended, rows: Neighbours, columns: Neighbours) -> FloatArray:
    """(C, rows, columns) scores of a view in some rows of the mask."""
    first, end, local = span(rows)
    scores = view[:, first:end] if isinstance(view, np.ndarray) else view.rows(first, end)
    if local.weight.any() or len(local.first) != scores.shape[1]:
        scores = stretch(scores, local, axis=1)
    is_stretched = columns.weight.any() or len(columns.first) != scores.shape[2]
    return stretch(scores, columns, axis=2) if is_stretched else scores
