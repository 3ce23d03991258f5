"""Ctrl-C and termination as a request that the loop reads between two steps."""

import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger(__name__)


class StopRequest:
    """Inside the block, the first SIGINT or SIGTERM sets ``requested``; a second SIGINT stops at once.

    Outside the main thread signals cannot be caught; then nothing is ever requested. Processes forked inside the
    block, such as those that read ahead, ignore the signals: a terminal sends Ctrl-C to all of them, and they end
    with their parent.
    """

    def __init__(self) -> None:
        self.requested = False
        self._process = os.getpid()
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
        again = "; press Ctrl-C again to stop without saving" if number == signal.SIGINT else ""
        logger.warning("stopping after this step%s", again)
