"""A split's labels as patches: those of one class are counted, the others kept pixel by pixel."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segwright.data import MaskReader, SegmentationData, load_data
from segwright.errors import ConfigError, DataError
from segwright.layers.dupsampling import label_patches

IntArray = NDArray[np.integer]
MEMORY_MB = 4096
_SHARE_OF_MEMORY = 4  # the mixed patches take a quarter at most; what works on them has the rest


@dataclass(frozen=True)
class LabelPatches:
    """Windows of ``ratio`` x ``ratio`` pixels, cut from label masks.

    Most windows hold one class and no void: their number says all about them, however rare the class is. The others
    are kept as they are, or a uniform sample of them, each of which then stands for ``weight`` windows.

    Args:
        ratio: rows and columns of a patch.
        num_classes: C.
        void: value of pixels without a class, beyond the masks' edge too; above every class.
        constant: (C,) int64, patches that hold this class and nothing else.
        mixed: (n, ratio ** 2) classes of the other patches, row by row.
        mixed_total: how many other patches the masks hold; more than n where ``mixed`` is a sample.
        void_only: patches without any class; they are in no other count.
    """

    ratio: int
    num_classes: int
    void: int
    constant: NDArray[np.int64]
    mixed: IntArray
    mixed_total: int
    void_only: int

    @property
    def count(self) -> int:
        """Patches with a class in at least one pixel."""
        return int(self.constant.sum()) + self.mixed_total

    @property
    def weight(self) -> float:
        """How many patches of the masks each of ``mixed`` stands for."""
        return self.mixed_total / max(1, len(self.mixed))

    @classmethod
    def from_masks(
        cls,
        masks: Iterable[IntArray],
        *,
        ratio: int,
        num_classes: int,
        void: int,
        seed: int = 0,
        memory_mb: int = MEMORY_MB,
    ) -> "LabelPatches":
        """Cut masks, one after the other.

        Masks whose sides do not divide by ``ratio`` are continued with void to the right and below.

        Args:
            masks: (H, W) each, of any size; class indices, and ``void``.
            ratio: rows and columns of a patch.
            num_classes: C.
            void: value without a class, at least C.
            seed: of the sample, where one is needed.
            memory_mb: where the mixed patches would take more than a quarter of it, they are a sample.

        Raises:
            ConfigError: a ratio below 1.
        """
        if ratio < 1:
            raise ConfigError(f"ratio is {ratio}", fix="give 1 or above; the output stride, 16 or 32 in the paper")
        collector = _Collector(ratio, num_classes, void, seed, memory_mb * 2**20 // _SHARE_OF_MEMORY)
        for mask in masks:
            collector.add(mask)
        return collector.patches()


def read_patches(
    data: SegmentationData | str | Path,
    *,
    ratio: int,
    split: str = "train",
    seed: int = 0,
    memory_mb: int = MEMORY_MB,
    max_masks: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelPatches:
    """The patches of a split's masks; one mask is held at a time.

    Args:
        data: a data set, its folder or its data.yaml.
        ratio: rows and columns of a patch; the output stride.
        split: whose masks.
        seed: of the samples of masks and of mixed patches, where they are samples.
        memory_mb: where the mixed patches would take more than a quarter of it, they are a sample.
        max_masks: read a random sample of this many masks; all when ``None``.
        progress: called with masks done and in all.

    Raises:
        ConfigError: a ratio or ``max_masks`` below 1.
        DataError: no such data set or split, a mask that cannot be read, or void only.
    """
    if max_masks is not None and max_masks < 1:
        raise ConfigError(f"max_masks is {max_masks}", fix="give 1 or above, or leave it out to read all masks")
    source = data if isinstance(data, SegmentationData) else load_data(data)
    paths = [pair.mask for pair in source.pairs(split)]
    if max_masks is not None and max_masks < len(paths):
        chosen = np.random.default_rng(seed).choice(len(paths), max_masks, replace=False)
        paths = [paths[index] for index in sorted(chosen)]
    reader = MaskReader(source.labels)

    def masks() -> Iterable[IntArray]:
        for done, path in enumerate(paths, start=1):
            yield reader.read(path)
            if progress:
                progress(done, len(paths))

    patches = LabelPatches.from_masks(
        masks(),
        ratio=ratio,
        num_classes=len(source.classes),
        void=source.labels.ignore_index,
        seed=seed,
        memory_mb=memory_mb,
    )
    if not patches.count:
        raise DataError(
            f"the {len(paths)} masks of split '{split}' of '{source.name}' hold no labelled pixel",
            fix="label some, or take values out of 'ignore' and 'map' in data.yaml",
        )
    return patches


class _Collector:
    """Counts constant patches and keeps the others, thinned out evenly where they outgrow their memory."""

    def __init__(self, ratio: int, num_classes: int, void: int, seed: int, most_bytes: int) -> None:
        self.ratio, self.num_classes, self.void = ratio, num_classes, void
        self.dtype = np.dtype(np.uint8 if void <= 255 else np.uint16)
        self.constant = np.zeros(num_classes, np.int64)
        self.mixed: list[IntArray] = []
        self.mixed_total = self.void_only = 0
        self._most = max(1, most_bytes // (ratio**2 * self.dtype.itemsize))
        self._random = np.random.default_rng(seed)
        self._draws: list[NDArray[np.float64]] = []  # one number a kept patch; those below the limit stay
        self._limit = 1.0

    def add(self, mask: IntArray) -> None:
        windows = label_patches(torch.from_numpy(mask.astype(np.int64))[None], self.ratio).flatten(0, 2).numpy()
        windows = np.where(windows < 0, self.void, windows).astype(self.dtype)
        first = windows[:, 0]
        is_constant = (windows == first[:, None]).all(1)
        counts = np.bincount(first[is_constant], minlength=self.void + 1)
        self.constant += counts[: self.num_classes]
        self.void_only += int(counts[self.void])
        self._keep(windows[~is_constant])

    def _keep(self, mixed: IntArray) -> None:
        draws = self._random.random(len(mixed))
        self.mixed_total += len(mixed)
        self.mixed.append(mixed[draws < self._limit])
        self._draws.append(draws[draws < self._limit])
        while sum(map(len, self.mixed)) > self._most:
            self._limit /= 2
            self.mixed = [rows[draws < self._limit] for rows, draws in zip(self.mixed, self._draws, strict=True)]
            self._draws = [draws[draws < self._limit] for draws in self._draws]

    def patches(self) -> LabelPatches:
        empty = np.empty((0, self.ratio**2), self.dtype)
        mixed = np.concatenate([empty, *self.mixed])
        return LabelPatches(
            self.ratio, self.num_classes, self.void, self.constant, mixed, self.mixed_total, self.void_only
        )
