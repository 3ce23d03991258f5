"""What commands say: words and progress to stderr, results to stdout.

Colours and bars only where stderr is a terminal; elsewhere plain lines, at most one per tenth of the work or ten
seconds. rich is imported when the first bar or table is drawn: ``segwright --help`` must not wait for it.
"""

import json
import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from segwright.metrics import Scores

_QUIET_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 10.0


def is_terminal(stream: TextIO) -> bool:
    """Whether lines on it can be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(topic: str, text: str, colour: int = 36) -> None:
    """A line for people, on stderr; the topic in an ANSI colour where there may be one."""
    is_coloured = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    print(f"\x1b[1;{colour}m{topic}\x1b[0m {text}" if is_coloured else f"{topic} {text}", file=sys.stderr, flush=True)


def say_error(message: str, fix: str) -> None:
    """What was given and what to do."""
    say("error:", message, colour=31)
    if fix:
        say("fix:", fix, colour=32)


def say_next(*words: object) -> None:
    """The command that a user may want to give next; a path that begins with a dash is no option."""
    texts = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    say("next:", shlex.join(["segwright", *texts]))


def show_traceback(error: BaseException) -> None:
    """For ``--debug``."""
    print("".join(traceback.format_exception(error)), end="", file=sys.stderr)


def print_json(document: Mapping[str, Any]) -> None:
    """The one document on stdout."""
    print(json.dumps(document, indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """A table on stdout; the first ``left`` columns are words, the others numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def percent(share: float | None) -> str:
    """0.4321 as ``43.21``, and nothing to measure as ``-``."""
    return "-" if share is None or share != share else f"{100 * share:.2f}"


class WarningsToStderr(logging.Handler):
    """Shows warnings of the package's loggers as lines for people, each text once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            say("warning:", text, colour=33)


class Meter:
    """Progress of one or several pieces of work: bars on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._starts: dict[str, tuple[float, int]] = {}
        self._last_line: dict[str, tuple[float, float]] = {}

    def begin(self, what: str, done: int = 0) -> None:
        """Work starts now, perhaps not from nothing."""
        now = time.monotonic()
        self._starts[what], self._last_line[what] = (now, done), (now, 0.0)

    def teller(self, what: str, unit: str) -> Callable[[int, int], None]:
        """Begin work, and a function to call with pieces done and in all."""
        self.begin(what)
        return lambda done, total: self.update(what, done, total, f"{self.rate(what, done):.1f} {unit}/s")

    def update(self, what: str, done: int, total: int, facts: str = "") -> None:
        """``done`` of ``total`` are done; ``facts`` are shown behind."""
        if what not in self._starts:
            self.begin(what)
        if is_terminal(sys.stderr):
            self._draw(what, done, total, facts)
        else:
            self._print(what, done, total, facts)
        if done >= total:
            self._forget(what)

    def rate(self, what: str, done: int) -> float:
        """Pieces per second since the work began."""
        start, first = self._starts.get(what, (time.monotonic(), 0))
        return (done - first) / max(1e-6, time.monotonic() - start)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()

    def _behind(self, what: str, done: int, total: int, facts: str) -> str:
        left = (total - done) / max(1e-6, self.rate(what, done))
        return f"{facts}  {_clock(left)} left" if facts else f"{_clock(left)} left"

    def _draw(self, what: str, done: int, total: int, facts: str) -> None:
        if self._bars is None:
            self._bars = _new_bars()
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, behind="")
        behind = self._behind(what, done, total, facts)
        self._bars.update(self._tasks[what], completed=done, total=total, behind=behind)

    def _print(self, what: str, done: int, total: int, facts: str) -> None:
        now, share = time.monotonic(), done / max(1, total)
        (last, last_share), start = self._last_line[what], self._starts[what][0]
        is_due = share - last_share >= 0.1 or now - last >= _SECONDS_BETWEEN_LINES
        if is_due and now - start >= _QUIET_SECONDS and now - last >= _QUIET_SECONDS / 2:
            print(f"{what} {done}/{total}  {self._behind(what, done, total, facts)}", file=sys.stderr, flush=True)
            self._last_line[what] = (now, share)

    def _forget(self, what: str) -> None:
        self._starts.pop(what, None)
        if self._bars and what in self._tasks:
            self._bars.remove_task(self._tasks.pop(what))
            if not self._tasks:
                self.close()


@contextmanager
def progress(what: str, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A function to call with pieces done and in all."""
    meter = Meter()
    try:
        yield meter.teller(what, unit)
    finally:
        meter.close()


class ConsoleReporter:
    """Shows a training run: what was chosen, loss, mIoU, images per second and the time left."""

    def __init__(self) -> None:
        self._meter = Meter()
        self._total = 0
        self._facts = self._miou = ""

    def say(self, topic: str, text: str) -> None:
        is_warning = topic == "warning"
        say("warning:" if is_warning else f"{topic:<10}", text, colour=33 if is_warning else 36)

    def started(self, first_step: int, iters: int) -> None:
        self._total = iters
        self._meter.begin("training", first_step)

    def stepped(self, step: int, record: Mapping[str, Any]) -> None:
        if record:
            loss = f"loss {record['loss']:.3f}" if "loss" in record else "no finite loss"
            self._facts = f"{loss}  {record['images_per_second']:.1f} images/s"
        self._meter.update("training", step, self._total, self._facts + self._miou)

    def evaluated(self, step: int, scores: "Scores", is_best: bool) -> None:
        self._miou = f"  mIoU {percent(scores.miou)}"
        say(f"{'step':<10}", f"{step}/{self._total}  val mIoU {percent(scores.miou)}{' (best)' if is_best else ''}")

    def progressed(self, what: str, done: int, total: int) -> None:
        self._meter.update(what, done, total, f"{self._meter.rate(what, done):.1f} images/s")

    def finished(self) -> None:
        self._meter.close()


def _new_bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[behind]}"))
    # stdout is not rich's to redirect: it may be a file while stderr is a terminal.
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def printable(text: str) -> str:
    """Text with what a file's name may hold and a line may not, such as line breaks, as escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
