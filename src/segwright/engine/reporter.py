"""What a run tells while it goes on; the command line and the log are two listeners."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from segwright.engine.processes import is_main_process
from segwright.metrics import Scores

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """Hears of a run's progress; called in the main process only."""

    def say(self, topic: str, text: str) -> None:
        """A fact that was found or chosen, such as ``("device", "cpu, bf16")``."""

    def started(self, first_step: int, iters: int) -> None:
        """Training goes from ``first_step`` to ``iters``."""

    def stepped(self, step: int, record: Mapping[str, Any]) -> None:
        """A step is done; ``record`` has loss, lr and images_per_second at logged steps and is empty at others."""

    def evaluated(self, step: int, scores: Scores, is_best: bool) -> None:
        """A validation is done."""

    def progressed(self, what: str, done: int, total: int) -> None:
        """A long piece of work besides the steps, such as checking or validating."""

    def finished(self) -> None:
        """No more steps will come, whatever the reason."""


def reporter_of_this_process(reporter: Reporter | None) -> Reporter:
    """The given one or the log; a silent one in all processes but the main one."""
    return (reporter or LogReporter()) if is_main_process() else SilentReporter()


class LogReporter:
    """Reports to the ``segwright`` logger; the default of the Python interface."""

    def say(self, topic: str, text: str) -> None:
        logger.info("%s: %s", topic, text)

    def started(self, first_step: int, iters: int) -> None:
        logger.info("training from step %d to %d", first_step, iters)

    def stepped(self, step: int, record: Mapping[str, Any]) -> None:
        if record:
            logger.info("step %d: %s", step, record)

    def evaluated(self, step: int, scores: Scores, is_best: bool) -> None:
        logger.info("step %d: val mIoU %.4f%s", step, scores.miou, " (best)" if is_best else "")

    def progressed(self, what: str, done: int, total: int) -> None:
        logger.debug("%s: %d of %d", what, done, total)

    def finished(self) -> None:
        logger.debug("finished")


class SilentReporter:
    """Says nothing."""

    def say(self, topic: str, text: str) -> None:
        pass

    def started(self, first_step: int, iters: int) -> None:
        pass

    def stepped(self, step: int, record: Mapping[str, Any]) -> None:
        pass

    def evaluated(self, step: int, scores: Scores, is_best: bool) -> None:
        pass

    def progressed(self, what: str, done: int, total: int) -> None:
        pass

    def finished(self) -> None:
        pass
