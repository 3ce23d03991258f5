"""The training loop: build, resume, iterate; every n steps log, evaluate, save."""

import copy
import logging
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from segwright.config import Config, with_settings
from segwright.data import DataReport, SegmentationData, check_data, load_data
from segwright.data.checks.problem import shortened
from segwright.engine import checkpoint
from segwright.engine.build import Training, build_loader, build_training
from segwright.engine.changes import keep_fingerprint
from segwright.engine.choices import Plan
from segwright.engine.codes import RunCodes
from segwright.engine.distributed import (
    build_accelerator,
    device_name,
    in_any_process,
    mean_losses,
    mean_over_processes,
    same_everywhere,
    share_statistics,
    sharing_of,
    sum_over_processes,
)
from segwright.engine.endings import interrupted, interrupted_at_once, resumable
from segwright.engine.folder import RunFolder, new_run_path
from segwright.engine.given import compare_given
from segwright.engine.lock import locked
from segwright.engine.log import RunLog, sample_pictures
from segwright.engine.optim import learning_rate, set_learning_rate
from segwright.engine.plan import make_plan, plan_length, seconds_per_step
from segwright.engine.processes import agreed, as_one_run, gather_objects, is_main_process, process_count
from segwright.engine.recovery import (
    MOST_HALVINGS,
    BatchTooLargeError,
    Recovery,
    TroubleError,
    batch_fits,
    memory_suffices,
    with_smaller_batches,
)
from segwright.engine.report import write_report
from segwright.engine.reporter import Reporter, reporter_of_this_process
from segwright.engine.signals import StopRequest
from segwright.errors import DataError, RunError
from segwright.evaluation import compute_scores, confusion_matrix
from segwright.inference import Predictor
from segwright.layers.sharing import sharing_batch
from segwright.metrics import Scores
from segwright.models import SegmentationModel, save_model

logger = logging.getLogger(__name__)

_MEASURED_STEPS = 8
_WARNINGS_OF_A_KIND = 3


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        path: the run folder.
        scores: of the best weights on the validation split.
        step: at which they were reached.
    """

    path: Path
    scores: Scores
    step: int

    @property
    def model(self) -> Path:
        """The model file with the best weights."""
        return RunFolder(self.path).model


def run(config: Config, out: str | Path | None = None, *, reporter: Reporter | None = None) -> Run:
    """Train a network and leave a run folder.

    Args:
        config: the settings; what they leave open is chosen, told and recorded.
        out: the run folder; ``None`` for ``runs/<date>_<data>_<model>``.
        reporter: hears of the progress; ``None`` logs it.

    Raises:
        SegmentationError: of the kind of what is wrong; :class:`Interrupted` after Ctrl-C, with everything saved.
    """
    with as_one_run(config.train):
        return start(config, out, reporter_of_this_process(reporter))


def start(config: Config, out: str | Path | None, reporter: Reporter) -> Run:
    """:func:`run` in each of the run's processes."""
    with agreed():
        data = load_data(config.data.path)
    compare_given(config, data)
    for sentence in data.understood:
        reporter.say("data", sentence)
    with agreed():
        path = Path(out) if out else new_run_path(data.name, config.model.name)
        if is_main_process():
            RunFolder(path).refuse_if_used()
        report = checked(data, config, reporter)
        plan = make_plan(config, data, process_count(), report=report)
    plan = gather_objects(plan)[0]  # on another machine something else may be the best choice
    accelerator = build_accelerator(plan.config.train)
    folder = RunFolder(Path(same_everywhere(str(path), accelerator)))
    codes = RunCodes(config, data, reporter)
    training = build_training(plan.config, data, report, accelerator, codes)
    if plan.config.train.iters is None:
        plan_length(plan, *measure(plan.config, training, accelerator))
        accelerator = build_accelerator(plan.config.train)  # afresh: the measurement moved the weights,
        training = build_training(plan.config, data, report, accelerator, codes)  # and counted batches to accumulate
    tell_plan(plan, data, reporter)
    if not accelerator.is_main_process:
        return iterate(plan.config, folder, training, accelerator, reporter)
    folder.create()
    with locked(folder.path):
        folder.write_config(plan.config, plan.reasons)
        folder.write_environment(device_name(accelerator), accelerator.mixed_precision)
        codes.save(folder.label_codes)
        keep_fingerprint(folder, data, plan.config)
        return iterate(plan.config, folder, training, accelerator, reporter)


def iterate(config: Config, folder: RunFolder, training: Training, accelerator: Accelerator, reporter: Reporter) -> Run:
    """Train to the last step; what a run can mend by itself is mended on the way."""
    recovery = Recovery(config, folder, training, accelerator, reporter)
    try:
        with StopRequest() as stop, memory_suffices("training"):
            while (trouble := attempt(recovery, stop)) is not None:
                recovery.mend(trouble)
    except (RunError, DataError) as error:
        raise resumable(error, folder) from error
    except KeyboardInterrupt as stopped:
        raise interrupted_at_once(folder, training.state.step) from stopped
    finally:
        reporter.finished()
    return finish(folder, accelerator, reporter)


