"""segwright predict."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segwright.cli.console import print_json, progress, say, say_error, say_next
from segwright.cli.options import Device, Flip, Json, ModelArgument, Precision, Runtime, Scales, Window
from segwright.cli.outputs import Job, plan_jobs
from segwright.cli.weights import fetch_weights
from segwright.errors import DataError, ShapeError

if TYPE_CHECKING:
    from segwright.inference import Prediction, Predictor


class Format(StrEnum):
    """What is written of a prediction."""

    mask = "mask"
    overlay = "overlay"
    both = "both"


def predict(
    model: ModelArgument,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Pictures, folders or quoted patterns.")],
    out: Annotated[str, typer.Option(help="Gets STEM.png, STEM_overlay.jpg, STEM_confidence.png.")] = "predictions",
    format: Annotated[Format, typer.Option(help="Index PNG, picture under colours, or both.")] = Format.mask,
    confidence: Annotated[bool, typer.Option("--confidence", help="Also write it, 0..1 as 0..255 in grey.")] = False,
    runtime: Runtime = "auto",
    scales: Scales = None,
    flip: Flip = False,
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Predict the masks of pictures."""
    jobs = plan_jobs(
        sources, Path(out), with_mask=format != Format.overlay, with_overlay=format != Format.mask,
        with_confidence=confidence,
    )  # fmt: skip
    from segwright.inference import Predictor

    fetch_weights(model)
    predictor = Predictor(
        model, device, runtime, precision, "flip" if flip else None, window, confidence, scales=scales or (1.0,)
    )
    results = predict_all(predictor, jobs)
    say("runtime:", predictor.describe())
    if as_json:
        print_json({"results": results})
    else:
        print_results(results)
    failed = sum("error" in result for result in results)
    if failed:
        raise DataError(
            f"{failed} of {len(jobs)} pictures could not be predicted", fix="mend or remove the files above"
        )
    if format == Format.mask:
        say_next(
            "predict", model, *(sources if len(sources) < 4 else ["PICTURES"]), "--out", out, "--format", "overlay"
        )
    else:
        say_next("evaluate", model, "DATA")


def predict_all(predictor: "Predictor", jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Predict and write picture by picture; one that cannot be read is told and does not stop the others."""
    results: list[dict[str, Any]] = []
    predictor.expect(len(jobs))
    with progress("predicting") as tell:
        for done, job in enumerate(jobs, start=1):
            try:
                prediction = predictor(job.source)
            except (DataError, ShapeError) as error:
                say_error(error.message, error.fix)
                results.append({"source": str(job.source), "error": error.message})
            else:
                write(prediction, job)
                results.append(_result(prediction, job))
            tell(done, len(jobs))
    return results


def write(prediction: "Prediction", job: Job) -> None:
    """Write the files of a prediction, each whole or not at all."""
    import numpy as np
    from PIL import Image

    from segwright.runtime import replacing

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
    from segwright.errors import RunError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise RunError(f"folder '{folder}' cannot be made ({reason.strerror})", fix="give another --out") from reason


def _result(prediction: "Prediction", job: Job) -> dict[str, Any]:
    files = {"overlay": job.overlay, "confidence": job.confidence}
    return {
        "source": str(job.source),
        "mask": str(job.mask) if job.mask else None,
        **{name: str(path) for name, path in files.items() if path},
        "areas": prediction.areas(),
        "milliseconds": round(prediction.milliseconds, 3),
    }


def print_results(results: Sequence[dict[str, Any]]) -> None:
    """A line per picture: where its prediction is, and its three largest classes."""
    for result in results:
        if "error" not in result:
            largest = sorted(result["areas"].items(), key=lambda item: -item[1])[:3]
            areas = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
            written = result["mask"] or result["overlay"]
            print(f"{result['source']} -> {written}  {result['milliseconds']:.0f} ms  {areas}")
