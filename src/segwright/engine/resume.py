"""Going on with a run, as if it had never stopped or with what has changed since."""

import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from segwright.config import Config, read_config
from segwright.data import SegmentationData, check_data, load_data
from segwright.engine import checkpoint
from segwright.engine.build import Training, build_training
from segwright.engine.changes import Changes, changed_data, changed_settings, keep_fingerprint
from segwright.engine.codes import RunCodes
from segwright.engine.distributed import build_accelerator
from segwright.engine.folder import RunFolder, open_run
from segwright.engine.given import compare_given, for_processes
from segwright.engine.lock import locked
from segwright.engine.processes import agreed, as_one_run, is_main_process
from segwright.engine.reporter import Reporter, reporter_of_this_process
from segwright.engine.train import Run, finished_run, iterate
from segwright.errors import WeightsError


def resume(
    path: str | Path, *, reporter: Reporter | None = None, wanted: Config | None = None, allow_changes: bool = False
) -> Run:
    """Go on with a run as if it had never stopped.

    Args:
        path: the run folder.
        reporter: as :func:`segwright.engine.train.run`.
        wanted: settings to go on with; ``None`` for the run's own. What they leave open is as the run has it.
        allow_changes: go on although settings or the data set are not what they were; config.yaml then says so.

    Raises:
        ConfigError: no run folder, one that another process writes to, or something has changed; lists what.
        WeightsError: no whole checkpoint in it.
    """
    folder = open_run(path)
    config = read_config(folder.config)
    with as_one_run(config.train), ExitStack() as held:
        with agreed():
            if is_main_process():
                held.enter_context(locked(folder.path))
            data = load_data((wanted or config).data.path)
            asked = changed_settings(config, wanted, data) if wanted else {}
            changes = Changes(asked, changed_data(folder, data, config))
            changes.refuse(folder, is_allowed=allow_changes)
            config = changes.applied_to(config)
        return go_on(config, folder, data, changes, reporter_of_this_process(reporter))


def go_on(config: Config, folder: RunFolder, data: SegmentationData, changes: Changes, reporter: Reporter) -> Run:
    """:func:`resume` in each of the run's processes, once it is clear with what."""
    with agreed():
        shared = for_processes(config, folder)
    seen = "with a checkpoint" if checkpoint.has_checkpoint(folder.checkpoints) else "without one"
    compare_given(shared, data, {f"'{folder.checkpoints}'": seen})
    accelerator = build_accelerator(shared.train)
    training = restore(shared, folder, data, accelerator, reporter)
    if training.state.step == config.train.iters and folder.report.exists():
        reporter.say("done", f"'{folder.path}' is already finished ({config.train.iters} steps); nothing was touched")
        return finished_run(folder)
    if accelerator.is_main_process:
        folder.forget_after(training.state.step)
    if changes:
        accept(changes, config, folder, data, training, reporter)
    return iterate(shared, folder, training, accelerator, reporter)


def restore(
    config: Config, folder: RunFolder, data: SegmentationData, accelerator: Accelerator, reporter: Reporter
) -> Training:
    """The objects of a run as its last checkpoint has them; as they were at the start where it never trained.

    Raises:
        WeightsError: its checkpoints are gone, or damaged.
    """
    report = None
    if config.loss.class_weights != "none" or config.data.rare_class_crops:
        counting = partial(reporter.progressed, "counting the classes' pixels")
        report = check_data(data, splits=[config.data.train_split], progress=counting)
    is_resumed = checkpoint.has_checkpoint(folder.checkpoints)
    if not is_resumed and any(record["step"] > 1 for record in folder.records()):  # the first step is saved
        raise WeightsError(
            f"run '{folder.path}' has trained, but its checkpoints are gone",
            fix=f"start a new run from its weights: segwright train {shlex.quote(config.data.path)} "
            f"--recipe {shlex.quote(str(folder.config))} --weights {shlex.quote(str(folder.path))} --out OTHER",
        )
    codes = RunCodes(config, data, reporter, kept=folder.label_codes)
    training = build_training(config, data, report, accelerator, codes, is_resumed=is_resumed)
    if is_resumed:
        checkpoint.load(training.state, folder.checkpoints)
    return training


def accept(
    changes: Changes, config: Config, folder: RunFolder, data: SegmentationData, training: Training, reporter: Reporter
) -> None:
    """Go on with what has changed, and keep it in the run folder."""
    state = training.state
    if "train.lr" in changes.settings:
        state.lr_factor = 1.0
    if {"train.batch_size", "train.accumulate", "data.crop_size"} & changes.settings.keys():
        state.halvings = 0
    reporter.say("changed", str(changes))
    if is_main_process():
        comments = {key: f"changed: {was} up to step {state.step}" for key, (was, _) in changes.settings.items()}
        folder.write_config(config, {}, {**folder.comments(), **comments})
        keep_fingerprint(folder, data, config)
        folder.append({"step": state.step, "event": "changed", "changes": {**changes.settings, **changes.data}})
