"""A contact sheet: pairs of a data set in one picture, with names and a legend of the classes."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from segwright.analysis.previews import Preview, show_size, swatch
from segwright.data.masks import Labels
from segwright.runtime.files import replacing

SUFFIXES = (".jpg", ".jpeg", ".png")
PARTS = ("picture", "mask", "overlay")

_PAGE, _INK, _FAINT, _EMPTY = (255, 255, 255), (28, 35, 48), (102, 112, 133), (238, 240, 244)
_MARGIN, _GAP, _BETWEEN = 28, 6, 36  # pixels: around the sheet, between the three of a pair, between pairs
_TITLE, _TEXT, _LINE = 24, 15, 22  # sizes of the fonts, and the height of a line
_SWATCH = 16
_BEST_SHAPE = 1.4  # width : height of a sheet, about that of screens
_MOST_ACROSS = 4
_MOST_LETTERS = 32

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class _Entry(NamedTuple):
    """A line of the legend: a value of :func:`swatch`, and what it means."""

    value: int
    text: str


def draw_sheet(
    title: str, facts: str, previews: Sequence[Preview], labels: Labels, tile: tuple[int, int]
) -> Image.Image:
    """Title, legend and all pairs, each with its name and size above its three small pictures.

    Args:
        title: in large letters.
        facts: a line below it.
        previews: in the order in which they are placed, row by row.
        labels: names and colours of the classes; those that no preview shows are counted only.
        tile: (height, width) into which the previews were fitted.
    """
    pair = 3 * tile[1] + 2 * _GAP
    across = _pairs_across(len(previews), (tile[0] + _LINE + _GAP, pair))
    width = 2 * _MARGIN + across * pair + (across - 1) * _BETWEEN
    legend, legend_height = _place_legend(_legend(previews, labels), width - 2 * _MARGIN)
    top = _MARGIN + _TITLE + 2 * _LINE + legend_height + _LINE
    down = math.ceil(len(previews) / across)
    row = tile[0] + _LINE + _BETWEEN // 2
    sheet = Image.new("RGB", (width, top + _LINE + down * row + _MARGIN - _BETWEEN // 2), _PAGE)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), _cut(title, _font(_TITLE), width - 2 * _MARGIN), _INK, _font(_TITLE))
    pen.text((_MARGIN, _MARGIN + _TITLE + 10), _cut(facts, _font(_TEXT), width - 2 * _MARGIN), _FAINT, _font(_TEXT))
    for entry, x, y in legend:
        _draw_entry(sheet, entry, labels, (_MARGIN + x, _MARGIN + _TITLE + 2 * _LINE + y))
    for column in range(min(across, len(previews))):
        for number, part in enumerate(PARTS):
            x = _MARGIN + column * (pair + _BETWEEN) + number * (tile[1] + _GAP)
            pen.text((x, top), part, _FAINT, _font(_TEXT))
    for number, preview in enumerate(previews):
        x = _MARGIN + number % across * (pair + _BETWEEN)
        _draw_pair(sheet, preview, (x, top + _LINE + number // across * row), tile)
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a JPEG or a PNG, by the file's ending; whole or not at all.

    Raises:
        RunError: the file could not be written.
    """
    is_png = path.suffix.lower() == ".png"
    options = {"optimize": True} if is_png else {"quality": 90, "subsampling": 0}  # 4:4:4: colours with sharp edges
    with replacing(path, durable=False) as temporary:
        sheet.save(temporary, format="PNG" if is_png else "JPEG", **options)


def _pairs_across(count: int, size: tuple[int, int]) -> int:
    """How many pairs of (height, width) stand side by side for a sheet of a pleasant shape."""

    def badness(across: int) -> float:
        return abs(math.log(across * size[1] / (math.ceil(count / across) * size[0]) / _BEST_SHAPE))

    return min(range(1, min(_MOST_ACROSS, max(1, count)) + 1), key=badness)


def _legend(previews: Sequence[Preview], labels: Labels) -> list[_Entry]:
    present = sorted({index for preview in previews for index in preview.present})
    entries = [_Entry(index, f"{index} {_shortened(labels.classes[index])}") for index in present]
    if any(preview.has_ignored for preview in previews):
        entries.append(_Entry(labels.ignore_index, "ignored"))
    if any(preview.has_unknown for preview in previews):
        entries.append(_Entry(-1, "unknown value"))
    return entries


def _place_legend(entries: Sequence[_Entry], width: int) -> tuple[list[tuple[_Entry, int, int]], int]:
    """Entries in columns of one width with their (x, y), and the height of them all."""
    if not entries:
        return [], 0
    widest = max(_font(_TEXT).getlength(entry.text) for entry in entries)
    step = _SWATCH + 8 + round(widest) + 24
    columns = max(1, min(len(entries), (width + 24) // step))
    placed = [(entry, i % columns * step, i // columns * _LINE) for i, entry in enumerate(entries)]
    return placed, math.ceil(len(entries) / columns) * _LINE


def _draw_entry(sheet: Image.Image, entry: _Entry, labels: Labels, at: tuple[int, int]) -> None:
    x, y = at
    sheet.paste(swatch(entry.value, labels, (_SWATCH, _SWATCH)), at)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((x, y, x + _SWATCH - 1, y + _SWATCH - 1), outline=_FAINT)
    pen.text((x + _SWATCH + 8, y + _SWATCH // 2), entry.text, _INK, _font(_TEXT), anchor="lm")


def _draw_pair(sheet: Image.Image, preview: Preview, at: tuple[int, int], tile: tuple[int, int]) -> None:
    """Name and size, and below them the three small pictures, each in the middle of its tile."""
    pen, font = ImageDraw.Draw(sheet), _font(_TEXT)
    size = show_size(preview.size) if preview.size else ""
    room = 3 * tile[1] + 2 * _GAP - font.getlength(size) - 16
    pen.text(at, _cut(preview.name, font, room), _INK, font)
    pen.text((at[0] + 3 * tile[1] + 2 * _GAP, at[1]), size, _FAINT, font, anchor="ra")
    for number, part in enumerate(PARTS):
        x, y = at[0] + number * (tile[1] + _GAP), at[1] + _LINE
        small: Image.Image | None = getattr(preview, part)
        if small is None or small.size != (tile[1], tile[0]):
            pen.rectangle((x, y, x + tile[1] - 1, y + tile[0] - 1), fill=_EMPTY)
        if small is not None:
            sheet.paste(small, (x + (tile[1] - small.width) // 2, y + (tile[0] - small.height) // 2))
        else:
            reason = _cut(preview.reason(part), font, tile[1] - 12)
            pen.text((x + tile[1] // 2, y + tile[0] // 2), reason, _FAINT, font, anchor="mm")


def _cut(text: str, font: _Font, room: float) -> str:
    """The text, its middle left out where it is too long for ``room`` pixels: names differ at their ends."""
    text = _plain(text)
    if font.getlength(text) <= room:
        return text

    def cut(kept: int) -> str:
        return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"

    # Of a text of many thousands of letters nobody need measure all.
    most = min(len(text), round(room))
    return cut(bisect_left(range(most), True, key=lambda kept: font.getlength(cut(kept + 1)) > room))


def _shortened(name: str) -> str:
    name = _plain(name)
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _plain(text: str) -> str:
    """What can be drawn in a line: file names may hold line breaks, and bytes that are no text."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@cache
def _font(size: int) -> _Font:
    return ImageFont.load_default(size)