def attempt(recovery: Recovery, stop: StopRequest) -> TroubleError | None:
    """The loop, from the state's step to the last one, or to a trouble that recovery can mend."""
    training = recovery.training
    log = RunLog(recovery.folder, training, recovery.accelerator, recovery.reporter, training.state.step)
    try:
        train_steps(recovery, stop, log)
    except TroubleError as trouble:
        trouble.__context__ = trouble.__cause__ = None  # their frames would keep the batch in memory
        return trouble.with_traceback(None)
    finally:
        log.close()
    return None


def train_steps(recovery: Recovery, stop: StopRequest, log: RunLog) -> None:
    """Every step trains on a batch, or on several that are accumulated; every n steps log, validate, save."""
    config, folder, training = recovery.config, recovery.folder, recovery.training
    accelerator, state, train, iters = recovery.accelerator, training.state, config.train, config.train.iters
    assert iters and train.log_every and train.eval_every and train.save_every, "make_plan fills these in"
    save_batch = sample_pictures(folder, training)
    recovery.begin()
    recovery.reporter.started(state.step, iters)
    loader = build_loader(training, config, accelerator, first_step=state.step, last_step=iters)
    with loader.watched():
        for images, masks, names in recovery.batches(loader):
            if state.step == 0 and accelerator.is_main_process:
                save_batch(images, masks)
            losses = train_step(training, config, images, masks, accelerator)
            recovery.note(names)
            if not accelerator.sync_gradients:
                continue
            recovery.count(losses)
            state.step += 1
            log.step(losses, images.shape[0] * train.accumulate, is_due=state.step % train.log_every == 0)
            if state.step % train.eval_every == 0 or state.step == iters:
                with memory_suffices(f"validating after step {state.step}"):
                    validate(training, folder, accelerator, recovery.reporter, log, config)
            is_stopped = in_any_process(stop.requested, accelerator) and state.step < iters
            is_due = state.step % train.save_every == 0 and state.skipped_in_a_row == 0  # else these weights led astray
            if is_due or state.step in (iters, 1) or is_stopped:
                save(training, folder, accelerator, config)
            if is_stopped:
                raise interrupted(folder, state.step, iters)


