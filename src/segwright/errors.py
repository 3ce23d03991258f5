"""The error tree. Every error says in one sentence what was given and, in ``fix``, what to do.

::

    SegmentationError            exit code 1: the run failed
    ├── ConfigError              2: wrong usage or configuration
    ├── ShapeError               2: a tensor or picture of a shape nobody can use
    ├── DataError                3: bad pictures, masks or data.yaml
    ├── WeightsError             3: bad model file or checkpoint
    ├── MissingExtraError        4: an optional package is not installed
    ├── RunError                 1: training, evaluation or saving could not go on
    │   └── ProcessError         1: another process of the run failed, or could not be met
    └── Interrupted              130: stopped by the user, state saved
"""

import difflib
from collections.abc import Iterable


class SegmentationError(Exception):
    """Base of all errors that a user can cause and mend.

    Args:
        message: what was given, and in which file.
        fix: what to do about it; shown on a line of its own by the command line.
    """

    exit_code = 1
    is_told: bool | None = None
    """Of a run in several processes: whether another one tells it; ``None`` where they did not talk about it."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


class ConfigError(SegmentationError):
    """Wrong usage or configuration."""

    exit_code = 2


class ShapeError(SegmentationError):
    """A tensor or picture whose shape cannot be used."""

    exit_code = 2


class DataError(SegmentationError):
    """A picture, a mask or a data.yaml that cannot be used."""

    exit_code = 3


class WeightsError(SegmentationError):
    """A model file or a checkpoint that cannot be used."""

    exit_code = 3


class MissingExtraError(SegmentationError):
    """An optional package is missing; the fix names the extra that brings it."""

    exit_code = 4


class RunError(SegmentationError):
    """Training, evaluation or saving could not go on."""


class ProcessError(RunError):
    """One of a run's other processes failed, or the processes did not meet."""


class Interrupted(SegmentationError):
    """Stopped by the user; what was reached is saved, and ``fix`` says how to go on."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
