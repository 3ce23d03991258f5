"""Which output stride do a data set's labels allow? The best scores that three upsamplers could reach on them.

The bound of an upsampler is its score where the network in front of it is perfect: what is left of the labels
themselves, brought to a coarse map and back (mIoU* in DUpsampling, table 1). Nothing is trained, no picture is read.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from segwright.analysis.bounds import Bound, Limits, Sample, Upsampler
from segwright.analysis.fitting import fit_patches
from segwright.analysis.patches import read_patches
from segwright.analysis.upsamplers import Averager, Coder, IntArray
from segwright.data import MaskReader, SegmentationData, load_data
from segwright.errors import ConfigError, DataError
from segwright.metrics import BoundaryF, ConfusionMatrix
from segwright.runtime.masks import MaskArray

STRIDES = (4, 8, 16, 32)
CODE_LENGTHS = (32, 64, 128, 256)
LARGEST_STRIDE = 128
"""Networks end at 32 or 64. At 128 a patch already has 16384 values a class, and W as many rows."""
TOLERANCE = 3
"""Of the boundary F-score, in pixels: the strictest of Gated-SCNN's four."""

_MOST_THREADS = 8  # each holds one mask and a few predictions

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is of it."""


def label_limits(
    data: SegmentationData | str | Path,
    *,
    split: str = "val",
    fit_split: str = "train",
    strides: Sequence[int] = STRIDES,
    code_lengths: Sequence[int] = CODE_LENGTHS,
    max_images: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Limits:
    """The bounds of nearest, bilinear and DUpsampling on the labels of a split, at their own resolution.

    Every pixel of every mask counts, void excepted.

    Args:
        data: a data set, its folder or its data.yaml.
        split: whose labels are brought to the coarse maps and back.
        fit_split: whose labels DUpsampling's codes are fitted to.
        strides: of the coarse maps, 2 to :data:`LARGEST_STRIDE`; one larger than a picture makes a map of one cell.
        code_lengths: to try with DUpsampling; none leaves it out. A length above a patch's values or above the number
            of patches is left out at that stride, which ``notes`` says.
        max_images: read a random sample of this many masks of each split; all when ``None``.
        seed: of the samples and the fits.
        progress: called with what is being done, pieces done and in all.

    Raises:
        ConfigError: a stride, a code length or ``max_images`` out of range, or codes longer than every patch.
        DataError: no such data set or split, a mask that cannot be read, nothing labelled, or too few patches.
    """
    _check(strides, code_lengths, max_images)
    tell = progress or _tell_nobody
    source = data if isinstance(data, SegmentationData) else load_data(data)
    in_split = [pair.mask for pair in source.pairs(split)]
    masks = _sampled(in_split, max_images, seed)
    to_fit = len(source.pairs(fit_split)) if code_lengths else 0
    fitter = _Fitter(source, fit_split, sorted(set(code_lengths)), max_images, seed, tell)
    with _one_thread():
        coders = fitter.fit_all(sorted(set(strides)))
        bounds = _measure(masks, source, coders, tell)
    return Limits(
        data=source.name,
        measured=Sample(split, len(masks), len(in_split)),
        fitted=Sample(fit_split, min(to_fit, max_images or to_fit), to_fit),
        seed=seed,
        bounds=bounds,
        notes=tuple(fitter.notes),
    )


@dataclass
class _Fitter:
    """Fits DUpsampling's codes to a split's labels, and notes which lengths cannot be fitted."""

    data: SegmentationData
    split: str
    lengths: Sequence[int]
    max_images: int | None
    seed: int
    tell: Progress
    notes: list[str] = field(default_factory=list)

    def fit_all(self, strides: Sequence[int]) -> dict[int, Coder | None]:
        """A coder per stride, ``None`` where no length can be fitted."""
        coders = {stride: self.fit(stride) for stride in strides}
        if self.lengths and not any(coders.values()):
            if min(self.lengths) > len(self.data.classes) * max(strides) ** 2:
                raise ConfigError(f"the code lengths suit no stride: {self.notes[-1]}", fix="give shorter codes")
            raise DataError(
                f"the code lengths suit no stride: {self.notes[-1]}", fix="give shorter codes, or label more pictures"
            )
        return coders

    def fit(self, stride: int) -> Coder | None:
        """The longest codes that can be fitted, and with them all shorter ones."""
        values = len(self.data.classes) * stride**2
        lengths = self._up_to(values, self.lengths, f"at stride {stride} a patch has {values} values")
        if not lengths:
            return None
        patches = read_patches(
            self.data,
            ratio=stride,
            split=self.split,
            seed=self.seed,
            max_masks=self.max_images,
            progress=partial(self.tell, f"stride {stride}: reading"),
        )
        lengths = self._up_to(patches.count, lengths, f"at stride {stride} {self.split} has {patches.count} patches")
        if not lengths:
            return None
        tell = partial(self.tell, f"stride {stride}: fitting")
        return Coder(fit_patches(patches, self.data.classes, lengths[-1], seed=self.seed, progress=tell), lengths)

    def _up_to(self, most: int, lengths: Sequence[int], why: str) -> list[int]:
        longer = ", ".join(str(length) for length in lengths if length > most)
        if longer:
            self.notes.append(f"{why}, fewer than codes of {longer} channels, which are left out")
        return [length for length in lengths if length <= most]


class _Key(NamedTuple):
    stride: int
    upsampler: Upsampler
    code_channels: int | None = None


class _Tally:
    """The pixels and outlines of one upsampler's predictions."""

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.matrix = ConfusionMatrix(num_classes, ignore_index)
        self.outlines = BoundaryF(num_classes, (TOLERANCE,), ignore_index=ignore_index)

    def update(self, prediction: MaskArray, mask: IntArray) -> None:
        self.matrix.update(prediction, mask)
        self.outlines.update(prediction, mask)

    def merge(self, other: "_Tally") -> None:
        self.matrix.merge(other.matrix)
        self.outlines.merge(other.outlines)

    def bound(self, key: _Key, classes: Sequence[str]) -> Bound:
        scores = self.matrix.compute(classes)
        return Bound(*key, scores.miou, scores.iou_per_class, self.outlines.compute()[TOLERANCE])


