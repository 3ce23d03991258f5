"""segwright data limits."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import Meter, percent, print_json, print_table, say, say_next
from segwright.cli.data import read_data
from segwright.cli.options import DataArgument, Json
from segwright.errors import ConfigError

if TYPE_CHECKING:
    from segwright.analysis.bounds import Advice, Bound, Limits, Sample
    from segwright.data import SegmentationData

_NETWORK_STRIDES = (32, 16, 8)  # of deeplabv3; deeplabv3plus predicts at 4


def limits(
    data: DataArgument,
    split: Annotated[
        str | None, typer.Option(help="train, val or test. [default: val, or train where there is none]")
    ] = None,
    strides: Annotated[
        list[float] | None, typer.Option(metavar="N...", help="Output strides. [default: 4 8 16 32]")
    ] = None,
    codes: Annotated[
        list[float] | None, typer.Option(metavar="N...", help="Code lengths of DUpsampling. [default: 32 64 128 256]")
    ] = None,
    images: Annotated[
        int | None, typer.Option(metavar="N", help="Read a random sample of N masks of each split. [default: all]")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Also draw a chart: .svg or .png.")] = None,
    as_json: Json = False,
) -> None:
    """Which output stride do the labels allow: the best mIoU that each upsampling could reach."""
    from segwright.analysis.limits import CODE_LENGTHS, STRIDES, label_limits

    if out is not None:
        from segwright.analysis.chart import check_chart_path
        from segwright.analysis.limits_chart import write_limits_chart

        check_chart_path(out)
    source = read_data(data)
    with closing(Meter()) as meter:
        found = label_limits(
            source,
            split=split or default_split(source),
            strides=whole_numbers("--strides", strides) or STRIDES,
            code_lengths=whole_numbers("--codes", codes) or CODE_LENGTHS,
            max_images=images,
            progress=meter.update,
        )
    for note in found.notes:
        say("note:", note)
    if as_json:
        print_json(found.to_json())
    else:
        print_limits(found)
    if out is not None:
        write_limits_chart(found, out)
        say("wrote", out)
    say_next("train", data, *train_words(found.advice))


def whole_numbers(option: str, numbers: Sequence[float] | None) -> list[int]:
    """The numbers behind an option.

    Raises:
        ConfigError: one that is not whole.
    """
    for number in numbers or ():
        if not number.is_integer():
            raise ConfigError(f"{option} takes whole numbers, got {number:g}", fix=f"write for example {option} 16 32")
    return [int(number) for number in numbers or ()]


def default_split(data: "SegmentationData") -> str:
    """``val``, or where there is none ``train``, which is said."""
    if "val" in data.folders or "train" not in data.folders:
        return "val"
    say("note:", "there is no val, so that train is measured, to whose labels DUpsampling's codes are fitted")
    return "train"


def print_limits(limits: "Limits") -> None:
    """Scores by upsampling and stride, IoU by class and stride, how they were measured, and the advice."""
    from segwright.analysis.bounds import name_of

    names = dict.fromkeys(name_of(bound.upsampler, bound.code_channels) for bound in limits.bounds)
    by_name = {(name_of(bound.upsampler, bound.code_channels), bound.stride): bound for bound in limits.bounds}
    headings = ["upsampling"]
    headings += [f"mIoU* {stride}" for stride in limits.strides] + [f"F 3px {stride}" for stride in limits.strides]
    rows = []
    for name in sorted(names, key=_order):
        bounds = [by_name.get((name, stride)) for stride in limits.strides]
        scores = [None if bound is None else bound.miou for bound in bounds]
        scores += [None if bound is None else bound.boundary_f for bound in bounds]
        rows.append([name, *map(percent, scores)])
    print_table(headings, rows)
    print()
    print_classes([bound for bound in limits.bounds if bound.upsampler == "bilinear"])
    print(f"\n{how_measured(limits)}")
    print(f"\n{limits.advice.sentence}")


def print_classes(linear: "list[Bound]") -> None:
    """IoU of each class by stride under bilinear upsampling."""
    names = linear[0].iou_per_class
    rows = [[name, *(percent(bound.iou_per_class[name]) for bound in linear)] for name in names]
    print_table(["class, bilinear", *(f"IoU* {bound.stride}" for bound in linear)], rows)


def how_measured(limits: "Limits") -> str:
    """What the numbers are, as a sentence."""
    codes = f"; codes fitted to {_masks(limits.fitted)}" if limits.fitted.masks else ""
    seed = f", sampled with seed {limits.seed}" if _is_sampled(limits) else ""
    return (
        f"{_masks(limits.measured)} of '{limits.data}' at the labels' own resolution{codes}{seed}; "
        "scores in % by output stride, of a perfect network whose coarse map is upsampled"
    )


def train_words(advice: "Advice") -> list[str]:
    """Options of ``segwright train`` for a network near the advised stride."""
    stride = next((stride for stride in _NETWORK_STRIDES if stride <= advice.stride), None)
    if stride is None:
        return ["--model", "deeplabv3plus"]
    words = ["--model", "deeplabv3", "--set", f"model.options.output_stride={stride}"]
    if advice.upsampler == "dupsampling":
        words += ["--upsampler", "dupsampling", "--set", f"model.options.code_channels={advice.code_channels}"]
    return words


def _masks(sample: "Sample") -> str:
    part = "" if sample.masks == sample.masks_in_split else f" of {sample.masks_in_split}"
    return f"{sample.masks}{part} mask{'' if sample.masks_in_split == 1 else 's'} of {sample.split}"


def _is_sampled(limits: "Limits") -> bool:
    return any(sample.masks < sample.masks_in_split for sample in (limits.measured, limits.fitted))


def _order(name: str) -> tuple[int, int]:
    """Nearest, bilinear, then DUpsampling by code length."""
    word, _, length = name.partition(" ")
    return ("nearest", "bilinear", "DUpsampling").index(word), int(length or 0)
