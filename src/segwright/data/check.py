"""Every file of a data set read in full, and every problem found in it."""

import hashlib
import itertools
import os
import shlex
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from segwright.data.checks.classes import check_classes
from segwright.data.checks.files import Limits
from segwright.data.checks.kept import KeepingChecker
from segwright.data.checks.listing import list_split
from segwright.data.checks.pairs import Found, Job, PairChecker
from segwright.data.checks.problem import Place, Problem, check_allowed
from segwright.data.checks.splits import (
    SeenPictures,
    are_black_and_white,
    check_absent_splits,
    check_pictures,
    check_values,
    pixels_per_class,
)
from segwright.data.checks.tables import check_table
from segwright.data.checks.totals import SplitTotals
from segwright.data.checks.workers import in_processes, processes_for
from segwright.data.dataset import SegmentationData
from segwright.data.masks import MaskReader
from segwright.data.source import load_data
from segwright.errors import DataError

__all__ = ["DataReport", "Place", "Problem", "check_data"]

Checker = PairChecker | KeepingChecker

_PIECE, _PIECE_SECONDS = 64, 0.2  # pairs that a process reads at most before it answers, and for about how long
_KEPT_PIECES = (1, 8, 64)  # sizes of pieces whose results are kept: few, for a nearly equal size would make all new
_SIZED_FILES = 512
_WORTH_KEEPING = 10.0  # seconds of one core that a check takes, from which on its results are kept
_SECONDS_PER_FILE, _SECONDS_PER_BYTE = 5e-5, 2e-8


