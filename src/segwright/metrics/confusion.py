"""The confusion matrix of a split: which class was predicted at how many pixels of each true class."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import ConfigError, DataError, ShapeError
from segwright.metrics.scores import Scores, scores_of
from segwright.runtime.compiled import compiled

IntArray = NDArray[np.integer]
Counts = NDArray[np.int64]

_BYTE_VALUES = 256
_CHUNK = 1 << 17
"""Pixels counted at a time, so that bincount's 64-bit copy of them (1 MB) stays in the cache."""

_SHORT_RUN = 8
"""Pixels; where runs are shorter on average, counting pixel by pixel is faster."""

_LOOP_SAVES = 0.5e-9
"""Seconds per pixel that the compiled loop saves."""


class ConfusionMatrix:
    """Pixel counts of (true class, predicted class), summed over all images in 64-bit integers.

    Pixels whose mask is ``ignore_index`` are left out. A prediction outside 0..num_classes - 1 (a void class, say)
    counts as a miss of the true class, as in the official Cityscapes evaluation.

    Args:
        num_classes: C.
        ignore_index: mask value of pixels that do not count; no class may have it.

    Attributes:
        counts: (C, C + 1) int64, [truth, prediction]; the last column holds the predictions outside the classes.
        images: how many images were counted.

    Raises:
        ConfigError: no class, or an ``ignore_index`` that is a class.

    Example:
        >>> confusion = ConfusionMatrix(num_classes=2)
        >>> confusion.update(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]))
        >>> confusion.matrix.tolist()
        [[1, 1], [0, 0]]
        >>> confusion.compute(["sky", "tree"]).iou_per_class
        {'sky': 0.5, 'tree': 0.0}
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes}", fix="give at least one class")
        if 0 <= ignore_index < num_classes:
            raise ConfigError(
                f"ignore_index {ignore_index} is one of the classes 0..{num_classes - 1}",
                fix="give a value above the last class, for example 65535",
            )
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts: Counts = np.zeros((num_classes, num_classes + 1), np.int64)
        self.images = 0

    @property
    def matrix(self) -> Counts:
        """(C, C) int64, [truth, prediction], without predictions outside the classes; a view of ``counts``."""
        return self.counts[:, :-1]

    def update(self, prediction: IntArray | Tensor, mask: IntArray | Tensor) -> None:
        """Count the pixels of one image or of a batch; after an error nothing of it is counted.

        Args:
            prediction: (..., H, W) class indices of any integer dtype; uint8 is the fastest.
            mask: (..., H, W) class indices and ``ignore_index``, at the labels' own resolution.

        Raises:
            ShapeError: shapes that differ or have no height and width.
            DataError: decimal numbers, or a mask value that is neither a class nor ``ignore_index``.
        """
        predicted, truth = as_integers(prediction, "prediction"), as_integers(mask, "mask")
        if predicted.shape != truth.shape or truth.ndim < 2:
            raise ShapeError(
                f"the prediction has shape {predicted.shape} and the mask {truth.shape}",
                fix="give both as (..., H, W), the prediction resized to the mask's height and width",
            )
        if _fits_bytes(predicted) and _fits_bytes(truth):
            self.counts += self._count_bytes(predicted.astype(np.uint8, copy=False), truth.astype(np.uint8, copy=False))
        else:
            self.counts += self._count_wide(predicted.astype(np.int64), truth.astype(np.int64))
        self.images += math.prod(truth.shape[:-2])

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another part of the split.

        Raises:
            ConfigError: matrices of different class counts.
        """
        if other.num_classes != self.num_classes:
            raise ConfigError(
                f"confusion matrices of {self.num_classes} and {other.num_classes} classes cannot be added",
                fix="evaluate all parts with the same classes",
            )
        self.counts += other.counts
        self.images += other.images

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        total = ConfusionMatrix(self.num_classes, self.ignore_index)
        total.merge(self)
        total.merge(other)
        return total

    def all_reduce(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Replace the counts by their sum over all processes.

        Args:
            reduce: takes one int64 tensor on the CPU and returns its sum over the processes, on any device; with
                accelerate ``lambda t: accelerator.reduce(t.to(accelerator.device), "sum")``.
        """
        local = torch.from_numpy(np.append(self.counts, self.images))
        total: Counts = reduce(local).cpu().numpy()
        self.counts = total[:-1].reshape(self.counts.shape).copy()
        self.images = int(total[-1])

    def compute(
        self,
        classes: Sequence[str],
        *,
        absent: Literal["skip", "zero"] = "skip",
        categories: Mapping[str, Sequence[str]] | None = None,
    ) -> Scores:
        """All scores of what was counted.

        Args:
            classes: C names in the order of the class indices.
            absent: what a score that is 0 / 0 (a class in neither truth nor prediction) does to the means: ``skip``
                leaves it out (Cityscapes), ``zero`` counts it as 0 (dividing by C always, as some VOC and ADE code).
            categories: category name to its classes, for category IoU, as ``CITYSCAPES_CATEGORIES``.

        Raises:
            ConfigError: class names that are too few, too many or not unique, or unknown ones in ``categories``.
            DataError: no labelled pixel was counted.
        """
        if len(set(classes)) != self.num_classes or len(classes) != self.num_classes:
            raise ConfigError(
                f"the confusion matrix has {self.num_classes} classes; {len(classes)} names were given, "
                f"{len(set(classes))} of them different",
                fix="give one name of its own to each class",
            )
        if not self.counts.any():
            raise DataError(
                f"no labelled pixel in the {self.images} images counted: all are {self.ignore_index} (ignore)",
                fix="choose a split with masks, and see 'segwright data check' for what its masks hold",
            )
        return scores_of(self.counts, classes, absent=absent, categories=categories or {}, images=self.images)

    def _count_bytes(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Counts:
        """(C, C + 1) counts by one histogram over all 65536 pairs of bytes: no pixel is masked out or compared."""
        pairs = np.zeros((_BYTE_VALUES, _BYTE_VALUES), np.int64)
        if truth.size and (loop := compiled("count_pairs", truth.size * _LOOP_SAVES)):
            loop(truth.reshape(-1), predicted.reshape(-1), pairs)
        else:
            _count_runs(truth.reshape(-1), predicted.reshape(-1), pairs.reshape(-1))
        self._check_values(np.arange(_BYTE_VALUES), pairs.sum(axis=1))
        counts = np.zeros_like(self.counts)
        known = min(self.num_classes, _BYTE_VALUES)
        counts[:known, :known] = pairs[:known, :known]
        counts[:known, -1] = pairs[:known, known:].sum(axis=1)
        return counts

    def _count_wide(self, predicted: Counts, truth: Counts) -> Counts:
        """(C, C + 1) counts of values that do not fit into bytes."""
        is_class = (truth >= 0) & (truth < self.num_classes)
        self._check_values(*np.unique(truth[~is_class], return_counts=True))
        rows, columns = truth[is_class], predicted[is_class]
        columns[(columns < 0) | (columns >= self.num_classes)] = self.num_classes
        codes = rows * (self.num_classes + 1) + columns
        return np.bincount(codes, minlength=self.counts.size).reshape(self.counts.shape)

    def _check_values(self, values: Counts, pixels: Counts) -> None:
        """Refuse mask values that occur and are neither a class nor ``ignore_index``; names the most frequent."""
        is_known = ((values >= 0) & (values < self.num_classes)) | (values == self.ignore_index)
        values, pixels = values[~is_known & (pixels > 0)], pixels[~is_known & (pixels > 0)]
        if len(values):
            worst = pixels.argmax()
            others = f" and {len(values) - 1} other unknown values" if len(values) > 1 else ""
            raise DataError(
                f"a mask holds value {values[worst]} ({pixels[worst]} px){others}; "
                f"classes end at {self.num_classes - 1} and ignore is {self.ignore_index}",
                fix=f"add 'map: {{{values[worst]}: ignore}}' to data.yaml, or the class it means in place of ignore",
            )


def _count_runs(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], histogram: Counts) -> None:
    """Add each pixel to ``histogram`` at ``256 * truth + predicted``, runs of equal pixels at once."""
    for start in range(0, truth.size, _CHUNK):
        codes = np.left_shift(truth[start : start + _CHUNK], 8, dtype=np.uint16)
        codes |= predicted[start : start + _CHUNK]
        ends = np.flatnonzero(codes[1:] != codes[:-1])
        if ends.size * _SHORT_RUN < codes.size:
            ends = np.append(ends, codes.size - 1)
            np.add.at(histogram, codes[ends], np.diff(ends, prepend=-1))
        else:
            histogram += np.bincount(codes, minlength=histogram.size)


def as_integers(values: IntArray | Tensor, name: str) -> IntArray:
    """The values as a NumPy array; raises DataError, which calls them ``name``, for decimal numbers."""
    array: IntArray = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "iu":
        raise DataError(f"the {name} holds {array.dtype} values", fix="give integer class indices")
    return array


def _fits_bytes(values: IntArray) -> bool:
    return values.dtype == np.uint8 or bool(values.min(initial=0) >= 0 and values.max(initial=0) < _BYTE_VALUES)
