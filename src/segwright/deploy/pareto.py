"""Speed against accuracy as a picture, with those marked that no other one beats in both."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from segwright.analysis.chart import GRID, INK, new_chart
from segwright.deploy.benchmark import Report, Row

_SIZE = (9.6, 4.8)  # inches
# Okabe and Ito's colours, told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = {"torch": "o", "compiled": "^", "onnx": "s", "openvino": "D"}
_DECADE = 10  # times that lie further apart are drawn logarithmically


class Point(NamedTuple):
    """A row on the picture: time, and what it is weighed against, of which more or less is better."""

    milliseconds: float
    value: float


class Measure(NamedTuple):
    """What times are weighed against.

    Args:
        title: of the axis.
        values: of each row.
        more_is_better: of mIoU; of work and size less is.
    """

    title: str
    values: tuple[float, ...]
    more_is_better: bool


def front(points: Sequence[Point], *, more_is_better: bool = True) -> list[int]:
    """Indices of the points that no other one equals or beats in both and beats in one, by time."""
    sign = 1 if more_is_better else -1

    def beats(first: Point, second: Point) -> bool:
        is_as_good = first.milliseconds <= second.milliseconds and sign * first.value >= sign * second.value
        return is_as_good and first != second

    kept = [index for index, point in enumerate(points) if not any(beats(other, point) for other in points)]
    return sorted(kept, key=lambda index: points[index])


def measure_of(report: Report) -> Measure:
    """The mIoU where it was measured; else GMACs, parameters or memory, the first that all rows have."""
    rows = report.rows
    for title, values, more_is_better in (
        (f"mIoU on {report.data} (%)", [row.miou and 100 * row.miou for row in rows], True),
        ("GMACs a picture", [row.gmacs for row in rows], False),
        ("parameters (millions)", [row.params and row.params / 1e6 for row in rows], False),
        ("peak memory (MB)", [row.peak_memory_mb for row in rows], False),
    ):
        known = tuple(float(value) for value in values if value is not None)
        if len(known) == len(rows):
            return Measure(title, known, more_is_better)
    return Measure("", (0.0,) * len(rows), True)


def write_pareto_chart(report: Report, path: str | Path) -> None:
    """Draw the rows to a PNG or an SVG, by the file's ending; whole or not at all.

    Raises:
        ConfigError: another ending, or no such folder.
        RunError: the file could not be written.
    """
    measure = measure_of(report)
    points = [Point(row.milliseconds_p50, value) for row, value in zip(report.rows, measure.values, strict=True)]
    with new_chart(path, _SIZE) as figure:
        axes = figure.subplots()
        _draw_front(axes, points, measure)
        _draw_points(axes, report.rows, points, measure)
        height, width = report.rows[0].size
        threads = report.rows[0].threads
        figure.suptitle(
            f"Picture to mask at {height}x{width}, {threads} thread{'' if threads == 1 else 's'}",
            fontsize=11, fontweight="bold",
        )  # fmt: skip


def _draw_front(axes: Axes, points: Sequence[Point], measure: Measure) -> None:
    """A line of steps: to its lower right, or upper right where less is better, everything is beaten."""
    best = [points[index] for index in front(points, more_is_better=measure.more_is_better)]
    x, y = zip(*best, strict=True)
    axes.plot(
        x, y, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), drawstyle="steps-post", zorder=1,
        label="Pareto front",
    )  # fmt: skip
    axes.scatter(x, y, s=190, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=1)


def _draw_points(axes: Axes, rows: Sequence[Row], points: Sequence[Point], measure: Measure) -> None:
    """A numbered mark per row, models by colour and runtimes by shape; the legend names them."""
    models = list(dict.fromkeys(row.model for row in rows))
    for number, (row, point) in enumerate(zip(rows, points, strict=True), start=1):
        axes.plot(
            *point, linestyle="", markersize=7, color=_COLOURS[models.index(row.model) % len(_COLOURS)],
            marker=_MARKERS.get(row.runtime, "o"), zorder=2,
            label=f"{number}  {_short(row.model)}, {row.runtime} {row.precision}",
        )  # fmt: skip
        is_above = number % 2  # in turn above and below: neighbours may be close
        axes.annotate(
            str(number), point, xytext=(0, 9 if is_above else -9), textcoords="offset points", fontsize=8.5,
            ha="center", va="bottom" if is_above else "top",
        )  # fmt: skip
    times = [point.milliseconds for point in points]
    if max(times) > _DECADE * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.1, y=0.14)
    axes.set_xlabel("milliseconds, median")
    axes.set_ylabel(measure.title)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5))


def _short(model: str) -> str:
    """The end of a long path says most."""
    return model if len(model) <= 30 else f"…{model[-29:]}"
