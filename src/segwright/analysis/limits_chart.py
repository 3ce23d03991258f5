"""The bounds of a data set's labels as a picture: mIoU* by output stride, and the classes that suffer."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from segwright.analysis.bounds import KEPT, Bound, Limits, Upsampler, name_of
from segwright.analysis.chart import GRID, INK, new_chart

_SIZE = (10.0, 4.6)  # inches
_MOST_CLASSES = 14
# Okabe and Ito's colours, told apart by the colour-blind too; the codes run from light to dark.
_NEAREST, _BILINEAR = ("#999999", "s"), ("#D55E00", "o")
_CODES = ("#9ECAE1", "#4A9BD1", "#0072B2", "#003F6B", "#001D33")
_STRIDES = ("#F0B429", "#56B4E9", "#009E73", "#CC79A7", "#000000")
_STRIDE_MARKERS = "osD^v"


def write_limits_chart(limits: Limits, path: str | Path) -> None:
    """Draw the bounds to a PNG or an SVG, by the file's ending; whole or not at all.

    Args:
        limits: what to draw.
        path: the file, in a folder that exists.

    Raises:
        ConfigError: another ending, or no such folder.
        RunError: the file could not be written.
    """
    with new_chart(path, _SIZE) as figure:
        by_stride, by_class = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_strides(by_stride, limits)
        _draw_classes(by_class, limits)
        figure.suptitle(_title(limits), fontsize=11, fontweight="bold")


def _title(limits: Limits) -> str:
    measured = limits.measured
    return f"{limits.data}: what upsampling leaves of the labels ({measured.masks} masks of {measured.split})"


def _draw_strides(axes: Axes, limits: Limits) -> None:
    """A line per upsampler and code length."""
    lines: dict[tuple[Upsampler, int | None], list[Bound]] = {}
    for bound in limits.bounds:
        lines.setdefault((bound.upsampler, bound.code_channels), []).append(bound)
    lengths = sorted({bound.code_channels for bound in limits.bounds if bound.code_channels is not None})
    for (upsampler, length), bounds in sorted(lines.items(), key=lambda line: -line[1][-1].miou):
        colour, marker = {"nearest": _NEAREST, "bilinear": _BILINEAR}.get(upsampler, ("", "D"))
        if length is not None:
            colour = _of(_CODES, lengths.index(length), len(lengths))
        label = name_of(upsampler, length) + (" codes" if length is not None else "")
        axes.plot(
            [bound.stride for bound in bounds], [100 * bound.miou for bound in bounds], color=colour, marker=marker,
            markersize=5, linewidth=2, label=label, clip_on=False,
        )  # fmt: skip
    axes.axhline(100 * KEPT, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.annotate(
        f"{100 * KEPT:.0f}", (1, 100 * KEPT), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=8.5,
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(limits.strides, [str(stride) for stride in limits.strides])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(top=100)
    axes.set_xlabel("output stride")
    axes.set_ylabel("best possible mIoU (%)")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="best", fontsize=8.5)


def _draw_classes(axes: Axes, limits: Limits) -> None:
    """A dot per class and stride, the class that suffers most on top."""
    linear = [bound for bound in limits.bounds if bound.upsampler == "bilinear"]
    known = [name for name, iou in linear[-1].iou_per_class.items() if iou is not None]
    names = sorted(known, key=lambda name: sum(bound.iou_per_class[name] or 0 for bound in linear))[:_MOST_CLASSES]
    for row, name in enumerate(names):
        ious = [100 * (bound.iou_per_class[name] or 0) for bound in linear]
        axes.plot([min(ious), max(ious)], [row, row], color=GRID, linewidth=2, zorder=1)
    for index, bound in enumerate(linear):
        axes.scatter(
            [100 * (bound.iou_per_class[name] or 0) for name in names], range(len(names)), s=34, zorder=2,
            color=_of(_STRIDES, index, len(linear)), marker=_STRIDE_MARKERS[index % len(_STRIDE_MARKERS)],
            label=f"stride {bound.stride}", clip_on=False,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("best possible IoU with bilinear upsampling (%)")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(4, len(linear)))
    if len(names) < len(known):
        axes.set_title(f"the {len(names)} lowest of {len(known)} classes", fontsize=9, pad=22)


def _of(colours: Sequence[str], index: int, count: int) -> str:
    """Colours from the whole range where there are few of them."""
    return colours[round(index * (len(colours) - 1) / max(1, count - 1))] if count > 1 else colours[len(colours) // 2]


def _shortened(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
