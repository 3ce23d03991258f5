"""What a run mends by itself: steps without a finite loss, and batches that do not fit into the memory."""

import gc
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from segwright.config import Config, with_settings
from segwright.engine import checkpoint
from segwright.engine.build import Training
from segwright.engine.distributed import in_any_process
from segwright.engine.folder import RunFolder, write_text
from segwright.engine.reporter import Reporter
from segwright.errors import DataError, RunError

logger = logging.getLogger(__name__)

LOWER_LR = 0.1
"""The learning rate's factor after a run has gone back to a checkpoint."""
_MOST_SKIPPED = 5
_MOST_SKIPPED_SCALED = 20  # fp16 begins at a scale of 2^16, and halves it at each step whose gradient overflows
MOST_HALVINGS = 3
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "can't allocate memory",
    "STATUS_ALLOC_FAILED",  # of cuDNN and cuBLAS
    "could not create a primitive",  # of oneDNN, where a convolution finds no room for its scratch memory
)


class TroubleError(Exception):
    """Ends the steps; :meth:`Recovery.mend` makes the run ready to go on, or says why it cannot."""


class DivergedError(TroubleError):
    """Too many steps in a row without a finite loss and gradient."""


class BatchTooLargeError(TroubleError):
    """A batch did not fit into the memory; nothing has been updated yet."""


