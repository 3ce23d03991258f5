"""Shapes to pixels: polygons by the rule of the COCO tools or of Pillow, and run lengths."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segwright.data.formats.reading import IntArray, LabelTable, Notes, Size
from segwright.data.masks import ignore_index_of
from segwright.errors import DataError

FloatArray = NDArray[np.float64]

_SCALE = 5  # sub-pixels per pixel in which the COCO tools walk along an outline
_FAR = 1e7
"""Coordinates beyond are typing errors; whole numbers up to here fit everywhere."""
_CHUNK = 1 << 22  # points of an outline held at once


class Region(NamedTuple):
    """The pixels of a shape within its bounding box."""

    top: int
    left: int
    inside: NDArray[np.bool_]


class Shape(NamedTuple):
    """A labelled shape, not yet drawn.

    Args:
        value: class index.
        area: in pixels, roughly.
        fill: its pixels in a picture of (height, width); ``None`` where it has none there.
    """

    value: int
    area: float
    fill: Callable[[Size], Region | None]


def paint(shapes: Sequence[Shape], size: Size, table: LabelTable, overlap: str, notes: Notes) -> IntArray:
    """The mask of a picture; later shapes lie on top.

    Args:
        shapes: in the source's order.
        size: (height, width).
        table: for the value of pixels without a shape.
        overlap: ``"area"`` draws larger shapes first, ``"order"`` keeps the order.
        notes: count the shapes that have a pixel here.
    """
    dtype = np.uint8 if ignore_index_of(len(table.classes)) == 255 else np.uint16
    mask: IntArray = np.full(size, table.unlabelled, dtype)
    for shape in sorted(shapes, key=lambda shape: -shape.area) if overlap == "area" else shapes:
        region = shape.fill(size)
        if region is not None:
            height, width = region.inside.shape
            mask[region.top : region.top + height, region.left : region.left + width][region.inside] = shape.value
            notes.drawn += int(region.inside.any())
    return mask


def as_points(numbers: object, where: str) -> FloatArray:
    """(n, 2) points x, y.

    Raises:
        DataError: no numbers, an odd count, NaN or infinity, or a coordinate far outside; names ``where``.
    """
    fix = "mend or remove the shape"
    try:
        points = np.asarray(numbers, np.float64)
    except (ValueError, TypeError, OverflowError) as reason:
        raise DataError(f"{where} has a polygon that is no list of numbers", fix=fix) from reason
    if points.size % 2:
        raise DataError(f"{where} has a polygon of {points.size} numbers, which are no pairs of x and y", fix=fix)
    if not np.isfinite(points).all():
        raise DataError(f"{where} has a coordinate that is no number (NaN or infinity)", fix=fix)
    if points.size and np.abs(points).max() > _FAR:
        raise DataError(f"{where} has the coordinate {np.abs(points).max():g}, outside of any picture", fix=fix)
    return points.reshape(-1, 2)


def tell_outside(points: FloatArray, size: Size, notes: Notes, where: str) -> None:
    """Count a shape that reaches out of its picture, where it will be cut off; a pixel more is drawn by hand."""
    if len(points) and (points.min() < -1 or (points.max(axis=0) > (size[1] + 1, size[0] + 1)).any()):
        notes.count("shapes that reach out of their picture, cut off at its border", where)


def polygon_area(points: FloatArray) -> float:
    """Of a simple polygon, by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def fill_polygon(points: FloatArray, size: Size) -> Region | None:
    """A polygon's pixels by the rule of the COCO tools: even-odd at pixel centres, with corners at fifths of a pixel.

    Differs: corners farther than one picture's size outside are cut off first, so that no outline is too long.
    """
    height, width = size
    points = _cut(_cut(points, 0, -width, 2 * width), 1, -height, 2 * height)
    crossings = [crossing for crossing in _crossings(points) if crossing.size]
    if not crossings:
        return None
    columns, rows = np.concatenate(crossings, axis=1)
    rows = np.ceil(((rows + 0.5) / _SCALE - 0.5).clip(0, height)).astype(np.int64)
    in_picture = (columns >= 0) & (columns < width)
    rows, columns = rows[in_picture], columns[in_picture]
    if not len(rows) or rows.min() == rows.max():
        return None
    top, left = int(rows.min()), int(columns.min())
    toggles = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.uint8)
    np.bitwise_xor.at(toggles, (rows - top, columns - left), 1)
    inside = np.bitwise_xor.accumulate(toggles, axis=0)[:-1].astype(bool)
    return Region(top, left, inside)