@dataclass(frozen=True)
class DataReport:
    """What a data set holds and what is wrong with it.

    Args:
        images: number of pictures per split.
        classes: pixels of each class, by split and class name; masks that cannot be read are left out.
        problems: of single files in order of split and file, then of whole splits.
        source: the data.yaml or the folder that was checked, where there is one.
        masks_with: how many masks hold each class, by split and class name.
        ignored: pixels that are left out of loss and scores, by split.
        sizes: pictures by (height, width) as shown, by split.
        unchanged: pairs that were not read again, because their files are as an earlier check found them.
    """

    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]
    source: Path | None = None
    masks_with: dict[str, dict[str, int]] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)
    unchanged: int = 0

    @property
    def ok(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def what_is_unchanged(self) -> str:
        """Half a sentence for people."""
        were = "1 pair was" if self.unchanged == 1 else f"{self.unchanged} pairs were"
        return f"{were} not read again, being unchanged since an earlier check"

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


def check_data(
    data: str | Path | SegmentationData,
    *,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    processes: int | None = None,
    fresh: bool = False,
    allow: Collection[str] = (),
) -> DataReport:
    """Read every picture and mask in full and say what is wrong with them; docs/data.md lists the codes of problems.

    Of a data set that takes long (ten seconds of one core or more) the results are kept in the user's cache folder: a
    check that was stopped goes on, and files whose time and size are those of an earlier check are not read again.

    Args:
        data: a data set, its folder or its data.yaml.
        splits: to check; all when ``None``.
        progress: called with files or pairs done and in all.
        max_pixels: of a picture; larger ones are refused before they are decoded. ``PIL.Image.MAX_IMAGE_PIXELS`` when
            ``None``.
        max_bytes: of a file; 2 GB when ``None``.
        processes: that read; as many as there are CPUs when ``None``, and this one alone where there is little to read.
        fresh: read all files again.
        allow: codes of errors that are meant so and become warnings: of ``ALLOWABLE``.

    Raises:
        ConfigError: a code that cannot be allowed.
        DataError: nothing that could be checked: no data set, a data.yaml that does not make sense, or no such split.
        RunError: a process that reads has died.
    """
    check_allowed(allow)
    source = data if isinstance(data, SegmentationData) else load_data(data)
    chosen = list(dict.fromkeys(splits or source.folders))
    problems: list[Problem] = []
    jobs: list[Job] = []
    images: dict[str, int] = {}
    for split in chosen:
        found = list_split(source, split, problems)
        images[split] = sum(job.image is not None for job in found)
        jobs += found
    totals = {split: SplitTotals() for split in chosen}
    seen, done = SeenPictures(source), 0
    limits, seconds = Limits.of(max_pixels, max_bytes), _seconds(jobs)
    reader, unchanged = PairChecker(source.labels, limits), 0
    is_long = seconds >= _WORTH_KEEPING
    checker = KeepingChecker(reader, source.labels, limits, fresh=fresh) if is_long else reader
    with closing(_read_all(checker, jobs, seconds, processes)) as parts:
        for part in parts:
            for job, of_job, digest in zip(
                jobs[done : done + len(part.problems)], part.problems, part.digests, strict=True
            ):
                problems += of_job
                problems += seen.see(job.split, job.image, digest)
            for split, counts in part.totals.items():
                totals[split].merge(counts)
            done += len(part.problems)
            unchanged += part.unchanged
            if progress:
                progress(done, len(jobs))
    report = _report(source, images, totals, problems, is_whole=splits is None)
    told = (replace(found, severity="warning") if found.code in allow else found for found in report.problems)
    return replace(report, problems=tuple(told), unchanged=unchanged)


def _read_all(
    checker: Checker, jobs: Sequence[Job], seconds: float, processes: int | None
) -> Generator[Found, None, None]:
    """What the jobs show, in their order and a few at a time."""
    count = processes or processes_for(seconds)
    of_some_time = int(_PIECE_SECONDS * len(jobs) / max(seconds, 1e-9))
    if isinstance(checker, KeepingChecker):  # another check, of some splits or with more processes, has the same pieces
        pieces = _lasting_pieces(jobs, max(few for few in _KEPT_PIECES if few <= max(1, of_some_time)))
    else:
        size = max(1, min(_PIECE, of_some_time, len(jobs) // (8 * count)))
        pieces = [range(start, min(start + size, len(jobs))) for start in range(0, len(jobs), size)]

    def name_of(piece: int) -> str:
        files = [jobs[index].image or jobs[index].mask for index in (pieces[piece][0], pieces[piece][-1])]
        return f"'{files[0]}'" if len(pieces[piece]) == 1 else f"'{files[0]}' to '{files[1]}'"

    yield from in_processes(partial(_check_piece, checker, jobs, pieces), len(pieces), count, name_of)


def _check_piece(checker: Checker, jobs: Sequence[Job], pieces: Sequence[range], piece: int) -> Found:
    return checker.check(jobs[pieces[piece].start : pieces[piece].stop])


def _lasting_pieces(jobs: Sequence[Job], size: int) -> list[range]:
    """Runs of about ``size`` jobs, at most twice as many, that begin where a name says so.

    Then a file more or less changes a few pieces, and what is kept of the others holds.
    """
    starts = list[int]()
    for index, job in enumerate(jobs):
        name = os.path.basename(job.image or job.mask or "")  # noqa: PTH119  strings are faster than paths
        digest = hashlib.blake2b(os.fsencode(name), digest_size=4).digest()
        is_mark = int.from_bytes(digest) % size == 0
        if not starts or is_mark or index - starts[-1] == 2 * size or job.split != jobs[index - 1].split:
            starts.append(index)
    return [range(start, end) for start, end in itertools.pairwise([*starts, len(jobs)])]


def _seconds(jobs: Sequence[Job]) -> float:
    """About how long one core reads, by the sizes of some files."""
    files = [path for job in jobs for path in (job.image, job.mask) if path is not None]
    some = files[:: max(1, len(files) // _SIZED_FILES)]
    sizes = []
    for path in some:
        try:
            sizes.append(os.stat(path).st_size)  # noqa: PTH116  strings are faster than paths
        except OSError:
            continue  # the check names it
    mean = sum(sizes) / max(1, len(sizes))
    return len(files) * (_SECONDS_PER_FILE + mean * _SECONDS_PER_BYTE)


def _report(
    data: SegmentationData,
    images: dict[str, int],
    totals: dict[str, SplitTotals],
    problems: list[Problem],
    *,
    is_whole: bool,
) -> DataReport:
    """What was found, and what it says about whole splits."""
    reader = MaskReader(data.labels)
    counts = {split: pixels_per_class(part, reader) for split, part in totals.items()}
    problems += check_table(data, set[int]().union(*(part.numbers for part in totals.values())))
    problems += check_values(data, totals, reader)
    if not are_black_and_white(data, totals):  # that error says why the other classes have no pixel
        problems += check_classes(data, totals, counts)
    problems += check_pictures(totals)
    if is_whole:
        problems += check_absent_splits(data)
    return DataReport(
        images,
        {split: dict(zip(data.classes, pixels, strict=False)) for split, pixels in counts.items()},
        tuple(problems),
        data.source,
        {
            split: {name: part.masks_with[index] for index, name in enumerate(data.classes)}
            for split, part in totals.items()
        },
        {split: pixels[-1] for split, pixels in counts.items()},
        {split: {size: files.count for size, files in part.sizes.items()} for split, part in totals.items()},
    )
