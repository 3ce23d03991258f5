"""Every file of a data set read in full, and every problem found in it."""

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from segwright.data.dataset import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    FoundFiles,
    SegmentationData,
    find_files,
    how_masks_end,
    no_picture,
    same_stem,
)
from segwright.data.masks import LossyMaskError, MaskReader, RawValue, count_pixels, read_raw_mask
from segwright.data.source import load_data
from segwright.data.transforms import sizes_differ
from segwright.data.unknown import UnknownValues
from segwright.errors import DataError
from segwright.runtime.images import read_image

_MOST_THREADS = 8  # each holds one picture in memory

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Args:
        code: kind of the problem, for programs: ``unknown-value``, ``size-mismatch``, ...
        severity: an error stops training or spoils it; a warning may be meant so.
        file: the file or folder at fault.
        message: what was found.
        fix: what to do about it.
    """

    code: str
    severity: Severity
    file: str
    message: str
    fix: str


@dataclass(frozen=True)
class DataReport:
    """What a data set holds and what is wrong with it.

    Args:
        images: number of pictures per split.
        classes: pixels of each class, by split and class name; masks that cannot be read are left out.
        problems: of single files in order of split and file, then of whole splits.
        source: the data.yaml or the folder that was checked, where there is one.
    """

    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]
    source: Path | None = None

    @property
    def ok(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)

    def class_counts(self, split: str) -> list[int]:
        """Pixels per class in the order of the classes."""
        return list(self.classes[split].values())

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "images": self.images,
            "classes": self.classes,
            "problems": [asdict(problem) for problem in self.problems],
        }

    def raise_if_bad(self, limit: int = 3) -> None:
        """Raise where there are errors.

        Args:
            limit: errors to name in the message.

        Raises:
            DataError: names the first errors and counts them.
        """
        errors = [problem for problem in self.problems if problem.severity == "error"]
        if not errors:
            return
        more = f" (and {len(errors) - limit} more)" if len(errors) > limit else ""
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        listed = "; ".join(problem.message for problem in errors[:limit])
        command = "check_data(data)" if self.source is None else f"segwright data check {shlex.quote(str(self.source))}"
        raise DataError(f"the data set has {count}: {listed}{more}", fix=f"{command} lists all")


class _Job(NamedTuple):
    """A pair of a split, or a file without its partner."""

    split: str
    image: Path | None
    mask: Path | None


class _Findings(NamedTuple):
    """What one job has shown: hash of the picture's bytes, and what the mask holds where it could be read.

    One of the last three at most is given: pixels per class, pixels of each unknown value, or that it is an RGB mask
    of a data set without colours.
    """

    problems: list[Problem]
    digest: bytes | None = None
    counts: Sequence[int] | None = None
    unknown: Mapping[RawValue, int] | None = None
    is_colour_mask: bool = False


class _Totals:
    """What the masks of one split hold together."""

    def __init__(self, reader: MaskReader, split: str) -> None:
        self.counts = np.zeros(len(reader.labels.classes), np.int64)
        self.read = 0
        self.unknown = UnknownValues(reader, split)

    def add(self, mask: Path, findings: _Findings) -> None:
        if findings.counts is not None:
            self.counts += findings.counts
            self.read += 1
        elif findings.unknown:
            self.unknown.add(mask, findings.unknown)
        elif findings.is_colour_mask:
            self.unknown.add_colour_mask(mask)


def check_data(
    data: str | Path | SegmentationData,
    *,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read every picture and mask in full and say what is wrong with them.

    Codes of errors: ``missing-folder``, ``no-picture``, ``missing-mask``, ``missing-picture``, ``duplicate-stem``,
    ``unreadable-picture``, ``unreadable-mask``, ``lossy-mask``, ``size-mismatch``, and once per split
    ``unknown-value``, ``colour-mask``, ``nothing-labelled``. Of warnings: ``all-ignored``, ``class-absent``,
    ``class-only-in-val``, ``identical-picture``, and where all splits are checked ``no-train-split``,
    ``no-val-split``.

    Args:
        data: a data set, its folder or its data.yaml.
        splits: to check; all when ``None``.
        progress: called with files or pairs done and in all.

    Raises:
        DataError: nothing that could be checked: no data set, a data.yaml that does not make sense, or no such split.
    """
    source = data if isinstance(data, SegmentationData) else load_data(data)
    chosen = list(dict.fromkeys(splits or source.folders))
    problems: list[Problem] = []
    jobs: list[_Job] = []
    images: dict[str, int] = {}
    for split in chosen:
        found = _list_split(source, split, problems)
        images[split] = sum(job.image is not None for job in found)
        jobs += found
    reader = MaskReader(source.labels)
    totals = {split: _Totals(reader, split) for split in chosen}
    first_seen: dict[bytes, tuple[str, Path]] = {}
    with _no_truncated_images(), ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, (job, findings) in enumerate(zip(jobs, pool.map(partial(_read, reader), jobs), strict=True), start=1):
            problems += findings.problems
            problems += _seen_before(source, job, findings.digest, first_seen)
            if job.mask is not None:
                totals[job.split].add(job.mask, findings)
            if progress:
                progress(done, len(jobs))
    problems += _unknown_values(totals)
    problems += _absent_classes(source, totals)
    if splits is None:
        problems += _absent_splits(source)
    classes = {split: dict(zip(source.classes, totals[split].counts.tolist(), strict=True)) for split in chosen}
    return DataReport(images, classes, tuple(problems), source.source)