def _crossings(points: FloatArray) -> Iterator[NDArray[np.int64]]:
    """(2, n): pixel column and lowest sub-pixel row wherever the outline crosses a column's centre."""
    corners = np.trunc(_SCALE * points + 0.5).astype(np.int64)
    ends = np.roll(corners, -1, axis=0)
    steps = np.abs(ends - corners).max(axis=1, initial=0) + 1
    cuts = np.flatnonzero(np.diff(np.cumsum(steps) // _CHUNK)) + 1
    for begin, stop in zip([0, *cuts], [*cuts, len(steps)], strict=True):
        yield _crossings_of_edges(corners[begin:stop], ends[begin:stop], steps[begin:stop])


def _crossings_of_edges(
    starts: NDArray[np.int64], ends: NDArray[np.int64], steps: NDArray[np.int64]
) -> NDArray[np.int64]:
    edge = np.repeat(np.arange(len(steps)), steps)
    along = np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)
    delta = np.abs(ends - starts)
    axis = (delta[:, 1] > delta[:, 0]).astype(np.int64)  # along which the edge is longer: steps of one sub-pixel
    each = np.arange(len(steps))
    backwards = starts[each, axis] > ends[each, axis]
    low = np.where(backwards[:, None], ends, starts)
    high = np.where(backwards[:, None], starts, ends)
    slope = (high - low)[each, 1 - axis] / np.maximum(1, delta[each, axis])
    along = np.where(backwards[edge], delta[each, axis][edge] - along, along)
    straight = along + low[each, axis][edge]
    slanted = np.trunc(low[each, 1 - axis][edge] + slope[edge] * along + 0.5).astype(np.int64)
    is_steep = axis[edge] == 1
    x, y = np.where(is_steep, slanted, straight), np.where(is_steep, straight, slanted)
    column = np.minimum(x[1:], x[:-1]) - _SCALE // 2
    crosses = (edge[1:] == edge[:-1]) & (x[1:] != x[:-1]) & (column % _SCALE == 0)
    return np.stack([column[crosses] // _SCALE, np.minimum(y[1:], y[:-1])[crosses]])


def _cut(points: FloatArray, axis: int, low: float, high: float) -> FloatArray:
    """The part of a polygon between two lines (Sutherland and Hodgman); unchanged where it lies between them."""
    for limit, sign in ((low, 1), (high, -1)):
        side = sign * (points[:, axis] - limit)
        if not len(points) or side.min() >= 0:
            continue
        following, next_side = np.roll(points, -1, axis=0), np.roll(side, -1)
        crosses = (side < 0) != (next_side < 0)
        share = np.where(crosses, side / np.where(crosses, side - next_side, 1), 0)
        met = points + share[:, None] * (following - points)
        both = np.stack([points, met], axis=1).reshape(-1, 2)
        points = both[np.stack([side >= 0, crosses], axis=1).ravel()]
    return points


def draw_with_pillow(corners: FloatArray, size: Size, kind: str = "polygon") -> Region | None:
    """A polygon, or the ``rectangle`` or ``ellipse`` in the box of two corners, with its outline: the rule of LabelMe.

    Corners lose their decimals; pixels under the outline belong to the shape.
    """
    whole = np.trunc(corners).astype(np.int64)
    height, width = size
    (left, top), (right, bottom) = whole.min(axis=0).clip(0), whole.max(axis=0)
    right, bottom = min(int(right), width - 1), min(int(bottom), height - 1)
    if right < left or bottom < top:
        return None
    canvas = Image.new("1", (int(right - left) + 1, int(bottom - top) + 1))
    moved = [(int(x - left), int(y - top)) for x, y in whole]
    draw = getattr(ImageDraw.Draw(canvas), kind)
    draw(moved if kind == "polygon" else [*np.min(moved, axis=0).tolist(), *np.max(moved, axis=0).tolist()], 1, 1)
    return Region(int(top), int(left), np.asarray(canvas))


def place(inside: NDArray[np.bool_], top: int, left: int, size: Size) -> Region | None:
    """A bitmap at its place; what lies outside of the picture is cut off."""
    height, width = size
    inside = inside[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    return Region(max(0, top), max(0, left), inside) if inside.size else None


def fill_runs(counts: NDArray[np.int64], size: Size, where: str, *, by_columns: bool = True) -> NDArray[np.bool_]:
    """(height, width) pixels of run lengths that alternate between outside and inside and begin outside.

    Raises:
        DataError: lengths that do not add up to the number of pixels.
    """
    height, width = size
    if (counts < 0).any() or int(counts.sum(dtype=object) if len(counts) else 0) != height * width:
        raise DataError(
            f"{where} has run lengths that do not add up to {width}x{height} px (width x height)",
            fix="export it again, or remove the shape",
        )
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return inside.reshape(width, height).T if by_columns else inside.reshape(height, width)


def decompress_runs(text: str, where: str) -> NDArray[np.int64]:
    """Run lengths of a COCO string: digits of five bits from the character '0' on, most as differences.

    Raises:
        DataError: characters that are no digits, or a number that does not end.
    """
    problem = DataError(f"{where} has a compressed RLE that cannot be read", fix="export it again, or remove the shape")
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 40:
            raise problem
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift or any(abs(count) > 1 << 40 for count in counts):
        raise problem
    return np.array(counts, np.int64)
