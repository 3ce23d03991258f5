"""Fills in what the settings leave open, and remembers why."""

from collections.abc import Callable, Sequence
from statistics import median, median_low

from segwright.config import Config
from segwright.data import DataReport, Pair, SegmentationData
from segwright.data.bands import stored_heads
from segwright.engine.bands import plan_bands, plan_statistics
from segwright.engine.choices import Plan
from segwright.engine.distributed import pick_precision
from segwright.engine.memory import MemoryNeed, free_memory, measure_need
from segwright.engine.processes import is_main_process
from segwright.errors import ConfigError
from segwright.inference.torch_network import choose_device
from segwright.runtime.machine import available_cpus

DEFAULT_EPOCHS = 100
DEFAULT_BATCH = 12
"""Fast-SCNN's (section 4), for which the default learning rate is."""
_STEP_BATCH = 8
"""Pictures that a step sees at least; smaller batches are accumulated."""
_SLOW_STEPS = 2
"""First steps of a measurement that do not count: they start readers, allocate memory and try out kernels."""
_USED_MEMORY = {"cpu": 0.6}
"""Share of the free memory that a run may take, by kind of device; other programs live on the CPU's."""
_RARE = 0.01
_LARGEST_CROP = (512, 1024)
_SMALLEST_CROP = 32
_SIZED_PICTURES = 200


def make_plan(
    config: Config,
    data: SegmentationData,
    processes: int = 1,
    *,
    report: DataReport | None = None,
    need: Callable[[Config, SegmentationData], MemoryNeed] = measure_need,
) -> Plan:
    """Choose what the settings leave open: device, bands, crop, workers, batch, class weights, length, intervals, ...

    With ``train.minutes`` the length stays open: it needs a measurement (:func:`plan_length`).

    Args:
        config: the settings.
        data: the data set.
        processes: that train together.
        report: of the data's check, for ``loss.class_weights: auto``.
        need: measures what a batch needs of memory.

    Raises:
        ConfigError: a device or precision that this machine lacks, or class weights without pixel counts.
        DataError: no pictures in the training split.
    """
    plan = Plan(config)
    pairs = data.pairs(config.data.train_split)
    plan_machine(plan, processes)
    val = config.data.val_split
    plan_bands(plan, [*pairs, *(data.pairs(val) if val in data.folders else ())])
    plan_statistics(plan, pairs)
    if config.data.crop_size is None:
        crop, reason = crop_for(pairs, config.data.short_side)
        plan.choose("data.crop_size", crop, reason)
    if config.loss.class_weights == "auto":
        plan_class_weights(plan, report)
    if config.train.batch_size is None:
        plan_batch(plan, data, processes, need)
    if plan.config.train.batch_norm == "auto" and plan.config.train.batch_size == processes == 1:
        plan_batch_norm(plan)
    train = plan.config.train
    if train.iters is None and train.minutes is None:
        per_step = (train.batch_size or 1) * train.accumulate * processes
        epochs = train.epochs or DEFAULT_EPOCHS
        reason = f"{epochs:g} epochs of {len(pairs)} pictures, {per_step} per step"
        plan.choose_iters(max(1, round(epochs * len(pairs) / per_step)), reason)
    if plan.config.train.iters is not None:
        plan_intervals(plan)
    return plan


