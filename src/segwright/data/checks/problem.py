"""What the check says: a problem, and the fault of a single file that becomes one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from segwright.errors import ConfigError, DataError, did_you_mean

Severity = Literal["error", "warning"]

ALLOWABLE = ("class-only-in-val", "mixed-crs")
"""Codes of errors that may be meant so: a user can have them told as warnings."""


@dataclass(frozen=True)
class Place:
    """A file that a problem is about, and where in it.

    Args:
        file: its path.
        row, column: of the first pixel at fault, from 0, where the problem is about pixels.
        pixels: how many are at fault.
    """

    file: str
    row: int | None = None
    column: int | None = None
    pixels: int | None = None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Args:
        code: kind of the problem, for programs: ``unknown-value``, ``size-mismatch``, ...
        severity: an error stops training or spoils it; a warning may be meant so.
        file: the file or folder at fault; the first of them where there are several.
        message: what was found.
        fix: what to do about it.
        places: the files of a problem of many files, the first 1000; empty where ``file`` says it all.
        count: how many files the problem is about.
    """

    code: str
    severity: Severity
    file: str
    message: str
    fix: str
    places: tuple[Place, ...] = ()
    count: int = 1


class BadFileError(DataError):
    """A file that cannot be used; becomes a problem of its own.

    Args:
        code: of the problem.
        message: what was found, with the file.
        fix: what to do about it.
    """

    def __init__(self, code: str, message: str, *, fix: str) -> None:
        super().__init__(message, fix=fix)
        self.code = code


def error(code: str, file: object, reason: DataError) -> Problem:
    """An error of a file or folder, in the words of an exception."""
    return Problem(code, "error", str(file), reason.message, reason.fix)


def warning(code: str, file: object, message: str, fix: str, count: int = 1) -> Problem:
    """A warning about a file or folder."""
    return Problem(code, "warning", str(file), message, fix, count=count)


def shortened(problems: Sequence[Problem], limit: int = 20) -> Iterator[tuple[Problem, int]]:
    """The first problems of each code, for people: a thousand of one kind say no more than twenty.

    Args:
        problems: in their order, which stays.
        limit: problems of one code to give.

    Yields:
        a problem, and behind the last one given of its code how many more there are, else 0.
    """
    totals, seen = Counter(problem.code for problem in problems), Counter[str]()
    for problem in problems:
        seen[problem.code] += 1
        if seen[problem.code] <= limit:
            is_last = seen[problem.code] == limit
            yield problem, totals[problem.code] - limit if is_last else 0


def how_to_allow(code: str) -> str:
    """The end of the fix of an error that may be meant so."""
    return f"; where it is meant: --allow {code}, in training --set data.allow={code}"


def check_allowed(codes: Iterable[str]) -> None:
    """Check what a user wants to be allowed.

    Raises:
        ConfigError: a code that is none of ``ALLOWABLE``.
    """
    for code in codes:
        if code not in ALLOWABLE:
            raise ConfigError(
                f"'{code}' is no problem that can be allowed{did_you_mean(code, ALLOWABLE)}",
                fix=f"allow any of {', '.join(ALLOWABLE)}, and mend the others",
            )


def count_of(number: int, noun: str) -> str:
    """``1 mask``, ``2 masks``."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def some(words: Iterable[str], limit: int = 5, total: int | None = None) -> str:
    """The first few, and how many others there are, of ``total`` where not all are given."""
    listed = list(words)
    others = (len(listed) if total is None else total) - min(limit, len(listed))
    return ", ".join(listed[:limit]) + (f" and {count_of(others, 'other')}" if others else "")