def _list_split(data: SegmentationData, split: str, problems: list[Problem]) -> list[_Job]:
    """The pairs and lonely files of a split; what is wrong with its folders and names goes to ``problems``."""
    folders = data.folders_of(split)
    images = _list_folder(folders.images, IMAGE_SUFFIXES, folders.stems, problems)
    masks = _list_folder(folders.masks, MASK_SUFFIXES, folders.stems, problems)
    if images is not None and not images.by_stem:
        problems.append(_error("no-picture", folders.images, no_picture(folders.images)))
    pictures, partners = (files.by_stem if files else {} for files in (images, masks))
    if images and masks:
        ending = how_masks_end(pictures, partners)
        problems += _lonely(pictures, partners, "mask", folders.masks, ending)
        problems += _lonely(partners, pictures, "picture", folders.images, ending)
    return [_Job(split, pictures.get(stem), partners.get(stem)) for stem in sorted(pictures.keys() | partners)]


def _list_folder(
    folder: Path, suffixes: Sequence[str], stems: frozenset[str] | None, problems: list[Problem]
) -> FoundFiles | None:
    try:
        found = find_files(folder, suffixes, stems)
    except DataError as error:
        problems.append(_error("missing-folder", folder, error))
        return None
    problems += [_error("duplicate-stem", second, same_stem(first, second)) for first, second in found.twins]
    return found


def _lonely(
    files: Mapping[str, Path], others: Mapping[str, Path], what: str, where: Path, ending: str
) -> Iterator[Problem]:
    for stem, path in files.items():
        if stem not in others:
            message = f"'{path}' has no {what} of the same stem in '{where}'"
            yield Problem(f"missing-{what}", "error", str(path), message, f"add the {what}, or remove the file{ending}")


def _read(reader: MaskReader, job: _Job) -> _Findings:
    """Read the files of one job; no more than one picture is held at a time."""
    problems: list[Problem] = []
    digest, image_size = None, None
    if job.image is not None:
        try:
            image_size = read_image(job.image).shape[:2]
            digest = _digest(job.image)
        except (DataError, OSError) as error:
            problems.append(_error("unreadable-picture", job.image, error))
    if job.mask is None:
        return _Findings(problems, digest)
    try:
        raw = read_raw_mask(job.mask)
    except DataError as error:
        code = "lossy-mask" if isinstance(error, LossyMaskError) else "unreadable-mask"
        problems.append(_error(code, job.mask, error))
        return _Findings(problems, digest)
    if job.image is not None and image_size is not None and raw.shape[:2] != image_size:
        differ = sizes_differ(job.image, (image_size[0], image_size[1]), job.mask, raw.shape[:2])
        problems.append(_error("size-mismatch", job.mask, differ))
    return _decoded(reader, raw, job.mask, problems, digest)