def plan_machine(plan: Plan, processes: int) -> None:
    """Choose device, precision and workers.

    Raises:
        ConfigError: a device or precision that this machine lacks.
    """
    train = plan.config.train
    device = str(choose_device(train.device))
    if train.device == "auto":
        plan.choose("train.device", device, "the fastest device of this machine")
    precision = pick_precision(train.precision, device)
    if train.precision == "auto":
        reason = {"bf16": f"this {device} computes in bf16", "fp32": f"this {device} has no fast bf16"}[precision]
        plan.choose("train.precision", precision, reason)
    if plan.config.data.workers is None:
        cores = available_cpus()
        # Training on the CPU keeps the cores busy: on few of them a reading process costs more than it brings.
        workers = min(4, cores // 4) if device == "cpu" else min(8, cores // processes - 1)
        plan.choose("data.workers", max(0, workers), f"{cores} cores, training on {device}")


def plan_batch(
    plan: Plan, data: SegmentationData, processes: int, need: Callable[[Config, SegmentationData], MemoryNeed]
) -> None:
    """Choose the batch size: 12, or what memory holds, and no more than there are pictures.

    A batch that memory makes small is accumulated, so that a step sees 8 pictures.
    """
    config = plan.config
    pictures = len(data.pairs(config.data.train_split))
    batch, reason = max(1, pictures // processes), f"{pictures} training pictures"
    if batch >= DEFAULT_BATCH:
        batch, reason = DEFAULT_BATCH, "the default"
    if is_main_process():  # whose plan is that of all
        most, measured = batch_in_memory(config, need(config, data), processes)
        batch, reason = (most, measured) if most < batch else (batch, f"{reason}; {measured}")
    plan.choose("train.batch_size", batch, reason)
    wanted = -(-min(_STEP_BATCH, pictures) // (batch * processes))
    if wanted > 1 and config.train.accumulate == 1:
        plan.choose("train.accumulate", wanted, f"a step then sees {wanted * batch * processes} pictures")


def plan_batch_norm(plan: Plan) -> None:
    """Say what a batch of one picture does to batch normalisation: keep the statistics of weights that have some."""
    weights = plan.config.model.weights
    kind = "local" if weights is None else "frozen"
    reason = "each picture is normalised by its own statistics, which are noisy; --weights would bring better ones"
    if weights is not None:
        whose = "the trunk's ImageNet statistics" if weights == "imagenet" else "the statistics of the given weights"
        reason = f"{whose} are kept: those of a batch of one picture are noisy"
    plan.choose("train.batch_norm", kind, reason)


def batch_in_memory(config: Config, need: MemoryNeed, processes: int = 1) -> tuple[int, str]:
    """The largest batch that memory holds, at least 1, and why; processes on the CPU share its memory."""
    device = choose_device(config.train.device)
    free = free_memory(device)
    if free is None:
        return DEFAULT_BATCH, "this system does not tell how much memory is free"
    usable = free * _USED_MEMORY.get(device.type, 0.9)
    if device.type == "cpu":  # where the decoded files are kept too
        usable = usable / processes - 1e6 * config.data.memory_mb * max(1, config.data.workers or 0)
    fitting = int((usable - need.fixed) // max(1, need.per_picture))
    crop = "x".join(map(str, config.data.crop_size or ()))
    measured = f"a crop of {crop} needs about {_written(need.per_picture)}, {_written(free)} are free"
    if fitting < 1:
        return 1, f"{measured}, and memory may not be enough: try a smaller --crop-size"
    return fitting, measured


def plan_class_weights(plan: Plan, report: DataReport | None) -> None:
    """Weight the classes where the rarest one that has pixels holds less than 1 % of them.

    Raises:
        ConfigError: the pixels were not counted.
    """
    if report is None:
        raise ConfigError("loss.class_weights needs the pixel counts of data.check", fix="set data.check=true")
    counts = {name: count for name, count in report.classes[plan.config.data.train_split].items() if count}
    rarest = min(counts, key=lambda name: counts[name])
    share = counts[rarest] / sum(counts.values())
    rule, place = ("log", "less") if share < _RARE else ("none", "not less")
    reason = f"the rarest class, {rarest}, holds {100 * share:.2g} % of the pixels, {place} than {100 * _RARE:g} %"
    plan.choose("loss.class_weights", rule, reason)


def seconds_per_step(times: Sequence[float]) -> float:
    """A typical step of a few that were timed: the first ones are slow, and so is one that the system disturbed."""
    return median_low(times[_SLOW_STEPS:] or times)


def plan_length(plan: Plan, seconds_per_step: float, seconds_per_evaluation: float) -> None:
    """Fix the number of steps that fit into ``train.minutes``, validations included.

    Args:
        plan: with an open length.
        seconds_per_step: of an optimizer step (:func:`seconds_per_step`).
        seconds_per_evaluation: of a validation.
    """
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


def _written(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def crop_for(pairs: list[Pair], short_side: int | None = None) -> tuple[tuple[int, int], str]:
    """The median picture's height and width, at least 32x32 and at most 512x1024.

    Args:
        pairs: the training pictures.
        short_side: to which they are resized before the crop, if they are.
    """
    some = [pair.image for pair in pairs[:: max(1, len(pairs) // _SIZED_PICTURES)]]
    sizes = [stored.size for _, stored in stored_heads(some)]
    height, width = (int(median(side)) for side in zip(*sizes, strict=True)) if sizes else _LARGEST_CROP
    reason = f"pictures are {height}x{width} (height x width) in the median"
    if short_side is not None:
        height, width = (round(side * short_side / min(height, width)) for side in (height, width))
        reason += f", {height}x{width} with data.short_side"
    crop = tuple(
        min(largest, max(_SMALLEST_CROP, side)) for side, largest in zip((height, width), _LARGEST_CROP, strict=True)
    )
    return (crop[0], crop[1]), reason
