"""Tiny training runs, listeners that disturb them, and what they leave behind."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from segwright.config import Config
from segwright.engine import make_run_config
from segwright.metrics import Scores
from segwright.models.weights import read_safetensors

TINY: Mapping[str, Any] = {
    "data.crop_size": (32, 48),
    "data.workers": 0,
    "train.iters": 6,
    "train.batch_size": 2,
    "train.lr": 0.01,
    "train.ema": 0.9,
    "train.device": "cpu",
    "train.precision": "fp32",
    "train.threads": 1,
    "train.log_every": 3,
    "train.eval_every": 2,
    "train.save_every": 4,
}


def tiny_config(data: Path, **settings: Any) -> Config:
    """Six steps on crops of 32x48; ``settings`` replace leaves, with two underscores for the dot."""
    leaves = {key.replace("__", "."): value for key, value in settings.items()}
    return make_run_config(data, settings={**TINY, **leaves})


class Listener:
    """Remembers what it hears, and calls ``at_step`` after each step and ``at_start`` before the first."""

    def __init__(
        self, at_step: Callable[[int], None] = lambda step: None, at_start: Callable[[], None] = lambda: None
    ) -> None:
        self.at_step, self.at_start = at_step, at_start
        self.said: list[tuple[str, str]] = []
        self.steps: list[int] = []

    def say(self, topic: str, text: str) -> None:
        self.said.append((topic, text))

    def started(self, first_step: int, iters: int) -> None:
        self.at_start()

    def stepped(self, step: int, record: Mapping[str, Any]) -> None:
        self.steps.append(step)
        self.at_step(step)

    def evaluated(self, step: int, scores: Scores, is_best: bool) -> None:
        pass

    def progressed(self, what: str, done: int, total: int) -> None:
        pass

    def finished(self) -> None:
        pass


def signal_at(step: int, number: int) -> Listener:
    """Sends this process a signal once the step is done."""
    return Listener(lambda done: os.kill(os.getpid(), number) if done == step else None)


class CrashError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


def crash_at(step: int) -> Listener:
    def crash(done: int) -> None:
        if done == step:
            raise CrashError

    return Listener(crash)


def last_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and numbers of the last checkpoint."""
    tensors, metadata = read_safetensors(run / "checkpoints" / "last.safetensors")
    return tensors, json.loads(metadata["state"])


def records(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the speed, which no run repeats."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]


def assert_same_outcome(one: Path, other: Path) -> None:
    """Bit for bit the same weights, average, momentum, random state and numbers, and the same records."""
    (tensors, facts), (others, other_facts) = last_state(one), last_state(other)
    assert tensors.keys() == others.keys()
    differing = [name for name, tensor in tensors.items() if tensor.numpy().tobytes() != others[name].numpy().tobytes()]
    assert not differing
    assert facts == other_facts
    assert records(one) == records(other)
    models = [read_safetensors(run / "model.safetensors") for run in (one, other)]
    assert models[0][1]["scores"] == models[1][1]["scores"]
    assert all(np.array_equal(value.numpy(), models[1][0][key].numpy()) for key, value in models[0][0].items())


def write_stripes(root: Path, classes: int, counts: Mapping[str, int], size: tuple[int, int] = (40, 56)) -> Path:
    """A data set of noise whose masks are vertical stripes of the classes."""
    rng = np.random.default_rng(7)
    height, width = size
    mask = np.broadcast_to(np.arange(width) * classes // width, size).astype(np.uint8)
    for split, count in counts.items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            picture = rng.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(picture).save(root / "images" / split / f"{index}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{index}.png")
    splits = "".join(f"{split}: {{images: images/{split}, masks: masks/{split}}}\n" for split in counts)
    names = ", ".join(f"{index}: class_{index}" for index in range(classes))
    (root / "data.yaml").write_text(f"path: .\n{splits}classes: {{{names}}}\n")
    return root
