"""segwright export."""

from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import Meter, percent, print_json, say_next
from segwright.cli.options import Json
from segwright.cli.weights import fetch_weights

if TYPE_CHECKING:
    from segwright.deploy.export import ExportReport


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, run folder, checkpoint, or published id.")],
    format: Annotated[str, typer.Option(help="onnx, or openvino: an .xml with a .bin.")],
    precision: Annotated[str, typer.Option(help="fp32; with openvino also bf16 and int8.")] = "fp32",
    calibrate: Annotated[str | None, typer.Option(metavar="DATA", help="For int8: data set or pictures.")] = None,
    check: Annotated[str | None, typer.Option(metavar="DATA", help="Score file and network on its val split.")] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="[default: the model file with its ending]")] = None,
    preprocessing: Annotated[bool, typer.Option("--preprocessing", help="Inside: it takes uint8 pictures.")] = False,
    argmax: Annotated[bool, typer.Option("--argmax", help="Inside: the file gives masks of full size.")] = False,
    max_drop: Annotated[float, typer.Option(metavar="POINTS", help="Of mIoU that the file may lose.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Write a network for ONNX Runtime or OpenVINO, and keep the file only if it computes the same."""
    from segwright.deploy.export import export

    fetch_weights(model)
    meter = Meter()
    try:
        report = export(
            model, out, format=format, precision=precision, preprocessing=preprocessing, argmax=argmax,  # type: ignore[arg-type]  # words of a user are checked there
            calibrate=calibrate, check=check, max_drop=max_drop / 100, progress=meter.update,
        )  # fmt: skip
    finally:
        meter.close()
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    say_next("predict", report.path, "PICTURES")


def print_report(report: "ExportReport") -> None:
    """The file, what goes in and out, and how it was checked."""
    record, facts = report.record, report.to_json()
    print(f"file         {', '.join(facts['files'])} ({report.size_bytes / 1e6:.1f} MB)")
    opset = f", opset {facts['opset']}" if facts["opset"] else ""
    print(f"format       {report.format}{opset}, {record.precision}; batch, height and width are free")
    steps = record.info.preprocessing
    order = ", RGB" if steps.bands is None else ", bands as stored"
    print(f"takes        {TAKES[record.input].format(channels=steps.channels, order=order)}")
    print(f"gives        {GIVES[record.output]}")
    print(f"checked      {how_checked(report)}")
    if report.calibrated_on:
        print(f"calibrated   on {count(report.calibrated_on, 'picture')}")
    if report.score:
        place = f"{count(report.score.images, 'image')} of {report.score.data}/{report.score.split}"
        print(f"mIoU         {percent(report.score.file)} %, the network {percent(report.score.model)} %, on {place}")


TAKES: dict[str, str] = {
    "images": "'images' (N, {channels}, H, W) float32, normalised",
    "pixels": "'pixels' (N, H, W, {channels}) uint8{order}",
}
GIVES: dict[str, str] = {
    "logits": "'logits' (N, C, h, w) float32, at the network's own stride",
    "mask": "'mask' (N, H, W), the class of each pixel",
}


def how_checked(report: "ExportReport") -> str:
    """The comparison with the network as a sentence."""
    sizes = ", ".join(dict.fromkeys(f"{check.batch}x{check.size[0]}x{check.size[1]}" for check in report.checks))
    measured: list[str] = []
    if report.record.max_logit_difference is not None:
        measured.append(f"logits differ by at most {report.record.max_logit_difference:.1e} of their deviation")
    measured.append(f"{percent(report.record.argmax_agreement)} % of the pixels are of the same class")
    return f"{'; '.join(measured)} ({sizes}, batch x height x width)"


def count(number: int, what: str) -> str:
    """The number with the word in singular or plural."""
    return f"{number} {what}{'' if number == 1 else 's'}"
