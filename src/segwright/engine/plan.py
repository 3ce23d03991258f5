"""Fills in what the settings leave open, and remembers why."""

import os
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from PIL import Image

from segwright.config import Config, with_settings
from segwright.data import Pair, SegmentationData
from segwright.data.transforms import shown_size
from segwright.engine.distributed import pick_precision
from segwright.inference.torch_network import choose_device

DEFAULT_EPOCHS = 100
_LARGEST_CROP = (512, 1024)
_SMALLEST_CROP = 32
_SIZED_PICTURES = 200


@dataclass
class Plan:
    """Settings without holes.

    Args:
        config: the settings.
        reasons: why each automatic one is what it is, by its dotted key.
    """

    config: Config
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, key: str, value: Any, reason: str) -> None:
        """Set a leaf."""
        self.config = with_settings(self.config, {key: value})
        self.reasons[key] = reason

    def choose_iters(self, iters: int, reason: str) -> None:
        """Set the length in steps; it replaces epochs and minutes, so that the settings say one length."""
        self.config = with_settings(self.config, {"train.epochs": None, "train.minutes": None})
        self.choose("train.iters", iters, reason)


def make_plan(config: Config, data: SegmentationData, processes: int = 1) -> Plan:
    """Choose device, precision, crop, workers, length and intervals where the settings leave them open.

    With ``train.minutes`` the length stays open: it needs a measurement (:func:`plan_length`).

    Raises:
        ConfigError: a device or precision that this machine lacks.
        DataError: no pictures in the training split.
    """
    plan = Plan(config)
    train = config.train
    device = str(choose_device(train.device))
    if train.device == "auto":
        plan.choose("train.device", device, "the fastest device of this machine")
    precision = pick_precision(train.precision, device)
    if train.precision == "auto":
        reason = {"bf16": f"this {device} computes in bf16", "fp32": f"this {device} has no fast bf16"}[precision]
        plan.choose("train.precision", precision, reason)
    pairs = data.pairs(config.data.train_split)
    if config.data.crop_size is None:
        crop, reason = crop_for(pairs)
        plan.choose("data.crop_size", crop, reason)
    if config.data.workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # Training on the CPU keeps the cores busy: on few of them a reading process costs more than it brings.
        workers = min(4, cores // 4) if device == "cpu" else min(8, cores // processes - 1)
        plan.choose("data.workers", max(0, workers), f"{cores} cores, training on {device}")
    if train.iters is None and train.minutes is None:
        per_step = train.batch_size * train.accumulate * processes
        epochs = train.epochs or DEFAULT_EPOCHS
        reason = f"{epochs:g} epochs of {len(pairs)} pictures, {per_step} per step"
        plan.choose_iters(max(1, round(epochs * len(pairs) / per_step)), reason)
    if plan.config.train.iters is not None:
        plan_intervals(plan)
    return plan


def plan_length(plan: Plan, seconds_per_step: float, seconds_per_evaluation: float) -> None:
    """Fix the number of steps that fit into ``train.minutes``, validations included."""
    minutes = plan.config.train.minutes or 0.0
    evaluations = 10 if minutes >= 10 else 3
    seconds = max(0.5 * minutes * 60, minutes * 60 - (evaluations + 1) * seconds_per_evaluation)
    iters = max(1, int(seconds / seconds_per_step))
    plan.choose_iters(iters, f"{minutes:g} minutes at {seconds_per_step:.3f} s a step, as measured at the start")
    if plan.config.train.eval_every is None:
        plan.choose("train.eval_every", max(1, -(-iters // evaluations)), f"{evaluations} validations in the run")
    plan_intervals(plan)


def plan_intervals(plan: Plan) -> None:
    """Choose how often to log, validate and save, from the number of steps."""
    train, iters = plan.config.train, plan.config.train.iters or 1
    if train.eval_every is None:
        plan.choose("train.eval_every", max(1, -(-iters // 10)), "ten validations in the run")
    if train.log_every is None:
        plan.choose("train.log_every", max(1, min(50, iters // 100)), "a hundredth of the run, at most 50")
    if train.save_every is None:
        plan.choose("train.save_every", max(20, iters // 100), "a hundredth of the run, at least 20")


def crop_for(pairs: list[Pair]) -> tuple[tuple[int, int], str]:
    """The median picture's height and width, at least 32x32 and at most 512x1024."""
    sizes = []
    for pair in pairs[:: max(1, len(pairs) // _SIZED_PICTURES)]:
        try:
            with Image.open(pair.image) as picture:
                sizes.append(shown_size(picture))
        except OSError:
            continue  # the check names unreadable pictures
    height, width = (int(median(side)) for side in zip(*sizes, strict=True)) if sizes else _LARGEST_CROP
    reason = f"pictures are {height}x{width} (height x width) in the median"
    crop = tuple(
        min(largest, max(_SMALLEST_CROP, side)) for side, largest in zip((height, width), _LARGEST_CROP, strict=True)
    )
    return (crop[0], crop[1]), reason
