"""A picture, the files that its prediction is written to, and the writing of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from segwright.errors import RunError
from segwright.inference.result import Prediction
from segwright.runtime import replacing


class Job(NamedTuple):
    """A picture and the files that its prediction is written to; ``None`` where one is not wanted."""

    source: Path
    mask: Path | None
    overlay: Path | None
    confidence: Path | None

    def outputs(self) -> list[Path]:
        return [path for path in (self.mask, self.overlay, self.confidence) if path is not None]


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


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        RunError: the operating system refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise RunError(f"folder '{folder}' cannot be made ({reason.strerror})", fix="give another --out") from reason


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
