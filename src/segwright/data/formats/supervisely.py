"""Supervisely: meta.json with the classes, and for each picture in ``img`` a JSON file in ``ann``."""

import base64
import binascii
import io
import re
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, FiniteFloat

from segwright.data.formats.files import parse_json, pictures_below, split_of, stem_of, why
from segwright.data.formats.fill import (
    FloatArray,
    Region,
    Shape,
    as_points,
    draw_with_pillow,
    paint,
    place,
    polygon_area,
    tell_outside,
)
from segwright.data.formats.reading import (
    IntArray,
    LabelTable,
    Notes,
    Options,
    Reading,
    Sample,
    Size,
    counted,
    label_table,
)
from segwright.errors import DataError
from segwright.info import Colour

_MOST_BYTES = 1 << 26  # of an unpacked bitmap's PNG


class _Class(BaseModel):
    title: str
    color: str = ""


class _Meta(BaseModel):
    classes: list[_Class]


class _Size(BaseModel):
    height: int
    width: int


class _Points(BaseModel):
    exterior: list[tuple[FiniteFloat, FiniteFloat]] = []
    interior: list[list[tuple[FiniteFloat, FiniteFloat]]] = []


class _Bitmap(BaseModel):
    data: str
    origin: tuple[int, int]


class _Object(BaseModel):
    classTitle: str  # noqa: N815  Supervisely's name
    geometryType: str  # noqa: N815
    points: _Points = _Points()
    bitmap: _Bitmap | None = None


class _File(BaseModel):
    size: _Size
    objects: list[_Object]


def detect(source: Path, options: Options) -> str | None:
    """meta.json and folders ``ann``."""
    is_project = (source / "meta.json").is_file() and bool(_datasets(source))
    return f"'{source}' has meta.json and folders ann and img" if is_project else None


def _datasets(source: Path) -> list[Path]:
    return [path.parent for path in sorted(source.glob("**/ann")) if path.is_dir() and (path.parent / "img").is_dir()]


def read(source: Path, options: Options) -> Reading:
    """All data sets of a project; a data set called train, val or test is that split.

    Raises:
        DataError: a file of the wrong shape, or a picture without one.
    """
    meta, datasets = source / "meta.json", _datasets(source)
    if not meta.is_file() or not datasets:
        raise DataError(
            f"'{source}' is no Supervisely project", fix="it needs meta.json and folders DATASET/ann and img"
        )
    classes = parse_json(meta, _Meta, "meta.json of Supervisely", options.max_bytes).classes
    notes = Notes()
    table = label_table([entry.title for entry in classes], options, notes, meta)
    overlap = notes.overlap(options, "order")
    samples = []
    for folder in datasets:
        split = split_of(folder.relative_to(source).parts)
        for image in pictures_below(folder / "img"):
            inside = image.relative_to(folder / "img")
            labels = folder / "ann" / f"{inside}.json"
            if not labels.is_file():
                raise DataError(f"'{image}' has no '{labels}'", fix="export the project again, or remove the picture")
            content = parse_json(labels, _File, "Supervisely JSON", options.max_bytes)
            stem = stem_of(inside) if split or len(datasets) == 1 else f"{folder.name}/{stem_of(inside)}"
            size = content.size.height, content.size.width
            draw = partial(_draw, content, labels, table, overlap, notes)
            samples.append(Sample(stem, split, image, draw, str(labels), size))
    pictures, named = counted(len(samples), "picture"), counted(len(classes), "class")
    understood = f"Supervisely: {counted(len(datasets), 'data set')}, {pictures}, {named}"
    return Reading(understood, table.classes, samples, notes, _palette(classes, table))


def _palette(classes: list[_Class], table: LabelTable) -> tuple[Colour, ...]:
    """Supervisely's colours, where each class has its own and black is left for what is added."""
    stated = {entry.title.strip(): entry.color for entry in classes}
    colours = [stated.get(name, "#000000") for name in table.classes]
    if len({colour.lower() for colour in colours}) < len(colours):
        return ()
    if not all(re.fullmatch(r"#[0-9a-fA-F]{6}", colour) for colour in colours):
        return ()
    return tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in colours)


def _draw(content: _File, path: Path, table: LabelTable, overlap: str, notes: Notes, size: Size) -> IntArray:
    shapes = []
    for number, entry in enumerate(content.objects):
        where = f"'{path}': objects.{number}"
        if entry.classTitle.strip() not in table.value:
            raise DataError(f"{where} names the class '{entry.classTitle}'", fix="add it to meta.json, or remove it")
        value, kind = table.value[entry.classTitle.strip()], entry.geometryType
        points = as_points(entry.points.exterior, where)
        tell_outside(points, size, notes, where)
        if kind == "bitmap" and entry.bitmap is not None:
            inside, (left, top) = _unpacked(entry.bitmap.data, where), entry.bitmap.origin
            shapes.append(Shape(value, float(inside.sum()), partial(place, inside, top, left)))
        elif kind == "polygon" and len(points) >= 3:
            holes = [as_points(hole, where) for hole in entry.points.interior]
            shapes.append(Shape(value, polygon_area(points), partial(_polygon, points, holes)))
        elif kind == "rectangle" and len(points) == 2:
            area = float(np.abs(points[1] - points[0]).prod())
            shapes.append(Shape(value, area, partial(draw_with_pillow, points, kind="rectangle")))
        else:
            notes.count(f"objects of type '{kind}' without area, left out", where)
    return paint(shapes, size, table, overlap, notes)


def _polygon(points: FloatArray, holes: list[FloatArray], size: Size) -> Region | None:
    """The pixels of the outline without those of its holes."""
    region = draw_with_pillow(points, size)
    if region is None or not holes:
        return region
    whole = np.zeros(size, bool)
    height, width = region.inside.shape
    whole[region.top : region.top + height, region.left : region.left + width] = region.inside
    for hole in holes:
        if len(hole) >= 3 and (cut := draw_with_pillow(hole, size)):
            rows, columns = cut.inside.shape
            whole[cut.top : cut.top + rows, cut.left : cut.left + columns][cut.inside] = False
    return Region(0, 0, whole)


def _unpacked(text: str, where: str) -> NDArray[np.bool_]:
    """A bitmap: base64 of a zlib stream that holds a PNG, whose alpha or value says what is inside."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text), _MOST_BYTES)
        with Image.open(io.BytesIO(data)) as picture:
            values = np.asarray(picture.convert("RGBA"))
    except (binascii.Error, zlib.error, ValueError) as reason:
        raise DataError(f"{where} has a bitmap that cannot be unpacked ({reason})", fix="export it again") from reason
    except Exception as reason:  # damaged files make Pillow's decoders raise anything
        raise DataError(f"{where} has a bitmap that is no picture ({why(reason)})", fix="export it again") from reason
    has_alpha = bool((values[..., 3] < 255).any())
    inside: NDArray[np.bool_] = values[..., 3] > 0 if has_alpha else values[..., 0] > 0
    return inside
