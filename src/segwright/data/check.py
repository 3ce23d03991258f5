"""Every file of a data set read in full, and every problem found in it."""

import hashlib
import os
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
    no_picture,
    same_stem,
)
from segwright.data.masks import MaskReader, count_pixels, read_raw_mask
from segwright.data.source import load_data
from segwright.data.transforms import sizes_differ
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
        problems: in order of split and file.
    """

    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]

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
        raise DataError(f"the data set has {count}: {listed}{more}", fix="segwright data check DATA lists all")


class _Job(NamedTuple):
    """A pair of a split, or a file without its partner."""

    split: str
    image: Path | None
    mask: Path | None


class _Findings(NamedTuple):
    """What one job has shown: hash of the picture's bytes, and pixels per class where the mask could be read."""

    problems: list[Problem]
    digest: bytes | None
    counts: Sequence[int] | None


def check_data(
    data: str | Path | SegmentationData,
    *,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read every picture and mask in full and say what is wrong with them.

    Codes of errors: ``missing-folder``, ``no-picture``, ``missing-mask``, ``missing-picture``, ``duplicate-stem``,
    ``unreadable-picture``, ``unreadable-mask``, ``size-mismatch``, ``unknown-value``, ``colour-mask``. Of warnings:
    ``all-ignored``, ``class-absent``, ``class-only-in-val``, ``identical-picture``.

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
    counts = {split: np.zeros(len(source.classes), np.int64) for split in chosen}
    read = dict.fromkeys(chosen, 0)
    first_seen: dict[bytes, tuple[str, Path]] = {}
    reader = MaskReader(source.labels)
    with _no_truncated_images(), ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, (job, findings) in enumerate(zip(jobs, pool.map(partial(_read, reader), jobs), strict=True), start=1):
            problems += findings.problems
            problems += _seen_before(job, findings.digest, first_seen)
            if findings.counts is not None:
                counts[job.split] += findings.counts
                read[job.split] += 1
            if progress:
                progress(done, len(jobs))
    problems += _absent_classes(source, counts, read)
    classes = {split: dict(zip(source.classes, counts[split].tolist(), strict=True)) for split in chosen}
    return DataReport(images, classes, tuple(problems))


def _list_split(data: SegmentationData, split: str, problems: list[Problem]) -> list[_Job]:
    """The pairs and lonely files of a split; what is wrong with its folders and names goes to ``problems``."""
    folders = data.folders_of(split)
    images = _list_folder(folders.images, IMAGE_SUFFIXES, folders.stems, problems)
    masks = _list_folder(folders.masks, MASK_SUFFIXES, folders.stems, problems)
    if images is not None and not images.by_stem:
        problems.append(_error("no-picture", folders.images, no_picture(folders.images)))
    pictures, partners = (files.by_stem if files else {} for files in (images, masks))
    if images and masks:
        problems += _lonely(pictures, partners, "mask", folders.masks)
        problems += _lonely(partners, pictures, "picture", folders.images)
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


def _lonely(files: Mapping[str, Path], others: Mapping[str, Path], what: str, where: Path) -> Iterator[Problem]:
    for stem, path in files.items():
        if stem not in others:
            message = f"'{path}' has no {what} of the same stem in '{where}'"
            yield Problem(f"missing-{what}", "error", str(path), message, f"add the {what}, or remove the file")


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
        return _Findings(problems, digest, None)
    try:
        raw = read_raw_mask(job.mask)
    except DataError as error:
        problems.append(_error("unreadable-mask", job.mask, error))
        return _Findings(problems, digest, None)
    if job.image is not None and image_size is not None and raw.shape[:2] != image_size:
        differ = sizes_differ(job.image, (image_size[0], image_size[1]), job.mask, raw.shape[:2])
        problems.append(_error("size-mismatch", job.mask, differ))
    counts, problem = _count(reader, raw, job.mask)
    return _Findings([*problems, problem] if problem else problems, digest, counts)


def _count(reader: MaskReader, raw: NDArray[np.integer], path: Path) -> tuple[Sequence[int] | None, Problem | None]:
    """Pixels per class of a mask's raw values, or what is wrong with them."""
    labels = reader.labels
    try:
        counts = count_pixels(reader.decode(raw, path), len(labels.classes))
    except DataError as error:
        code = "colour-mask" if raw.ndim == 3 and not labels.colour_table() else "unknown-value"
        return None, _error(code, path, error)
    if any(counts):
        return counts, None
    message = f"mask '{path}' holds ignored pixels only, so that its picture teaches and tests nothing"
    return counts, Problem("all-ignored", "warning", str(path), message, "remove the pair, or label it")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _seen_before(job: _Job, digest: bytes | None, first_seen: dict[bytes, tuple[str, Path]]) -> Iterator[Problem]:
    """A warning where another split has the same picture, byte by byte."""
    if digest is None or job.image is None:
        return
    split, path = first_seen.setdefault(digest, (job.split, job.image))
    if split != job.split:
        message = f"picture '{job.image}' of {job.split} is the same as '{path}' of {split}"
        fix = "remove it from one of the two: a score on pictures that were trained on says nothing"
        yield Problem("identical-picture", "warning", str(job.image), message, fix)


def _absent_classes(
    data: SegmentationData, counts: Mapping[str, NDArray[np.int64]], read: Mapping[str, int]
) -> Iterator[Problem]:
    """Warnings of classes without a pixel, from the splits with at least one mask that could be read."""
    for split in (split for split in counts if read[split]):
        for index, name in enumerate(data.classes):
            if counts[split][index]:
                continue
            where = f"class '{name}' has no pixel in the {read[split]} masks of {split}"
            fix = f"add pictures of '{name}' to {split}, or remove the class from data.yaml"
            folder = str(data.folders[split].masks)
            if split != "train":
                yield Problem("class-absent", "warning", folder, f"{where}: it cannot be scored there", fix)
            elif "val" in counts and counts["val"][index]:
                only = f"{where}, but in val: it is never trained and scores 0"
                yield Problem("class-only-in-val", "warning", folder, only, fix)
            else:
                yield Problem("class-absent", "warning", folder, f"{where}: it is never trained", fix)


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