def _decoded(
    reader: MaskReader, raw: NDArray[np.integer], path: Path, problems: list[Problem], digest: bytes | None
) -> _Findings:
    """What the raw values of a mask mean, added to what is known of the job."""
    labels = reader.labels
    try:
        counts = count_pixels(reader.decode(raw, path), len(labels.classes))
    except DataError:
        if raw.ndim == 3 and not labels.colour_table():
            return _Findings(problems, digest, is_colour_mask=True)
        return _Findings(problems, digest, unknown=reader.unknown_values(raw, path))
    if not any(counts):
        message = f"mask '{path}' holds ignored pixels only, so that its picture teaches and tests nothing"
        problems.append(Problem("all-ignored", "warning", str(path), message, "remove the pair, or label it"))
    return _Findings(problems, digest, counts)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _seen_before(
    data: SegmentationData, job: _Job, digest: bytes | None, first_seen: dict[bytes, tuple[str, Path]]
) -> Iterator[Problem]:
    """A warning where another split has the same picture, byte by byte.

    The only pair of a recognised folder is both splits: that is said in ``understood``.
    """
    if digest is None or job.image is None:
        return
    split, path = first_seen.setdefault(digest, (job.split, job.image))
    if split != job.split and not (path == job.image and data.understood):
        message = f"picture '{job.image}' of {job.split} is the same as '{path}' of {split}"
        fix = "remove it from one of the two: a score on pictures that were trained on says nothing"
        yield Problem("identical-picture", "warning", str(job.image), message, fix)


def _unknown_values(totals: Mapping[str, _Totals]) -> Iterator[Problem]:
    """One error per split and kind."""
    everywhere: Counter[RawValue] = sum((total.unknown.pixels for total in totals.values()), Counter())
    values = [value for value, _ in everywhere.most_common()]
    for total in totals.values():
        for code, path, error in total.unknown.errors(values):
            yield _error(code, path, error)


def _absent_classes(data: SegmentationData, totals: Mapping[str, _Totals]) -> Iterator[Problem]:
    """Classes without a pixel, of the splits with at least one mask that could be read.

    A train or val split without any labelled pixel is an error; a test split may be published without labels.
    """
    in_val = totals["val"].counts if "val" in totals else None
    for split, (counts, read) in {split: (total.counts, total.read) for split, total in totals.items()}.items():
        folder = str(data.folders[split].masks)
        if read and not counts.any() and split != "test":
            what = "trained" if split == "train" else "scored"
            message = f"the {read} masks of {split} hold no labelled pixel: nothing can be {what}"
            fix = "label some, or take values out of 'ignore' and 'map' in data.yaml"
            yield Problem("nothing-labelled", "error", folder, message, fix)
            continue
        for index, name in enumerate(data.classes if read else ()):
            if counts[index]:
                continue
            where = f"class '{name}' has no pixel in the {read} masks of {split}"
            fix = f"add pictures of '{name}' to {split}, or remove the class from data.yaml"
            if split != "train":
                yield Problem("class-absent", "warning", folder, f"{where}: it cannot be scored there", fix)
            elif in_val is not None and in_val[index]:
                only = f"{where}, but in val: it is never trained and scores 0"
                yield Problem("class-only-in-val", "warning", folder, only, fix)
            else:
                yield Problem("class-absent", "warning", folder, f"{where}: it is never trained", fix)


def _absent_splits(data: SegmentationData) -> Iterator[Problem]:
    """Warnings where a data set cannot be trained on for want of a split."""
    for split in ("train", "val"):
        if split not in data.folders:
            message = f"data set '{data.name}' has no split '{split}', which training needs"
            fix = f"add '{split}: {{images: ..., masks: ...}}' to data.yaml"
            if data.understood:
                fix = f"add folders of pictures and masks for {split}, named like those of {', '.join(data.folders)}"
            yield Problem(f"no-{split}-split", "warning", str(data.source or data.name), message, fix)


def _error(code: str, path: Path, error: DataError | OSError) -> Problem:
    message, fix = (error.message, error.fix) if isinstance(error, DataError) else (str(error), "copy the file again")
    return Problem(code, "error", str(path), message, fix)


@contextmanager
def _no_truncated_images() -> Iterator[None]:
    """Pillow must refuse truncated files, whatever another library has told it."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
