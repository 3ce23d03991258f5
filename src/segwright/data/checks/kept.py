"""What a check has found, kept on disk: a stopped check goes on, and files that did not change are not read again.

One small JSON file per piece of work, in the user's cache folder. What it says holds as long as the files of the piece
have the same times and sizes; a piece in which something must be mended is not kept.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import PIL

from segwright.data.checks.files import Limits
from segwright.data.checks.pairs import Found, Job, PairChecker
from segwright.data.checks.pictures import has_rasterio
from segwright.data.checks.problem import Place, Problem, Severity
from segwright.data.checks.totals import Files, SplitTotals
from segwright.data.checks.unknown import UnknownValues
from segwright.data.masks import Labels
from segwright.errors import RunError
from segwright.runtime.files import make_folder, write_atomically
from segwright.runtime.machine import cache_folder

Places = Sequence[Sequence[Any]]

_FORM = 1
"""Of the files; counts up when the check looks for something else, so that what older ones say is not believed."""


class KeepingChecker:
    """Checks pairs as ``checker`` does, and not again where a result of the same files and settings is kept.

    Args:
        checker: reads the files.
        labels: of the data set, and
        limits: of its files; what was kept with others does not count.
        fresh: read all again, and keep that.
    """

    def __init__(self, checker: PairChecker, labels: Labels, limits: Limits, *, fresh: bool = False) -> None:
        self._fresh, self._checker, self._folder, self._here = fresh, checker, cache_folder("checks"), str(Path.cwd())
        self._settings = repr((_FORM, PIL.__version__, has_rasterio(), labels, limits, self._here))

    def check(self, jobs: Sequence[Job]) -> Found:
        """What the jobs show; ``unchanged`` counts those that were not read again."""
        state, file = self._state(jobs), self._file(jobs[0])
        kept = None if self._fresh else _read(file, state)
        if kept is not None and len(kept.problems) == len(jobs):
            return kept._replace(unchanged=len(jobs))
        found = self._checker.check(jobs)
        has_error = any(problem.severity == "error" for problems in found.problems for problem in problems)
        if not has_error and state is not None and state == self._state(jobs):
            _write(file, state, found)
        return found

    def _state(self, jobs: Iterable[Job]) -> str | None:
        """A digest of the settings and of each file's name, time and size; ``None`` where one cannot be looked at."""
        digest = hashlib.sha256(self._settings.encode())
        try:
            for job in jobs:
                digest.update(repr((job, *map(_stamp, job[1:]))).encode())
        except OSError:
            return None
        return digest.hexdigest()

    def _file(self, first: Job) -> Path:
        """By the first job, so that a later result takes the place of an older one."""
        name = hashlib.sha256(repr((first, self._here)).encode()).hexdigest()
        return self._folder / name[:2] / f"{name[2:40]}.json"


def _stamp(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    facts = os.stat(path)  # noqa: PTH116  strings are faster than paths
    return facts.st_mtime_ns, facts.st_size


def _read(file: Path, state: str | None) -> Found | None:
    """What is kept of files in this state; ``None`` where nothing is, or where the file is damaged."""
    try:
        kept = json.loads(file.read_bytes())
        return _found(kept["found"]) if kept["state"] == state else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _write(file: Path, state: str, found: Found) -> None:
    """Keep what has been found; a cache folder that may not be written keeps nothing."""
    content = json.dumps({"state": state, "found": _plain(found._asdict())}, separators=(",", ":"))
    with contextlib.suppress(RunError):
        make_folder(file.parent)
        write_atomically(file, content.encode(), durable=False)


def _plain(value: Any) -> Any:
    """As JSON has it: dataclasses as the list of their fields, dicts as lists of pairs."""
    if is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(item)] for key, item in value.items()]
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _found(kept: Sequence[Any]) -> Found:
    """The way back from :func:`_plain`."""
    parts = dict(kept)
    return Found(
        [[_problem(*problem) for problem in problems] for problems in parts["problems"]],
        [None if digest is None else bytes.fromhex(digest) for digest in parts["digests"]],
        {split: _totals(totals) for split, totals in parts["totals"]},
    )


def _problem(code: str, severity: Severity, file: str, message: str, fix: str, places: Places, count: int) -> Problem:
    return Problem(code, severity, file, message, fix, tuple(Place(*place) for place in places), count)


def _totals(values: Sequence[Any]) -> SplitTotals:
    kept = dict(zip((field.name for field in fields(SplitTotals)), values, strict=True))
    for name in ("sizes", "kinds", "beyond_rgb", "systems"):
        kept[name] = {key: Files(*files) for key, files in _pairs(kept[name])}
    for name in ("turned", "black_and_white"):
        kept[name] = Files(*kept[name])
    for name in ("unknown_numbers", "unknown_colours", "colour_masks"):
        pixels, masks, places, files = kept[name]
        kept[name] = UnknownValues(_counter(pixels), _counter(masks), [Place(*place) for place in places], files)
    for name in ("pixels", "masks_with"):
        kept[name] = _counter(kept[name])
    return SplitTotals(**{**kept, "numbers": set(kept["numbers"])})


def _counter(pairs: Sequence[Any]) -> Counter[Any]:
    return Counter(dict(_pairs(pairs)))


def _pairs(pairs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and values; sizes and colours are tuples again."""
    return ((tuple(key) if isinstance(key, list) else key, value) for key, value in pairs)
