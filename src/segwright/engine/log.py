"""What a run writes down while it goes on: metrics.jsonl, TensorBoard events, and pictures."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from segwright.engine.build import Training
from segwright.engine.folder import RunFolder
from segwright.engine.optim import learning_rate
from segwright.engine.reporter import Reporter
from segwright.inference import Predictor
from segwright.metrics import Scores
from segwright.runtime.bands import read_picture, rgb_view
from segwright.runtime.files import replacing
from segwright.runtime.masks import colourise, mask_dtype, overlay

_SHOWN = 4


class RunLog:
    """Collects losses between two lines of metrics.jsonl, and passes news on.

    Args:
        folder: of the run.
        training: the objects of the run.
        accelerator: only its main process writes.
        reporter: hears everything that is written.
        first_step: of this process; records of later steps by a former one are gone.
    """

    def __init__(
        self, folder: RunFolder, training: Training, accelerator: Accelerator, reporter: Reporter, first_step: int
    ) -> None:
        self.folder, self.training, self.accelerator, self.reporter = folder, training, accelerator, reporter
        self._writer: SummaryWriter | None = None
        if accelerator.is_main_process:
            self._writer = SummaryWriter(str(folder.events), purge_step=first_step + 1)
        self._images, self._seconds, self._since = 0, 0.0, time.perf_counter()

    def step(self, losses: dict[str, Tensor], images: int, *, is_due: bool) -> None:
        """Note the losses of a step; write their mean when a line is due."""
        state, train = self.training.state, self.training.settings
        state.unlogged.append(losses)
        now = time.perf_counter()
        self._images += images * self.accelerator.num_processes
        self._seconds, self._since = self._seconds + now - self._since, now
        if not is_due:
            self.reporter.stepped(state.step, {})
            return
        lr = learning_rate(state.step - 1, train.iters or 1, train) * state.lr_factor
        record: dict[str, float] = {"step": state.step, "lr": lr}
        for name in losses:
            values = [float(step[name]) for step in state.unlogged]
            finite = [value for value in values if np.isfinite(value)]
            if finite:
                record[name] = sum(finite) / len(finite)
        record["images_per_second"] = self._images / self._seconds
        record["skipped"] = state.skipped
        state.unlogged.clear()
        self._images, self._seconds = 0, 0.0
        if self._writer:
            self.folder.append(record)
            for name, value in record.items():
                self._writer.add_scalar(f"train/{name}", value, state.step)
        self.reporter.stepped(state.step, record)

    def evaluated(self, scores: Scores, is_best: bool, predictor: Predictor) -> None:
        """Write a validation's scores and pictures."""
        step = self.training.state.step
        self.folder.append({"step": step, "miou": scores.miou, "best": is_best, "scores": asdict(scores)})
        picture = prediction_sheet(predictor, self.training)
        save_picture(picture, self.folder.samples / f"val_{step:06d}.jpg")
        if self._writer:
            self._writer.add_scalar("val/miou", scores.miou, step)
            for name, value in scores.iou_per_class.items():
                if value is not None:
                    self._writer.add_scalar(f"val_iou/{name}", value, step)
            self._writer.add_image("val", picture, step, dataformats="HWC")
        self.reporter.evaluated(step, scores, is_best)
        self._since = time.perf_counter()  # validations do not count in images per second

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def batch_sheet(images: Tensor, masks: Tensor, palette: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A training batch as the network sees it: pictures above their masks."""
    columns = []
    for image, mask in zip(images[:_SHOWN], masks[:_SHOWN], strict=True):
        picture = rgb_view(image.permute(1, 2, 0).cpu().numpy())
        columns.append(np.concatenate([picture, colourise(mask.cpu().numpy().astype(np.uint16), palette)], axis=0))
    return np.concatenate(columns, axis=1)


def prediction_sheet(predictor: Predictor, training: Training) -> NDArray[np.uint8]:
    """Pictures of the validation split, their predictions laid over them, and their true masks."""
    pairs = training.val_pairs[:: max(1, len(training.val_pairs) // _SHOWN)][:_SHOWN]
    palette, rows = predictor.info.palette, []
    for pair in pairs:
        picture = read_picture(pair.image, predictor.info.preprocessing.bands)
        image = rgb_view(picture)
        predicted = overlay(image, predictor(picture).mask, palette, alpha=0.6)
        truth = colourise(training.reader.read(pair.mask).astype(mask_dtype(len(palette))), palette)
        row = Image.fromarray(np.concatenate([image, predicted, truth], axis=1))
        rows.append(np.asarray(row.resize((960, max(1, round(960 * row.height / row.width))))))
    return np.concatenate(rows, axis=0)


def save_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a JPEG.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
        Image.fromarray(picture).save(file, format="JPEG", quality=88)


def sample_pictures(folder: RunFolder, training: Training) -> Callable[[Tensor, Tensor], None]:
    """A function that saves the first batch's pictures."""

    def save(images: Tensor, masks: Tensor) -> None:
        sheet = batch_sheet(images, masks, list(training.model.info.palette))
        save_picture(sheet, folder.samples / "batch_000000.jpg")

    return save
