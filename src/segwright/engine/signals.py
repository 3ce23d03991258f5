"""Ctrl-C and termination as a request that the loop reads between two steps."""

import contextlib
import logging
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger(__name__)

_HANG_UP = getattr(signal, "SIGHUP", None)  # Windows has none
_STOPS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANG_UP) if number is not None)


class StopRequest:
    """Inside the block, the first SIGINT, SIGTERM or SIGHUP sets ``requested``; a second SIGINT stops at once.

    SIGHUP says that the terminal is gone: what is written to it from then on is thrown away, as it would be an error.
    Under nohup, which ignores the signal, it stays ignored. Outside the main thread signals cannot be caught; then
    nothing is ever requested. Processes forked inside the block, such as those that read ahead, ignore the signals: a
    terminal sends Ctrl-C to all of them, and they end with their parent.
    """

    def __init__(self) -> None:
        self.requested = False
        self._process = os.getpid()
        self._former: dict[signal.Signals, Any] = {}
        self._terminals = _terminals()

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in _STOPS:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if number == _HANG_UP:
            _lead_nowhere(self._terminals)
        again = "; press Ctrl-C again to stop without saving" if number == signal.SIGINT else ""
        logger.warning("stopping after this step%s", again)


def _terminals() -> list[int]:
    """The standard streams that are a terminal; asked once it has hung up, it would not say so."""
    found = []
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # replaced or closed streams
            if stream.isatty():
                found.append(stream.fileno())
    return found


def _lead_nowhere(descriptors: list[int]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
