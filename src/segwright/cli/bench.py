"""segwright bench."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import Meter, percent, print_json, print_table, say, say_next
from segwright.cli.data import parse_size, read_data
from segwright.cli.options import Device, Json
from segwright.cli.weights import fetch_weights

if TYPE_CHECKING:
    from segwright.deploy.benchmark import Report, Row


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Model files, run folders, exported files, published ids, names of networks."
        ),
    ],
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of the picture.")] = "1024x2048",
    data: Annotated[str | None, typer.Option(metavar="DATA", help="Data set, for the mIoU and for int8.")] = None,
    split: Annotated[str, typer.Option(help="Of the data set: train, val or test.")] = "val",
    runtime: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="Of torch compiled onnx openvino. [default: torch]")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="Of fp32 bf16 fp16 int8. [default: the model's own]")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", help="How often each is timed.")] = 10,
    threads: Annotated[int | None, typer.Option(metavar="N", help="To compute with. [default: all cores]")] = None,
    device: Device = "auto",
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the Pareto front: .svg or .png.")] = None,
    as_json: Json = False,
) -> None:
    """How fast are networks here, from a picture's file to its mask's file, side by side; and how accurate."""
    from segwright.deploy.benchmark import benchmark

    if out is not None:
        from segwright.analysis.chart import check_chart_path
        from segwright.deploy.pareto import write_pareto_chart

        check_chart_path(out)
    sides, source = parse_size(size), None if data is None else read_data(data)
    for model in models:
        fetch_weights(model)
    with closing(Meter()) as meter:
        report = benchmark(
            models, size=sides, data=source, split=split, runtimes=runtime or (), precisions=precision or (),
            rounds=rounds, threads=threads, device=device, progress=meter.update,
        )  # fmt: skip
    say_what_to_know(report)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    if out is not None:
        write_pareto_chart(report, out)
        say("wrote", out)
    say_next(*next_words(report, data))


def say_what_to_know(report: "Report") -> None:
    """What was left out and why, and what random weights mean."""
    for way in report.left_out:
        fix = f"; {way.error.fix}" if way.error.fix else ""
        say("left out:", f"{way.model} in {way.runtime}, {way.precision}: {way.error.message}{fix}")
    fresh = list(dict.fromkeys(row.model for row in report.rows if row.is_fresh))
    if fresh:
        says = "; its mIoU says nothing" if report.data else ""
        say("note:", f"{', '.join(fresh)}: fresh weights, whose noisy masks take longer to decide and write{says}")


def print_report(report: "Report") -> None:
    """A line per row, then how it was measured."""
    headings = ["model", "runtime", "precision", "ms p50", "p95", "network", "p95", "images/s", "MB", "params", "GMACs"]
    headings += ["of peak", "bound ms", *(["mIoU %"] if report.data else [])]
    print_table(headings, [cells(row, with_miou=report.data is not None) for row in report.rows], left=3)
    print(f"\n{how_measured(report)}")


def cells(row: "Row", *, with_miou: bool) -> list[str]:
    """A row as words."""
    times = (
        row.milliseconds_p50,
        row.milliseconds_p95,
        row.network_milliseconds_p50,
        row.network_milliseconds_p95,
        row.images_per_second,
    )
    return [
        row.model,
        row.runtime,
        row.precision,
        *(f"{time:.1f}" for time in times),
        figure(row.peak_memory_mb, ".0f"),
        "-" if row.params is None else f"{row.params / 1e6:.2f} M",
        figure(row.gmacs, ".2f"),
        "-" if row.peak_share is None else f"{100 * row.peak_share:.1f} %",
        figure(row.bound_ms, ".1f"),
        *([percent(row.miou)] if with_miou else []),
    ]


def figure(value: float | None, form: str) -> str:
    """A number, or ``-`` where it is not known."""
    return "-" if value is None else format(value, form)


def how_measured(report: "Report") -> str:
    """The protocol and the machine as sentences."""
    row = report.rows[0]
    threads = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
    peaks = "; ".join(
        f"{name} {roofline.flops / 1e9:.0f} GFLOP/s, memory {roofline.bandwidth / 1e9:.0f} GB/s"
        for name, roofline in report.rooflines.items()
    )
    return (
        f"{row.size[0]}x{row.size[1]} (height x width), from a JPEG file to a PNG mask, {threads}, "
        f"{report.rounds} round{'' if report.rounds == 1 else 's'} in turn, on {report.machine}\n"
        "network: without reading, preprocessing, resizing and writing; MB: peak of a fresh process\n"
        f"peak: measured here, {peaks or 'not for these precisions'}; "
        "bound: least time of the convolutions and products by arithmetic and memory\n"
        "absolute times wander with what else the machine does; ratios between the rows hold"
    )


def next_words(report: "Report", data: str | None) -> Sequence[object]:
    """What one may do with the fastest."""
    from segwright.runtime.exported import is_exported

    best = min(report.rows, key=lambda row: row.milliseconds_p50)
    if best.is_fresh:
        return "train", data or "DATA", "--model", best.model
    if not is_exported(best.model) and best.runtime in ("onnx", "openvino"):
        calibrate = ("--calibrate", data) if best.precision == "int8" and data else ()
        return "export", best.model, "--format", best.runtime, "--precision", best.precision, *calibrate
    return "predict", best.model, "PICTURES", "--runtime", best.runtime
