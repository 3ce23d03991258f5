import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from segwright.engine.signals import StopRequest


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "stopping after this step; press Ctrl-C again to stop without saving"),
        (signal.SIGTERM, "stopping after this step"),
        (signal.SIGHUP, "stopping after this step"),
    ],
)
def test_signal_is_a_request_and_only_ctrl_c_speaks_of_ctrl_c(
    number: signal.Signals, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop.requested
    assert caplog.messages == [said]


def test_second_ctrl_c_stops_at_once() -> None:
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_hang_up_is_ignored_under_nohup() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


HANG_UP = """
import os, signal, sys
from segwright.engine.signals import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while not stop.requested:
        signal.pause()
    print("the terminal is gone", file=sys.stderr, flush=True)
    open(sys.argv[1], "w").write("saved")
"""


def test_terminal_that_hangs_up_is_a_request_and_its_loss_no_error(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", HANG_UP, str(tmp_path / "file")])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)  # as when a connection drops: SIGHUP, and errors for whoever writes
    assert os.waitpid(process, 0)[1] == 0
    assert (tmp_path / "file").read_text() == "saved"
