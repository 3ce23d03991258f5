"""segwright predict."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segwright.cli.console import Meter, print_json, printable, say, say_error, say_next
from segwright.cli.options import Device, Flip, Json, Precision, Runtime, Scales, Window
from segwright.cli.outputs import plan_jobs
from segwright.cli.scale_out import predict_on_ray
from segwright.cli.weights import fetch_weights
from segwright.errors import ConfigError, DataError, ShapeError

if TYPE_CHECKING:
    from segwright.inference import Predictor
    from segwright.inference.jobs import Job


DEFAULT_MODEL = "camvid/fast_scnn"
"""Comes with the package."""


class Format(StrEnum):
    """What is written of a prediction."""

    mask = "mask"
    overlay = "overlay"
    both = "both"


class Engine(StrEnum):
    """Where pictures are predicted."""

    local = "local"
    ray = "ray"


def predict(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="As elsewhere. [default: camvid/fast_scnn, for streets]")
    ] = None,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help="Pictures, folders or quoted patterns.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="A text file with the path of a picture per line.")
    ] = None,
    out: Annotated[str, typer.Option(help="Gets STEM.png or .tif, _overlay.jpg, _confidence.png.")] = "predictions",
    format: Annotated[Format, typer.Option(help="Index PNG, picture under colours, or both.")] = Format.mask,
    confidence: Annotated[bool, typer.Option("--confidence", help="Also write it, 0..1 as 0..255 in grey.")] = False,
    runtime: Runtime = "auto",
    scales: Scales = None,
    flip: Flip = False,
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Annotated[Engine, typer.Option(help="In this process, or by workers on Ray; resumable.")] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(help="Of engine ray; default: one per GPU, or else one per two cores.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; default: one on this machine for the time of the command.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict the masks of pictures; without MODEL, the classes of a street by camvid/fast_scnn."""
    check_engine(engine, workers, address)
    model, sources = with_default(model, sources or [])
    jobs = plan_jobs(
        sources, Path(out), with_mask=format != Format.overlay, with_overlay=format != Format.mask,
        with_confidence=confidence, listed=listed,
    )  # fmt: skip
    options: dict[str, Any] = {
        "device": device, "runtime": runtime, "precision": precision, "tta": "flip" if flip else None,
        "window": window, "confidence": confidence, "scales": tuple(scales or (1.0,)),
    }  # fmt: skip
    fetch_weights(model)
    if engine == Engine.ray:
        predict_on_ray(model, jobs, Path(out), options, workers, address, as_json=as_json)
    else:
        predict_here(model, jobs, options, as_json=as_json)
    if format == Format.mask:
        given = [*sources, *(["--list", listed] if listed else [])]
        more = ["--format", "overlay", *(["--engine", engine] if engine != Engine.local else [])]
        say_next("predict", model, *(given if len(given) < 4 else ["PICTURES"]), "--out", out, *more)
    else:
        say_next("evaluate", model, "DATA")


def check_engine(engine: Engine, workers: int | None, address: str | None) -> None:
    """Refuse words for workers where there are none.

    Raises:
        ConfigError: they were given without ``--engine ray``.
    """
    if engine == Engine.local and (workers is not None or address is not None):
        raise ConfigError("--workers and --address are for --engine ray", fix="add --engine ray, or leave them out")


def with_default(model: str | None, sources: list[str]) -> tuple[str, list[str]]:
    """Model and pictures, where the first word may be a picture already."""
    from segwright.runtime.images import are_pictures

    if model is not None and not are_pictures(model):
        return model, sources
    say("model:", f"{DEFAULT_MODEL}, as none was named")
    return DEFAULT_MODEL, sources if model is None else [model, *sources]


def predict_here(model: str, jobs: Sequence["Job"], options: dict[str, Any], *, as_json: bool) -> None:
    """Predict in this process.

    Raises:
        DataError: some pictures could not be predicted; the others are written.
    """
    from segwright.inference import Predictor

    predictor = Predictor(model, **options)
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


def predict_all(predictor: "Predictor", jobs: Sequence["Job"]) -> list[dict[str, Any]]:
    """Predict and write picture by picture; one that cannot be read is told and does not stop the others."""
    from segwright.inference.jobs import predict, summary

    results: list[dict[str, Any]] = []
    predictor.expect(len(jobs))
    with closing(Meter()) as meter, stopped_by_sigterm():
        tell = meter.teller("predicting", "images")
        for done, job in enumerate(jobs, start=1):
            say_window(predictor, job)
            try:
                predicted = predict(predictor, job, meter.teller(job.source.name, "windows"))
            except (DataError, ShapeError) as error:
                say_error(error.message, error.fix)
                results.append({"source": str(job.source), "error": error.message})
            else:
                results.append(summary(job, predicted.areas, predicted.milliseconds))
            tell(done, len(jobs))
    return results


def say_window(predictor: "Predictor", job: "Job") -> None:
    """How a raster goes through the network, where that follows from its size."""
    from segwright.inference.rasters import window_for
    from segwright.runtime.stored import stored_as
    from segwright.runtime.windowed import is_raster

    if predictor.window is not None or not is_raster(job.source):
        return
    if window := window_for(predictor, stored_as(job.source).size):
        words = f"is seen at its own resolution in windows of {window[0]}x{window[1]} px"
        say("note:", f"'{job.source}' {words}; --window H W gives others")


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that no temporary file stays behind."""
    former = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and former == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if former == signal.SIG_DFL and signal.getsignal(signal.SIGTERM) == signal.default_int_handler:
            signal.signal(signal.SIGTERM, former)


def print_results(results: Sequence[dict[str, Any]]) -> None:
    """A line per picture: where its prediction is, and its three largest classes."""
    for result in results:
        if "error" not in result:
            largest = sorted(result["areas"].items(), key=lambda item: -item[1])[:3]
            areas = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
            written = result["mask"] or result["overlay"]
            line = f"{result['source']} -> {written}  {result['milliseconds']:.0f} ms  {areas}"
            print(printable(line))
