"""What three upsamplers make of labels that a perfect network has brought to a coarse map (the paper's mIoU*).

A coarse map of stride s has ceil(side / s) cells along each side, as the maps of a network of that stride. Void pixels
count nowhere: they add nothing to a cell, and a cell of void only has scores of 0, so that a pixel between it and
another cell takes the other's class.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from segwright.analysis.label_codes import LabelCodes
from segwright.layers.dupsampling import label_patches
from segwright.runtime.decide import resize_argmax
from segwright.runtime.masks import MaskArray, mask_dtype

IntArray = NDArray[np.integer]
Counts = NDArray[np.int64]
Areas = NDArray[np.float64]

_MOST_SCORES = 1 << 22
"""Scores held at a time (16 MB)."""


class Averager:
    """The shares of the classes in the cells of a coarse map, brought back by nearest and bilinear upsampling.

    Args:
        mask: (H, W) class indices; anything from ``num_classes`` on is void.
        num_classes: C.
    """

    def __init__(self, mask: IntArray, num_classes: int) -> None:
        self.size = (mask.shape[0], mask.shape[1])
        self._present, self._dense = _present_classes(mask, num_classes)

    def nearest(self, stride: int) -> MaskArray:
        """Each window of ``stride`` x ``stride`` pixels in the class that most of its valid pixels have.

        Windows at the right and lower edge may be cut off. Among equal shares the first class wins.
        """
        rows, columns = ([_Part(slice(None), np.arange(side) // stride, np.ones(1, int))] for side in self.size)
        winners: MaskArray = self._present[self._areas(rows, columns).argmax(-1)]
        return winners.repeat(stride, 0).repeat(stride, 1)[: self.size[0], : self.size[1]]

    def bilinear(self, stride: int) -> MaskArray:
        """The shares of the classes in each cell, resized as networks do, and the largest at each pixel.

        Where a side does not divide by the stride, its ceil(side / stride) cells are all somewhat smaller than the
        stride, as the final resize places them (``align_corners`` False), and a pixel on a border counts in both cells,
        by its area in each. An encoder may place its scores better than by plain shares: this is what averaging costs.
        """
        rows, columns = (_parts(side, -(-side // stride)) for side in self.size)
        areas = self._areas(rows, columns)
        shares = (areas / np.maximum(areas.sum(-1, keepdims=True), 1)).astype(np.float32)
        mask: MaskArray = self._present[resize_argmax(shares.transpose(2, 0, 1), self.size).mask]
        return mask

    def _areas(self, rows: Sequence["_Part"], columns: Sequence["_Part"]) -> Areas:
        """(h, w, classes): the area of each class in each cell; whole numbers, so that equal areas are equal."""
        height, width = (max(part.cells[-1] for part in parts) + 1 for parts in (rows, columns))
        classes = len(self._present) + 1  # void is the last
        areas = np.zeros(height * width * classes)
        for down, across in product(rows, columns):
            first = (down.cells[:, None] * width + across.cells) * classes
            index = self._dense[down.pixels][:, across.pixels] + first
            weights = None
            if len(rows) + len(columns) > 2:  # else no pixel is cut, and all weigh the same
                weights = (down.weights[:, None] * across.weights).ravel()
            areas += np.bincount(index.ravel(), weights, len(areas))
        return areas.reshape(height, width, classes)[..., :-1]


class Coder:
    """Labels as codes of DUpsampling and back: x = P v, the scores W x, and the largest at each pixel.

    A patch of one class has one result per class, which is computed once.

    Args:
        codes: P and W, at least as long as the longest of ``lengths``.
        lengths: of the codes to try, rising; the first channels of ``codes`` each.
    """

    def __init__(self, codes: LabelCodes, lengths: Sequence[int]) -> None:
        self.ratio, self.num_classes, self.lengths = codes.ratio, codes.num_classes, tuple(lengths)
        longest = self.lengths[-1]
        self._projection = F.pad(codes.projection[:longest].T, (0, 0, 0, 1))  # (N + 1, codes); void takes the zeros
        borders = zip((0, *self.lengths), self.lengths, strict=False)
        self._blocks = [(slice(*pair), codes.reconstruction[:, slice(*pair)].T.contiguous()) for pair in borders]
        constant = torch.arange(self.num_classes)[:, None].expand(-1, self.ratio**2)
        self._constant = self._decoded(constant)  # (lengths, C, ratio ** 2)

    def __call__(self, mask: IntArray) -> Iterator[MaskArray]:
        """(H, W) class indices for each length; anything in ``mask`` that is no class is void."""
        rows = label_patches(torch.from_numpy(mask.astype(np.int64))[None], self.ratio)[0]  # (h, w, ratio ** 2)
        height, width, windows = rows.shape[0], rows.shape[1], rows.flatten(0, 1)
        first = windows[:, 0].clamp(0, self.num_classes - 1).numpy()
        is_mixed = (windows != windows[:, :1]).any(1)
        mixed = self._decoded(windows[is_mixed])
        for constant, others in zip(self._constant, mixed, strict=True):
            pixels = constant[first]
            pixels[is_mixed.numpy()] = others
            grid = pixels.reshape(height, width, self.ratio, self.ratio).transpose(0, 2, 1, 3)
            joined = grid.reshape(height * self.ratio, width * self.ratio)
            yield joined[: mask.shape[0], : mask.shape[1]]

    def _decoded(self, windows: torch.Tensor) -> NDArray[np.uint8 | np.uint16]:
        """(lengths, n, ratio ** 2) classes of (n, ratio ** 2) labels."""
        area = self.ratio**2
        decoded = np.empty((len(self.lengths), len(windows), area), mask_dtype(self.num_classes))
        start = 0
        for part in torch.split(windows, max(1, _MOST_SCORES // (self.num_classes * area))):
            codes = self._encoded(part)
            scores = torch.zeros(len(part), self.num_classes * area)
            for index, (channels, block) in enumerate(self._blocks):
                # A longer code only adds to what the shorter one has said.
                scores.addmm_(codes[:, channels], block)
                best = scores.view(len(part), self.num_classes, area).numpy().argmax(1)
                decoded[index, start : start + len(part)] = best
            start += len(part)
        return decoded

    def _encoded(self, windows: torch.Tensor) -> torch.Tensor:
        """(n, codes): P v."""
        area, nowhere = self.ratio**2, len(self._projection) - 1
        is_class = (windows >= 0) & (windows < self.num_classes)
        index = torch.where(is_class, windows * area + torch.arange(area), nowhere)
        return F.embedding_bag(index, self._projection, mode="sum", padding_idx=nowhere)


class _Part(NamedTuple):
    """Pixels along a side, the cell each lies in, and how much of it, in a unit that all pixels share."""

    pixels: slice | Counts
    cells: Counts
    weights: Counts


def _parts(side: int, cells: int) -> list[_Part]:
    """All pixels by the cell they begin in, and those that a border cuts by the next cell too."""
    pixels = np.arange(side)
    first = pixels * cells // side
    beyond = np.maximum((pixels + 1) * cells - (first + 1) * side, 0)  # a pixel is ``cells`` long, a cell ``side``
    cut = np.flatnonzero(beyond)
    whole = _Part(slice(None), first, cells - beyond)
    return [whole, _Part(cut, first[cut] + 1, beyond[cut])] if len(cut) else [whole]


def _present_classes(mask: IntArray, num_classes: int) -> tuple[MaskArray, Counts]:
    """The classes of a mask, and the mask by their numbers among them; void has the number behind the last.

    A network of hundreds of classes must not make every step hundreds of maps wide.
    """
    dtype = mask_dtype(num_classes)
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=num_classes)[:num_classes])
    present = present if len(present) else np.zeros(1, np.int64)
    table = np.full(max(num_classes, int(mask.max(initial=0)) + 1), len(present))
    table[present] = np.arange(len(present))
    table[num_classes:] = len(present)
    return present.astype(dtype), table[mask]
