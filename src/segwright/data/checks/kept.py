"""What a check has found, kept on disk: a stopped check goes on, and files that did not change are not read again.

One small JSON file per piece of work, in the user's cache folder. What it says holds as long as the files of the piece
have the same times and sizes; a piece in which something must be mended is not kept. Paths are left open in it.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
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
        self._fresh, self._checker, self._folder = fresh, checker, cache_folder("checks")
        self._settings = repr((_FORM, PIL.__version__, has_rasterio(), labels, limits))

    def check(self, jobs: Sequence[Job]) -> Found:
        """What the jobs show; ``unchanged`` counts those that were not read again."""
        file, state = self._folder / _file_name(jobs[0]), self._state(jobs)
        kept = None if self._fresh or state is None else _read(file, state, jobs)
        if kept is not None:
            return kept._replace(unchanged=len(jobs))
        found = self._checker.check(jobs)
        has_error = any(problem.severity == "error" for problems in found.problems for problem in problems)
        if has_error or state is None or state != self._state(jobs):
            with contextlib.suppress(OSError):
                file.unlink()  # what it says of these files holds no longer
        else:
            _write(file, state, jobs, found)
        return found

    def _state(self, jobs: Iterable[Job]) -> str | None:
        """A digest of the settings and of each file's name, times and size; ``None`` where one cannot be looked at."""
        digest = hashlib.sha256(self._settings.encode())
        try:
            for job in jobs:
                digest.update(repr((job.split, _stamp(job.image), _stamp(job.mask))).encode())
        except OSError:
            return None
        return digest.hexdigest()


def _file_name(first: Job) -> Path:
    """By the first job, so that a later result takes the place of an older one."""
    named = repr((first.split, *(None if path is None else _real(path) for path in first[1:])))
    name = hashlib.sha256(named.encode()).hexdigest()
    return Path(name[:2]) / f"{name[2:40]}.json"


def _stamp(path: str | None) -> tuple[str, int, int, int] | None:
    if path is None:
        return None
    facts = os.stat(path)  # noqa: PTH116  strings are faster than paths
    return _real(path), facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


def _real(path: str) -> str:
    """The path without links in its folders: the same however the data set's folder is written."""
    folder, name = os.path.split(path)
    return f"{_real_folder(folder)}{os.sep}{name}"


@lru_cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _read(file: Path, state: str, jobs: Sequence[Job]) -> Found | None:
    """What is kept of files in this state; ``None`` where nothing is, or where the file is damaged."""
    try:
        head, _, body = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    if head != _head(state, body):
        return None
    paths = {token: path for path, token in _tokens(jobs).items()}
    return _found(_renamed(json.loads(body), paths))


def _write(file: Path, state: str, jobs: Sequence[Job], found: Found) -> None:
    """Keep what has been found; a cache folder that may not be written keeps nothing."""
    content = _renamed(_plain(found._asdict()), _tokens(jobs))
    body = json.dumps(content, separators=(",", ":")).encode()
    with contextlib.suppress(RunError):
        make_folder(file.parent)
        write_atomically(file, _head(state, body) + b"\n" + body, durable=False)


def _head(state: str, body: bytes) -> bytes:
    return f"{state} {hashlib.sha256(body).hexdigest()}".encode()


def _tokens(jobs: Sequence[Job]) -> dict[str, str]:
    """What stands for each path in a kept result: a later check may write the data set's folder otherwise."""
    paths = (path for job in jobs for path in job[1:] if path is not None)
    return {path: f"\0{index}\0" for index, path in enumerate(paths)}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Plain values with other names for some texts, also where these stand in quotes within a text."""
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if value in names:
        return names[value]
    if "'" in value:
        for old, new in names.items():
            value = value.replace(f"'{old}'", f"'{new}'")
    return value


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
