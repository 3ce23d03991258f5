"""A picture, the files that its prediction is written to, and the writing of them."""

import errno
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from segwright.errors import DataError
from segwright.inference.predictor import Predictor
from segwright.inference.rasters import Tell, predict_raster
from segwright.inference.result import Prediction
from segwright.runtime import replacing
from segwright.runtime.files import make_folder
from segwright.runtime.windowed import is_raster


class Job(NamedTuple):
    """A picture and the files that its prediction is written to; ``None`` where one is not wanted."""

    source: Path
    mask: Path | None
    overlay: Path | None
    confidence: Path | None

    def outputs(self) -> list[Path]:
        return [path for path in (self.mask, self.overlay, self.confidence) if path is not None]


class Predicted(NamedTuple):
    """What is told of a picture whose files are written.

    Args:
        areas: share of every class.
        milliseconds: from the file to the mask; of a raster, to the written files.
    """

    areas: dict[str, float]
    milliseconds: float


def predict(predictor: Predictor, job: Job, tell: Tell | None = None) -> Predicted:
    """Predict a picture and write its files, each whole or not at all; a raster in parts.

    Args:
        predictor: that predicts it.
        job: the picture and its files.
        tell: gets the windows of a raster that are done, and all.

    Raises:
        DataError: a picture that cannot be read, or whose name is too long for one of the files.
        ConfigError, MissingExtraError, ShapeError: as the predictor and :func:`predict_raster` raise them.
        RunError: the network failed, or a file or its folder could not be written.
    """
    refuse_long_names(job)
    if is_raster(job.source):
        files = {"mask": job.mask, "overlay": job.overlay, "confidence": job.confidence}
        return Predicted(*predict_raster(predictor, job.source, **files, tell=tell))
    prediction = predictor(job.source)
    write(prediction, job)
    return Predicted(prediction.areas(), prediction.milliseconds)


def refuse_long_names(job: Job) -> None:
    """Look whether the disk takes the files' names, which are longer than the picture's; writes nothing.

    Raises:
        DataError: a name is too long.
    """
    for path in job.outputs():
        try:
            folder = next(folder for folder in path.absolute().parents if folder.exists())
            (folder / path.name).lstat()
        except OSError as reason:  # mostly that there is no such file yet; the writing meets whatever else is wrong
            if reason.errno == errno.ENAMETOOLONG:
                raise DataError(
                    f"the prediction of '{job.source}' cannot be written: the name '{path.name}' is too long",
                    fix="shorten the picture's name",
                ) from reason


def write(prediction: Prediction, job: Job) -> None:
    """Write the files of a prediction, each whole or not at all.

    Raises:
        RunError: a file or its folder could not be written.
    """
    for path in job.outputs():
        make_folder(path.parent)
    if job.mask:
        prediction.save(job.mask)
    if job.overlay:
        with replacing(job.overlay, durable=False) as temporary:
            prediction.overlay().save(temporary, quality=92)
    if job.confidence and prediction.confidence is not None:
        grey = Image.fromarray(np.rint(prediction.confidence * 255).astype(np.uint8))
        with replacing(job.confidence, durable=False) as temporary:
            grey.save(temporary)


def summary(job: Job, areas: dict[str, float], milliseconds: float) -> dict[str, Any]:
    """What ``segwright predict --json`` says of a picture."""
    files = {"overlay": job.overlay, "confidence": job.confidence}
    return {
        "source": str(job.source),
        "mask": str(job.mask) if job.mask else None,
        **{name: str(path) for name, path in files.items() if path},
        "areas": areas,
        "milliseconds": round(milliseconds, 3),
    }
