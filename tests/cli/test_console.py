import io
import sys

import pytest

from segwright.cli import console
from segwright.cli.console import ConsoleReporter, Meter, print_table, say_error, say_next


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stderr a terminal; called in the test, since pytest puts its own stderr in place after the fixtures."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds; the first element is now."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_errors_are_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    say_error("bad", "mend it")
    assert stream.getvalue() == "\x1b[1;31merror:\x1b[0m bad\n\x1b[1;32mfix:\x1b[0m mend it\n"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    say_error("bad", "mend it")
    assert stream.getvalue() == "error: bad\nfix: mend it\n"


def test_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    say_error("bad", "mend it")
    assert "\x1b" not in stream.getvalue()


def test_next_command_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    say_next("predict", "my run", "PICTURES")
    assert capsys.readouterr().err == "next: segwright predict 'my run' PICTURES\n"


def test_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    meter = Meter()
    meter.update("checking", 3, 10, "2.0 images/s")
    meter.close()
    assert "checking" in stream.getvalue()
    assert "3/10" in stream.getvalue()
    assert "2.0 images/s" in stream.getvalue()


def test_bars_leave_stdout_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stream = terminal(monkeypatch)
    meter = Meter()
    meter.update("predicting", 1, 2)
    print("result")
    meter.close()
    assert capsys.readouterr().out == "result\n"
    assert "result" not in stream.getvalue()


def test_short_work_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()
    for done in range(101):
        clock[0] = done / 100
        meter.update("checking", done, 100)
    assert capsys.readouterr().err == ""


def test_long_work_says_a_line_per_tenth(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()
    for done in range(1001):
        clock[0] = done * 0.06
        meter.update("checking", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert 9 <= len(lines) <= 11
    assert lines[0].startswith("checking 100/1000")
    assert lines[0].endswith("0:53 left")


def test_very_long_work_says_a_line_per_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()
    for done in range(101):
        clock[0] = done * 1.0
        meter.update("training", done, 100_000)
    assert len(capsys.readouterr().err.splitlines()) == 10


def test_resumed_training_is_timed_from_its_first_step(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter()
    reporter.started(900, 1000)
    clock[0] = 10
    reporter.stepped(910, {"loss": 0.5, "lr": 0.1, "images_per_second": 12.0})
    assert capsys.readouterr().err == "training 910/1000  loss 0.500  12.0 images/s  1:30 left\n"
    reporter.finished()


def test_a_step_without_a_finite_loss_is_told(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter()
    reporter.started(0, 10)
    clock[0] = 10
    reporter.stepped(5, {"lr": 0.1, "images_per_second": 12.0, "skipped": 1})
    assert "no finite loss  12.0 images/s" in capsys.readouterr().err
    reporter.finished()


def test_tables_wider_than_80_columns_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "number"], [["n" * 120, "1.00"], ["[red]plain", "2.00"]])
    out = capsys.readouterr().out
    assert "n" * 120 in out
    assert "[red]plain" in out
