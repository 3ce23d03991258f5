"""What the splits of a data set hold, as one page that needs no other file, no network and no script."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segwright.analysis.page import bar, counted, document, percent, swatch, table, text
from segwright.analysis.previews import palette_of
from segwright.analysis.statistics import SplitStatistics, describe_colours, describe_sizes
from segwright.data.dataset import SegmentationData
from segwright.runtime.files import write_atomically

Weights = Mapping[str, Mapping[str, float]]
"""By rule and class."""

_MOST_SIZES = 10
MOST_TOGETHER = 60
"""Classes of the largest table that shows which stand together."""


def write_statistics_page(
    data: SegmentationData, splits: Sequence[SplitStatistics], weights: Weights, path: Path
) -> None:
    """Write the page, whole or not at all.

    Args:
        data: the data set.
        splits: what was measured.
        weights: the class weights that training would use, or none.
        path: the file; its folder must exist.

    Raises:
        RunError: the file could not be written.
    """
    head = f"<h1>{text(data.name)}</h1>"
    if data.source:
        head += f'\n<p class="faint">{text(data.source)}</p>'
    parts = [head, *(split_part(data, found) for found in splits), weights_part(data, weights)]
    write_atomically(path, document(f"{data.name}: data statistics", parts).encode())


def split_part(data: SegmentationData, found: SplitStatistics) -> str:
    """Sizes, colours, classes and what stands together."""
    lines = [
        f"<h2>{text(found.split)}: {counted(found.images, 'picture')}</h2>",
        f"<p>{text(describe_sizes(found))}</p>",
        *(f"<p>{text(line)}</p>" for line in describe_colours(found)),
        f"<p>{percent(found.ignored)} of the pixels are ignored</p>",
        _sizes(found),
        "<h3>Classes</h3>",
        _classes(data, found),
        _co_occurrence(data, found),
    ]
    return "\n".join(line for line in lines if line)


def weights_part(data: SegmentationData, weights: Weights) -> str:
    """The factors by class, rule by rule."""
    if not weights:
        return ""
    rows = [
        [swatch(colour) + text(name), *(f"{factors[name]:.3g}" for factors in weights.values())]
        for name, colour in zip(data.classes, palette_of(data.labels), strict=True)
    ]
    note = '<p class="faint">What training would use with <code>--set loss.class_weights=RULE</code>.</p>'
    drawn = table(["class", *map(text, weights)], rows, kinds=["name", *["number"] * len(weights)])
    return f"<h2>Class weights</h2>\n{note}\n{drawn}"


def _sizes(found: SplitStatistics) -> str:
    if len(found.sizes) == 1:
        return ""
    shown = list(found.sizes.items())[:_MOST_SIZES]
    rows = [[f"{width} x {height}", f"{count:,}"] for (height, width), count in shown]
    if len(found.sizes) > len(shown):
        rows.append([f"{len(found.sizes) - len(shown):,} others", f"{found.images - sum(n for _, n in shown):,}"])
    drawn = table(["width x height", "pictures"], rows, kinds=["name", "number"])
    return f"<details><summary>{len(found.sizes):,} sizes</summary>\n{drawn}\n</details>"


def _classes(data: SegmentationData, found: SplitStatistics) -> str:
    longest = max(part.share for part in found.classes.values()) or 1
    rows = []
    for (name, part), colour in zip(found.classes.items(), palette_of(data.labels), strict=True):
        drawn = bar(part.share / longest, colour) if part.pixels else '<span class="faint">none</span>'
        area = percent(part.mean_area) if part.masks else "-"
        cells = [percent(part.share), f"{part.pixels:,}", f"{part.masks:,}", area]
        rows.append([swatch(colour) + text(name), drawn, *cells])
    head = ["class", "", "of the labelled pixels", "pixels", "masks with it", "of such a mask"]
    return table(head, rows, kinds=["name", "track wide", *["number"] * 4])


def _co_occurrence(data: SegmentationData, found: SplitStatistics) -> str:
    """Counts on a ground that is the stronger the larger a part of the row's masks they are."""
    if len(data.classes) > MOST_TOGETHER:
        return f'<p class="faint">Which of the {len(data.classes)} classes stand together: --json.</p>'
    rows = []
    for index, (row, colour) in enumerate(zip(found.co_occurrence, palette_of(data.labels), strict=True)):
        cells = [f'<span class="index">{index}</span>{swatch(colour)}{text(data.classes[index])}']
        cells += [_heat(count, row[index]) for count in row]
        rows.append(cells)
    columns = [f'<span title="{text(name)}">{index}</span>' for index, name in enumerate(data.classes)]
    drawn = table(["", *columns], rows, kinds=["name", *["number"] * len(columns)], of="heat")
    return f"<h3>Masks that hold both classes</h3>\n{drawn}"


def _heat(count: int, masks: int) -> str:
    """A number on blue, as strong as its share of the masks of the row's class."""
    strength = round(55 * count / masks) if masks else 0
    return f'<div style="background:rgb(37 99 235 / {strength}%)">{count:,}</div>'
