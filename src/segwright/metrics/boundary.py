"""Scores of class boundaries, and of what is far away (Gated-SCNN, section 4.1)."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import ConfigError, ShapeError
from segwright.metrics.confusion import ConfusionMatrix, IntArray, as_integers

Bits = NDArray[np.uint64]
Sums = NDArray[np.float64]

PIXELS = (3, 5, 9, 12)
"""Tolerances of the paper, whose shares 0.00088, 0.001875, 0.00375 and 0.005 of the diagonal are these pixels on
pictures of 1024x2048."""
DISTANCE_FACTORS = (0, 100, 200, 300, 400)
"""Rows that the distance-based evaluation removes at the top and at the bottom of pictures of 1024x2048."""

_WORD = 64  # classes whose boundaries one number holds per pixel
_ROWS = 64  # rows worked on at a time, so that they stay in the cache


class BoundaryF:
    """Boundary F-score per class: how much of a class's outline lies within some pixels of the true one, and back.

    The protocol is that of the DAVIS benchmark as Gated-SCNN uses it: a pixel is a boundary of a class where one of
    itself, its right, lower and lower right neighbour is of the class and another is not; a boundary pixel is matched
    if the other boundary comes within the tolerance (Euclidean); ignored pixels are of no class in both.

    A class's score is the mean of F over images, the final one the mean over classes.

    Args:
        num_classes: C.
        tolerances: in pixels from 1 on; below 1 in shares of the diagonal, rounded up to pixels.
        ignore_index: mask value of pixels of no class.
        absent: what an image counts for a class whose boundary is in neither truth nor prediction: ``one`` as F = 1
            (the released code, which favours rare classes), ``skip`` not at all.

    Attributes:
        sums, counts: (tolerances, C) sum of F and number of images counted.

    Raises:
        ConfigError: no class, no tolerance, or one that is not above 0.

    Example:
        >>> boundary = BoundaryF(num_classes=2, tolerances=(1,))
        >>> mask = np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0)
        >>> boundary.update(np.roll(mask, 1, axis=1)[:, 1:], mask[:, 1:])
        >>> boundary.compute()
        {1: 1.0}
    """

    def __init__(
        self,
        num_classes: int,
        tolerances: Sequence[float] = PIXELS,
        *,
        ignore_index: int = 255,
        absent: Literal["one", "skip"] = "one",
    ) -> None:
        if num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes}", fix="give at least one class")
        if not tolerances or not all(0 < tolerance < math.inf for tolerance in tolerances):
            raise ConfigError(
                f"tolerances is {tuple(tolerances)}", fix="give pixels such as 3, or shares such as 0.005"
            )
        self.num_classes, self.tolerances = num_classes, tuple(tolerances)
        self.ignore_index, self.absent = ignore_index, absent
        self.sums: Sums = np.zeros((len(self.tolerances), num_classes))
        self.counts: Sums = np.zeros((len(self.tolerances), num_classes))

    def update(self, prediction: IntArray | Tensor, mask: IntArray | Tensor) -> None:
        """Count one image or a batch.

        Args:
            prediction: (..., H, W) class indices; what is no class belongs to none.
            mask: (..., H, W) class indices and ``ignore_index``.

        Raises:
            ShapeError: shapes that differ or have no height and width.
        """
        predicted, truth = as_integers(prediction, "prediction"), as_integers(mask, "mask")
        if predicted.shape != truth.shape or truth.ndim < 2 or 0 in truth.shape:
            raise ShapeError(
                f"the prediction has shape {predicted.shape} and the mask {truth.shape}",
                fix="give both as (..., H, W), the prediction resized to the mask's height and width",
            )
        size = truth.shape[-2:]
        for ours, theirs in zip(predicted.reshape(-1, *size), truth.reshape(-1, *size), strict=True):
            scores, is_absent = self._f_of_image(ours, theirs)
            is_counted = ~is_absent | (self.absent == "one")
            self.sums += np.where(is_counted, scores, 0.0)
            self.counts += is_counted

    def merge(self, other: "BoundaryF") -> None:
        """Add another part of the split, counted with the same settings."""
        if (other.num_classes, other.tolerances, other.absent) != (self.num_classes, self.tolerances, self.absent):
            raise ConfigError(
                "boundary scores of different settings cannot be added", fix="give all parts the same settings"
            )
        self.sums += other.sums
        self.counts += other.counts

    def all_reduce(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """As :meth:`ConfusionMatrix.all_reduce`; the tensor is float64."""
        total = reduce(torch.from_numpy(np.stack((self.sums, self.counts)))).cpu().numpy()
        self.sums, self.counts = total[0].copy(), total[1].copy()

    def per_class(self) -> Sums:
        """(tolerances, C) scores in 0..1, NaN for a class that no image counts for."""
        scores = np.full(self.sums.shape, math.nan)
        np.divide(self.sums, self.counts, out=scores, where=self.counts > 0)
        return scores

    def compute(self) -> dict[float, float]:
        """The score by tolerance, in 0..1; NaN where nothing was counted."""
        means = {}
        for tolerance, scores in zip(self.tolerances, self.per_class(), strict=True):
            counted = scores[~np.isnan(scores)]
            means[tolerance] = float(counted.mean()) if counted.size else math.nan
        return means

    def _f_of_image(self, predicted: IntArray, truth: IntArray) -> tuple[Sums, NDArray[np.bool_]]:
        """(tolerances, C) F-scores, and (C,) whether neither has a boundary of the class."""
        ignored = truth == self.ignore_index
        radii = [radius_of(tolerance, *truth.shape) for tolerance in self.tolerances]
        parts = []
        for first in range(0, self.num_classes, _WORD):
            classes = range(first, min(first + _WORD, self.num_classes))
            ours, theirs = (boundary_bits(class_bits(values, ignored, classes)) for values in (predicted, truth))
            counts = matched(ours, theirs, radii, len(classes)), matched(theirs, ours, radii, len(classes))
            parts.append(np.stack(counts))  # (2, 1 + radii, classes): all pixels, then those matched per radius
        totals = np.concatenate(parts, axis=-1)
        ours, theirs = totals[0, 0], totals[1, 0]
        precision = np.where(ours > 0, totals[0, 1:] / np.maximum(ours, 1), 1.0)
        recall = np.where(theirs > 0, totals[1, 1:] / np.maximum(theirs, 1), 1.0)
        both = precision + recall
        return 2 * precision * recall / np.where(both > 0, both, 1.0), (ours == 0) & (theirs == 0)


def radius_of(tolerance: float, height: int, width: int) -> int:
    """Pixels of a tolerance: itself, or for a share of the diagonal the next whole number above.

    Example:
        >>> [radius_of(share, 1024, 2048) for share in (0.00088, 0.001875, 0.00375, 0.005)]
        [3, 5, 9, 12]
    """
    return int(tolerance) if tolerance >= 1 else math.ceil(tolerance * math.hypot(height, width))


def class_bits(values: IntArray, ignored: NDArray[np.bool_], classes: range) -> Bits:
    """(H, W): bit i of a pixel of the i-th class; no bit where it is ignored or of another class."""
    is_one = (values >= classes.start) & (values < classes.stop) & ~ignored
    offsets = np.where(is_one, values, classes.start) - classes.start
    dtype: Any = np.uint32 if len(classes) <= 32 else np.uint64
    bits: Bits = np.where(is_one, dtype(1) << offsets.astype(dtype), dtype(0))
    return bits


def boundary_bits(bits: Bits) -> Bits:
    """(H, W): the classes that a pixel and its right, lower and lower right neighbour do not agree about."""
    padded = np.pad(bits, ((0, 1), (0, 1)), mode="edge")
    edges: Bits = (bits ^ padded[:-1, 1:]) | (bits ^ padded[1:, :-1]) | (bits ^ padded[1:, 1:])
    return edges


def matched(boundary: Bits, other: Bits, radii: Sequence[int], classes: int) -> NDArray[np.int64]:
    """(1 + radii, classes) boundary pixels in all, and those with one of the other boundary within each radius."""
    counts = np.zeros((1 + len(radii), classes), np.int64)
    reach = max(radii)
    padded = np.pad(other, reach)
    for top in range(0, len(boundary), _ROWS):
        rows = boundary[top : top + _ROWS]
        y, x = rows.nonzero()
        if not len(y):
            continue
        words = rows[y, x]
        counts[0] += count_bits(words, classes)
        around = padded[top : top + len(rows) + 2 * reach]
        for index, grown in enumerate(dilations(around, radii)):
            counts[1 + index] += count_bits(words & grown[y, x], classes)
    return counts


def dilations(padded: Bits, radii: Sequence[int]) -> Iterator[Bits]:
    """Each pixel's bits and those of all pixels within the radius, for each of ``radii``.

    Rows are widened once, by each number of pixels; a disk is a stack of rows of different widths.

    Args:
        padded: (H + 2 R, W + 2 R), where R is the largest radius.
        radii: in pixels.
    """
    reach = max(radii)
    height, width = padded.shape[0] - 2 * reach, padded.shape[1] - 2 * reach
    widened = [padded[:, reach : reach + width]]
    for step in range(1, reach + 1):
        wider = widened[-1] | padded[:, reach - step : reach - step + width]
        wider |= padded[:, reach + step : reach + step + width]
        widened.append(wider)
    for radius in radii:
        grown = widened[radius][reach : reach + height].copy()
        for offset in range(1, radius + 1):
            row = widened[math.isqrt(radius**2 - offset**2)]
            grown |= row[reach - offset : reach - offset + height]
            grown |= row[reach + offset : reach + offset + height]
        yield grown


def count_bits(words: Bits, classes: int) -> NDArray[np.int64]:
    """(classes,) in how many of the words each bit is set."""
    columns = words.astype(f"<u{words.itemsize}", copy=False).view(np.uint8).reshape(-1, words.itemsize)
    counts = [np.bincount(column, minlength=256) @ _BITS_OF_BYTE for column in columns.T]
    return np.concatenate(counts)[:classes]


_BITS_OF_BYTE: NDArray[np.int64] = (np.arange(256)[:, None] >> np.arange(8)) & 1
"""(256, 8): the bits of each byte, lowest first."""


@dataclass
class DistanceScores:
    """Confusion matrices of ever smaller parts around a centre, where in street scenes the distant things are.

    Args:
        num_classes: C.
        factors: rows that are removed at the top and at the bottom of a picture 1024 pixels high, and in proportion
            of others; of its columns, as large a share is removed. Multiples of 100 up to 400 in the paper.
        centre: (y, x) as shares of height and width; the middle is near the vanishing point in Cityscapes.
        ignore_index: mask value of pixels that do not count.
    """

    num_classes: int
    factors: Sequence[int] = DISTANCE_FACTORS
    centre: tuple[float, float] = (0.5, 0.5)
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not all(0 <= factor < 512 for factor in self.factors):
            raise ConfigError(f"factors is {tuple(self.factors)}", fix="give rows from 0 to 511, such as 0, 100, 400")
        self.matrices: Mapping[int, ConfusionMatrix] = {
            factor: ConfusionMatrix(self.num_classes, self.ignore_index) for factor in self.factors
        }

    def update(self, prediction: IntArray | Tensor, mask: IntArray | Tensor) -> None:
        """Count the parts of one image or of a batch, (..., H, W); the prediction is of the whole picture."""
        for factor, matrix in self.matrices.items():
            rows, columns = distance_crop(mask.shape[-2], mask.shape[-1], factor, centre=self.centre)
            matrix.update(prediction[..., rows, columns], mask[..., rows, columns])


def distance_crop(
    height: int, width: int, factor: int, *, centre: tuple[float, float] = (0.5, 0.5)
) -> tuple[slice, slice]:
    """Rows and columns of the part around ``centre`` that a crop factor leaves; it stays inside the picture.

    Example:
        >>> distance_crop(1024, 2048, 400)
        (slice(400, 624, None), slice(800, 1248, None))
    """
    slices = []
    for side, share in zip((height, width), centre, strict=True):
        length = max(1, round(side * (1 - 2 * factor / 1024)))
        start = min(max(round(side * share - length / 2), 0), side - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1]