def _measure(
    paths: Sequence[Path], data: SegmentationData, coders: Mapping[int, Coder | None], tell: Progress
) -> tuple[Bound, ...]:
    """The bounds over all masks; a few masks are held at a time.

    Masks are counted in their order, so that the sums do not depend on the number of threads.
    """
    num_classes, ignore_index = len(data.classes), data.labels.ignore_index
    reader = MaskReader(data.labels)

    def tallies_of(path: Path) -> dict[_Key, _Tally]:
        mask = reader.read(path)
        tallies = {}
        for key, prediction in _predictions(mask, num_classes, coders):
            tallies[key] = _Tally(num_classes, ignore_index)
            tallies[key].update(prediction, mask)
        return tallies

    totals: dict[_Key, _Tally] = {}
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, tallies in enumerate(pool.map(tallies_of, paths), start=1):
            for key, tally in tallies.items():
                totals.setdefault(key, _Tally(num_classes, ignore_index)).merge(tally)
            tell("measuring", done, len(paths))
    return tuple(tally.bound(key, data.classes) for key, tally in totals.items())


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch in each of ours: the tensors of a mask are small, and more threads only wait for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _predictions(
    mask: IntArray, num_classes: int, coders: Mapping[int, Coder | None]
) -> Iterator[tuple[_Key, MaskArray]]:
    """What each upsampler makes of a mask, one at a time."""
    averager = Averager(mask, num_classes)
    for stride, coder in coders.items():
        yield _Key(stride, "nearest"), averager.nearest(stride)
        yield _Key(stride, "bilinear"), averager.bilinear(stride)
        if coder is not None:
            for length, prediction in zip(coder.lengths, coder(mask), strict=True):
                yield _Key(stride, "dupsampling", length), prediction


def _sampled(paths: Sequence[Path], most: int | None, seed: int) -> list[Path]:
    """All of them, or a random sample, in their order."""
    if most is None or most >= len(paths):
        return list(paths)
    chosen = np.random.default_rng(seed).choice(len(paths), most, replace=False)
    return [paths[index] for index in sorted(chosen)]


def _check(strides: Sequence[int], code_lengths: Sequence[int], max_images: int | None) -> None:
    """Raise ConfigError for numbers that cannot be used."""
    if not strides or not all(_is_whole(stride) and 2 <= stride <= LARGEST_STRIDE for stride in strides):
        raise ConfigError(
            f"strides are {_listed(strides)}", fix=f"give whole numbers from 2 to {LARGEST_STRIDE}, as 4 8 16 32"
        )
    if not all(_is_whole(length) and length >= 1 for length in code_lengths):
        raise ConfigError(f"code lengths are {_listed(code_lengths)}", fix="give whole numbers from 1, as 32 64 128")
    if max_images is not None and (not _is_whole(max_images) or max_images < 1):
        raise ConfigError(f"the number of images is {max_images}", fix="give 1 or above, or leave it out to read all")


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _listed(numbers: Sequence[object]) -> str:
    return " ".join(map(str, numbers)) or "none"


def _tell_nobody(what: str, done: int, total: int) -> None:
    pass