def train_step(
    training: Training, config: Config, images: Tensor, masks: Tensor, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One batch: forward, backward and, when enough batches are accumulated, the update.

    Returns:
        The losses by name; ``loss`` is not finite where the update was left out.
    """
    state, train = training.state, config.train
    set_learning_rate(state.optimizer, learning_rate(state.step, train.iters or 1, train) * state.lr_factor)
    with accelerator.accumulate(training.network):
        with batch_fits(), sharing_batch(sharing_of(accelerator)):
            images = images.to(accelerator.device, non_blocking=True)
            masks = masks.to(accelerator.device, non_blocking=True)
            losses = training.losses(images, masks)
            accelerator.backward(losses["loss"])
        if accelerator.sync_gradients:
            limit = train.clip_grad_norm or math.inf
            norm = accelerator.clip_grad_norm_(training.network.parameters(), limit)
            is_finite = norm is None or bool(torch.isfinite(norm))
            if is_finite or state.scaler:  # a scaler leaves the step out by itself, and tries a smaller scale
                state.optimizer.step()
            if is_finite:
                training.statistics.keep()
                if state.average:
                    state.average.update(training.model, state.step)
            else:
                training.statistics.restore()
                losses["loss"] = losses["loss"] * math.nan
            state.optimizer.zero_grad(set_to_none=True)
    return mean_losses(losses, accelerator)


def validate(
    training: Training, folder: RunFolder, accelerator: Accelerator, reporter: Reporter, log: RunLog, config: Config
) -> Scores:
    """Score the averaged weights; the best so far become the run's model file."""
    state = training.state
    model = evaluated_model(training)
    share_statistics(model, accelerator)
    predictor = Predictor(model, device=device_name(accelerator))
    own_pairs = training.val_pairs[accelerator.process_index :: accelerator.num_processes]
    matrix = confusion_matrix(
        predictor, own_pairs, training.reader, lambda done, total: reporter.progressed("validating", done, total)
    )
    sum_over_processes(matrix, accelerator)
    scores = compute_scores(matrix, model.info.classes)
    protocol = {"split": config.data.val_split, "resolution": "the labels' own", "scales": [1.0]}
    scores = replace(scores, protocol=protocol)
    is_best = scores.miou >= state.best  # of equals the one that has seen more
    if is_best:
        state.best, state.best_step = scores.miou, state.step
    if accelerator.is_main_process:
        if is_best:
            model.info = replace(model.info, scores={**scores.to_json(), "step": state.step})
            save_model(model, folder.model)
        log.evaluated(scores, is_best, predictor)
    return scores


def evaluated_model(training: Training) -> SegmentationModel:
    """The averaged network, or, without an average, the trained one in a copy that may be put into evaluation."""
    if training.state.average is None:
        return copy.deepcopy(training.model).eval()
    model = training.state.average.model
    assert isinstance(model, SegmentationModel)
    return model


def save(training: Training, folder: RunFolder, accelerator: Accelerator, config: Config) -> None:
    """Write the checkpoint, in the main process."""
    if accelerator.is_main_process:
        checkpoint.save(training.state, folder.checkpoints, config.model_dump(mode="json"))
    accelerator.wait_for_everyone()


def finish(folder: RunFolder, accelerator: Accelerator, reporter: Reporter) -> Run:
    """Write the report and read the best scores back."""
    run = same_everywhere(finished_run(folder) if accelerator.is_main_process else None, accelerator)
    assert run is not None, "the main process has read it"
    if accelerator.is_main_process:
        write_report(folder)
    reporter.say("done", f"best val mIoU {100 * run.scores.miou:.2f} at step {run.step}; model: {folder.model}")
    return run


def finished_run(folder: RunFolder) -> Run:
    """The scores of a run that has ended, from its records."""
    best = max((record for record in folder.records() if "miou" in record), key=lambda record: float(record["miou"]))
    return Run(folder.path, Scores(**best["scores"]), best["step"])


def checked(data: SegmentationData, config: Config, reporter: Reporter) -> DataReport | None:
    """Read every file of both splits, and stop at faults before any time is spent."""
    if not config.data.check:
        return None
    splits = [config.data.train_split, config.data.val_split]
    report = check_data(data, splits=splits, progress=partial(reporter.progressed, "checking"), allow=config.data.allow)
    report.raise_if_bad()
    if report.unchanged:
        reporter.say("checked", f"{report.what_is_unchanged} (segwright data check --fresh reads all)")
    for problem, others in shortened(report.problems, _WARNINGS_OF_A_KIND):
        more = f" ({others} more of this kind: segwright data check lists them)" if others else ""
        reporter.say("warning", f"{problem.message}; {problem.fix}{more}")
    return report


def measure(config: Config, training: Training, accelerator: Accelerator) -> tuple[float, float]:
    """Seconds of a training step and of a validation, from a few of them; changes the weights.

    Raises:
        RunError: the memory does not suffice, not even for the small batches that a run would go on with.
    """
    with memory_suffices("measuring how long a step takes"):
        per_step = time_step(config, training, accelerator)
        per_validation = time_validation(training, accelerator)
    return mean_over_processes((per_step, per_validation), accelerator)


def time_step(config: Config, training: Training, accelerator: Accelerator) -> float:
    """Seconds of a training step, with the smaller batches of a run whose memory holds no larger ones."""
    for halvings in range(MOST_HALVINGS + 1 if accelerator.num_processes == 1 else 1):
        smaller = with_smaller_batches(config, halvings)
        few = {"train.iters": _MEASURED_STEPS, "train.epochs": None, "train.minutes": None, "train.accumulate": 1}
        try:
            return time_batch(with_settings(smaller, few), training, accelerator) * smaller.train.accumulate
        except BatchTooLargeError:
            training.state.optimizer.zero_grad(set_to_none=True)
    raise MemoryError("not even for the smallest batches")


def time_batch(config: Config, training: Training, accelerator: Accelerator) -> float:
    """Seconds that a batch takes."""
    times = [time.perf_counter()]
    for images, masks, _ in build_loader(training, config, accelerator, first_step=0, last_step=_MEASURED_STEPS):
        float(train_step(training, config, images, masks, accelerator)["loss"])  # waits for the device
        times.append(time.perf_counter())
    return seconds_per_step([later - earlier for earlier, later in pairwise(times)])


def time_validation(training: Training, accelerator: Accelerator) -> float:
    """Seconds in which this process would score its share of the validation split."""
    few = training.val_pairs[:2]
    start = time.perf_counter()
    confusion_matrix(Predictor(evaluated_model(training), device=device_name(accelerator)), few, training.reader)
    own_share: float = len(training.val_pairs) / accelerator.num_processes
    return (time.perf_counter() - start) / len(few) * own_share


def tell_plan(plan: Plan, data: SegmentationData, reporter: Reporter) -> None:
    """Say what will be done, and why where it was chosen automatically."""
    config = plan.config
    pairs = {split: len(data.pairs(split)) for split in (config.data.train_split, config.data.val_split)}
    counts = ", ".join(f"{count} {split}" for split, count in pairs.items())
    reporter.say("data", f"{counts}, {len(data.classes)} classes")
    weights = f" from {config.model.weights}" if config.model.weights else ", fresh weights"
    reporter.say("model", config.model.name + weights)
    for key, reason in plan.reasons.items():
        group, _, leaf = key.partition(".")
        reporter.say(leaf.replace("_", " "), f"{getattr(getattr(config, group), leaf)} (auto: {reason})")