class Recovery:
    """Watches the steps of a run, and mends what it can.

    Args:
        config: the user's settings, without holes.
        folder: of the run.
        training: the objects of the run.
        accelerator: device and processes.
        reporter: hears of what was mended.
    """

    def __init__(
        self, config: Config, folder: RunFolder, training: Training, accelerator: Accelerator, reporter: Reporter
    ) -> None:
        self.folder, self.training, self.accelerator, self.reporter = folder, training, accelerator, reporter
        self._wanted = config
        self._files: list[str] = []
        self._bad_steps: list[dict[str, Any]] = []

    @property
    def config(self) -> Config:
        """The settings, with the batch that fits into the memory."""
        return with_smaller_batches(self._wanted, self.training.state.halvings)

    def begin(self) -> None:
        """Make the first batch the first of a step, whatever was accumulated before."""
        self.accelerator.gradient_accumulation_steps = self.config.train.accumulate
        self.accelerator.step = 0
        self.training.state.optimizer.zero_grad(set_to_none=True)
        self.training.statistics.keep()
        self._files.clear()

    def note(self, files: list[str]) -> None:
        """The pictures of the batch that was trained on."""
        self._files += files

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The loader's; before a file that cannot be read ends the run, what was reached is saved.

        Not in the middle of accumulated batches, nor with several processes, which would all have to save.
        """
        try:
            yield from loader
        except DataError:
            state = self.training.state
            if self.accelerator.num_processes == 1 and not self._files and state.step > 0:
                checkpoint.save(state, self.folder.checkpoints, self.config.model_dump(mode="json"))
            raise

    def count(self, losses: dict[str, Tensor]) -> None:
        """Count a step that was left out, before the state's step moves on.

        Raises:
            DivergedError: there were too many of them in a row.
        """
        state, files = self.training.state, self._files.copy()
        self._files.clear()
        if not in_any_process(not torch.isfinite(losses["loss"]), self.accelerator):
            state.skipped_in_a_row = 0
            self._bad_steps.clear()
            return
        state.skipped += 1
        state.skipped_in_a_row += 1
        self._bad_steps.append({"step": state.step + 1, "files": files})
        logger.warning("step %d left out: loss or gradient is not finite", state.step + 1)
        if state.skipped_in_a_row >= (_MOST_SKIPPED_SCALED if state.scaler else _MOST_SKIPPED):
            raise DivergedError

    def mend(self, trouble: TroubleError) -> None:
        """Make the run ready to go on.

        Raises:
            RunError: it was mended as often as is sensible; says what to do.
        """
        if isinstance(trouble, BatchTooLargeError):
            self._halve()
        else:
            self._go_back()

    def _go_back(self) -> None:
        """Restore the last checkpoint, once in a run, and lower the learning rate."""
        state = self.training.state
        step, in_a_row, skipped = state.step + 1, state.skipped_in_a_row, state.skipped
        if state.lr_factor < 1 or not checkpoint.has_checkpoint(self.folder.checkpoints):
            raise self._diverged(in_a_row)
        checkpoint.load(state, self.folder.checkpoints)
        state.lr_factor, state.skipped, state.skipped_in_a_row = LOWER_LR, skipped, 0
        self._bad_steps.clear()
        if self.accelerator.is_main_process:
            self.folder.forget_after(state.step)
        facts = {"from_step": step, "to_step": state.step, "lr_factor": LOWER_LR}
        self._record("went back to a checkpoint", facts)
        self.reporter.say(
            "warning",
            f"loss or gradient was not finite in {in_a_row} steps in a row, up to step {step}; going back to the "
            f"checkpoint of step {state.step}, once, with {LOWER_LR:g} times the learning rate",
        )

    def _diverged(self, in_a_row: int) -> RunError:
        bad_steps = gather_object(self._bad_steps) if self.accelerator.num_processes > 1 else self._bad_steps
        if self.accelerator.is_main_process:
            write_text(self.folder.bad_batch, json.dumps({"steps": bad_steps}, indent=2) + "\n")
        files = self._bad_steps[-1]["files"]
        more = f" and {len(files) - 4} more" if len(files) > 4 else ""
        again = f", again with {LOWER_LR:g} times the learning rate" if self.training.state.lr_factor < 1 else ""
        return RunError(
            f"loss or gradient was not finite in {in_a_row} steps in a row{again}; last batch: "
            f"{', '.join(files[:4])}{more} (all in '{self.folder.bad_batch}')",
            fix="look at these pictures and their masks; start again with a lower learning rate (--lr), "
            f"or go on with one: {self.folder.resume_command} --lr {self._wanted.train.lr / 100:g} --allow-changes",
        )

    def _halve(self) -> None:
        """Smaller batches, more of them accumulated; the samples of the step stay the same."""
        state, before = self.training.state, self.config.train
        assert before.batch_size is not None, "make_plan fills it in"
        if self.accelerator.num_processes > 1 or state.halvings == MOST_HALVINGS or before.batch_size == 1:
            raise self._too_large(before.batch_size)
        self.training.statistics.restore()
        state.optimizer.zero_grad(set_to_none=True)
        state.halvings += 1
        gc.collect()
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        after = self.config.train
        self._record("out of memory", {"batch_size": after.batch_size, "accumulate": after.accumulate})
        self.reporter.say(
            "warning",
            f"step {state.step + 1} ran out of memory with batches of {before.batch_size}; going on with "
            f"{after.accumulate} batches of {after.batch_size} a step, which are as many pictures",
        )

    def _too_large(self, batch_size: int) -> RunError:
        processes = self.accelerator.num_processes
        where = f" in process {self.accelerator.process_index} of {processes}" if processes > 1 else ""
        size = self.config.data.crop_size
        crop = f" of {size[0]}x{size[1]} (height x width)" if size else ""
        smaller = "--batch-size 1" if batch_size > 1 else "--crop-size H W"
        return RunError(
            f"out of memory on {self.accelerator.device}{where} with batches of {batch_size} crops{crop}",
            fix=f"start again with a smaller --model, or go on with: {self.folder.resume_command} {smaller} "
            "--allow-changes",
        )

    def _record(self, event: str, facts: dict[str, Any]) -> None:
        """At the step to be done next: a run that is resumed before it drops the line, and comes to write it again."""
        if self.accelerator.is_main_process:
            self.folder.append({"step": self.training.state.step + 1, "event": event, **facts})


def with_smaller_batches(config: Config, halvings: int) -> Config:
    """The settings with the batch halved, or a third where two do not divide it, and as many pictures a step."""
    if halvings == 0:
        return config
    batch_size = wanted = config.train.batch_size or 1
    for _ in range(halvings):
        batch_size = next((size for size in range(batch_size // 2, 0, -1) if batch_size % size == 0), 1)
    accumulate = config.train.accumulate * wanted // batch_size
    return with_settings(config, {"train.batch_size": batch_size, "train.accumulate": accumulate})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU, had no memory to give."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OUT_OF_MEMORY)


@contextmanager
def batch_fits() -> Iterator[None]:
    """The forward and backward pass of a batch.

    Raises:
        BatchTooLargeError: the memory did not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise BatchTooLargeError(str(error)) from error


@contextmanager
def memory_suffices(what: str) -> Iterator[None]:
    """Work that smaller batches would not help.

    Raises:
        RunError: the memory did not suffice for ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fix = "stop other programs that use this memory, give smaller pictures or a smaller --model, or --device cpu"
        raise RunError(f"out of memory while {what}", fix=fix) from error
