"""What tests/engine/test_distributed.py starts twice: runs of two processes; the second does not survive the last.

Words: data set, another data set, folder of the runs, folder of what each process has to tell.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from segwright.config import Config
from segwright.engine import resume, run, signals
from segwright.engine.distributed import in_any_process, mean_over_processes, same_everywhere
from segwright.engine.processes import agreed
from segwright.errors import DataError, Interrupted, ProcessError, SegmentationError
from tests.engine.precise import double_precision
from tests.engine.runs import Listener, tiny_config

EQUAL: dict[str, Any] = {
    "data__crop_size": (56, 80),
    "loss__name": "ohem_cross_entropy",
    "loss__pixel_stride": 2,
    "train__iters": 3,
    "train__log_every": 1,
    "train__clip_grad_norm": 1.0,
}
"""Of the run that one process repeats with twice the batch; small scales leave parts of the crops without labels."""
STRAIGHT: dict[str, Any] = {"train__iters": 3}
"""Of the run that is done once at a stretch and once with an interruption."""

RANK = int(os.environ.get("RANK", "0"))


def work(data: Path, other: Path, out: Path) -> dict[str, Any]:
    """All runs but the last; what this process has to tell of them."""
    listener = Listener()
    settings = {"train__iters": None, "train__epochs": 1, "train__eval_every": 1, "train__log_every": 1}
    whole = run(tiny_config(data, **settings), out / "whole", reporter=listener)
    with double_precision():
        run(tiny_config(data, **EQUAL), out / "equal")
    run(tiny_config(data, **STRAIGHT), out / "straight")
    two = Accelerator(cpu=True)
    return {
        "folder": str(whole.path),
        "miou": whole.scores.miou,
        "heard": len(listener.said) + len(listener.steps),
        "same": same_everywhere(f"rank {RANK}", two),
        "mean": mean_over_processes((1.0 + RANK, 4.0 * RANK), two),
        "any": [in_any_process(RANK == 1, two), in_any_process(False, two)],
        "stopped": stopped_and_resumed(data, out),
        "own error": ending(lambda: agree_on_trouble()),
        "other data": ending(lambda: run(tiny_config((data, other)[RANK]), out / "other")),
        "other settings": ending(lambda: run(tiny_config(data, train__lr=0.01 * (1 + RANK)), out / "other")),
    }


def stopped_and_resumed(data: Path, out: Path) -> str:
    """A request to the second process alone stops both; they go on, and a copy is left for one process."""
    train = sys.modules["segwright.engine.train"]

    class OnlyTheSecondIsAsked(signals.StopRequest):
        def __enter__(self) -> signals.StopRequest:
            self.requested = RANK == 1
            return self

    plain, train.StopRequest = train.StopRequest, OnlyTheSecondIsAsked  # type: ignore[attr-defined]
    try:
        run(tiny_config(data, **STRAIGHT), out / "stopped")
    except Interrupted as stop:
        train.StopRequest = plain  # type: ignore[attr-defined]
        if RANK == 0:
            shutil.copytree(out / "stopped", out / "left")
        resume(out / "stopped")
        return stop.message
    raise AssertionError("nothing has stopped the run")


def agree_on_trouble() -> None:
    with agreed():
        if RANK == 1:
            raise DataError("'a.png' is gone", fix="bring it back")


def ending(doing: Any) -> list[Any]:
    try:
        doing()
    except SegmentationError as error:
        return [type(error).__name__, error.message, error.is_told]
    return []


def deserted(config: Config, out: Path) -> list[Any]:
    """The second process dies before the second step, without a word."""

    def die(step: int) -> None:
        if RANK == 1 and step == 1:
            os._exit(9)

    train = sys.modules["segwright.engine.train"]
    count = train.train_step  # type: ignore[attr-defined]
    steps: list[int] = []

    def train_step(*arguments: Any) -> Any:
        die(len(steps))
        steps.append(1)
        return count(*arguments)

    train.train_step = train_step  # type: ignore[attr-defined]
    try:
        run(config, out)
    except ProcessError as error:
        return [error.message, error.exit_code, error.is_told]
    return []


if __name__ == "__main__":
    given, another, runs, told = map(Path, sys.argv[1:])
    facts = work(given, another, runs)
    (told / f"{RANK}.json").write_text(json.dumps(facts))
    facts["deserted"] = deserted(tiny_config(given, train__process_timeout=60.0), runs / "deserted")
    (told / f"{RANK}.json").write_text(json.dumps(facts))
