"""LabelMe: a JSON file for each picture, with polygons, rectangles, circles and bitmaps."""

import base64
import binascii
import io
import os
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from pydantic import BaseModel, FiniteFloat

from segwright.data.formats.files import has_keys, label_files, parse_json, refuse_bad_json, tell_unnamed, why
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
from segwright.data.formats.pairs import place_of
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
from segwright.data.formats.tables import find_classes
from segwright.errors import DataError
from segwright.runtime.images import SUFFIXES

_KEYS = (b'"shapes"', b'"imagePath"')
_LOOKED_AT = 20  # files in which the keys are looked for
_CORNERS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}


class _Shape(BaseModel):
    label: str
    points: list[tuple[FiniteFloat, FiniteFloat]]
    shape_type: str | None = "polygon"
    mask: str | None = None


class _File(BaseModel):
    shapes: list[_Shape]
    imagePath: str | None = None  # noqa: N815  LabelMe's name
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


class _Embedded(BaseModel):
    imageData: str | None = None  # noqa: N815


def detect(source: Path, options: Options) -> str | None:
    """JSON files with shapes and imagePath."""
    files = label_files(source, ".json", lambda path: True)[:_LOOKED_AT]
    found = next((path for path in files if has_keys(path, _KEYS, options.max_bytes)), None)
    return f"'{found}' has shapes and imagePath" if found else None


def read(source: Path, options: Options) -> Reading:
    """Shapes by LabelMe's own rule: later ones lie on top, and pixels under an outline belong to it.

    Raises:
        DataError: a file of the wrong shape, one that is no JSON, or one whose picture is nowhere.
    """
    root = source if source.is_dir() else source.parent
    notes = Notes()
    paths = label_files(source, ".json", lambda path: has_keys(path, _KEYS, options.max_bytes))
    refuse_bad_json(source, paths, options.max_bytes)
    files = {path: parse_json(path, _File, "LabelMe JSON", options.max_bytes) for path in paths}
    for path in label_files(source, ".json", lambda path: path not in files):
        notes.count("JSON files that are none of LabelMe's, left out", path)
    if not files:
        raise DataError(f"'{source}' holds no LabelMe JSON", fix="give the folder of pictures with a JSON file each")
    labels = _labels(files, notes)
    listed = find_classes(root, options)
    unknown = [label for label in labels if listed and not options.classes and label not in listed.names]
    if listed and unknown:
        raise DataError(f"label '{unknown[0]}' is not in '{listed.source}'", fix="add it there, or mend its spelling")
    table = label_table(listed.names if listed and not options.classes else labels, options, notes, source)
    overlap = notes.overlap(options, "order")
    samples = [_sample(path, content, root, table, overlap, notes) for path, content in files.items()]
    tell_unnamed(root, samples, notes)
    shapes = sum(len(content.shapes) for content in files.values())
    found = f"{counted(len(samples), 'JSON file')}, {counted(len(labels), 'label')}, {counted(shapes, 'shape')}"
    understood = f"LabelMe: {found}"
    return Reading(understood, table.classes, samples, notes)


def _labels(files: dict[Path, _File], notes: Notes) -> list[str]:
    """The labels of shapes that have an area."""
    of_kind = {kind: set[str]() for kind in (True, False)}
    for content in files.values():
        for shape in content.shapes:
            of_kind[(shape.shape_type or "polygon") in _CORNERS].add(shape.label.strip())
    only = sorted(of_kind[False] - of_kind[True])
    if only:
        notes.say(f"labels of points and lines only are no classes: {', '.join(only)}")
    return sorted(of_kind[True])


def _sample(path: Path, content: _File, root: Path, table: LabelTable, overlap: str, notes: Notes) -> Sample:
    split, _, key = place_of(path.relative_to(root))
    image = _picture(path, content, root, notes)
    size = None
    if content.imageHeight is not None and content.imageWidth is not None:
        size = content.imageHeight, content.imageWidth
    draw = partial(_draw, content, path, table, overlap, notes)
    return Sample("/".join(key), split, image or partial(_embedded, path), draw, str(path), size)


def _picture(path: Path, content: _File, root: Path, notes: Notes) -> Path | None:
    """The picture that a file names, or the one beside it of the same name; ``None`` where it may lie inside."""
    name = PurePosixPath((content.imagePath or "").replace("\\", "/"))
    if "\0" not in str(name):
        named = Path(os.path.normpath(path.parent / name))  # a link may lead out: the user has set it
        if not named.absolute().is_relative_to(os.path.normpath(root.absolute())) or ":" in str(name)[:2]:
            # Of another machine, or of a folder that was not handed on: never followed.
            notes.count("pictures whose imagePath leads out of the data set, looked for beside or in their file", path)
            named = path.with_name(name.name) if name.name not in ("", "..") else path
        if named.is_file() and named.suffix.lower() in SUFFIXES:
            return named
    beside = (path.with_suffix(end) for suffix in SUFFIXES for end in (suffix, suffix.upper()))
    return next((file for file in beside if file.is_file()), None)


def _embedded(path: Path) -> bytes:
    text = parse_json(path, _Embedded, "LabelMe JSON", path.stat().st_size).imageData
    if not text:
        raise DataError(
            f"'{path}' has no picture: neither the one that it names, nor one beside it, nor imageData",
            fix="put the picture beside the JSON file",
        )
    data = _decoded(text, f"'{path}': imageData")
    try:
        Image.open(io.BytesIO(data)).close()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return data  # whoever asks for its size tells that it is too large
    except Exception as reason:  # damaged files make Pillow's readers raise anything
        raise DataError(
            f"'{path}': imageData is no picture ({why(reason)})", fix="put the picture beside the JSON file"
        ) from reason
    return data


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError) as reason:
        raise DataError(f"{where} is no base64 text", fix="save the file with LabelMe again") from reason


def _draw(content: _File, path: Path, table: LabelTable, overlap: str, notes: Notes, size: Size) -> IntArray:
    shapes = []
    for number, shape in enumerate(content.shapes):
        kind, where = shape.shape_type or "polygon", f"'{path}': shapes.{number}"
        if kind not in _CORNERS:
            notes.count(f"shapes of type '{kind}' without area, left out", path)
            continue
        points = as_points(shape.points, where)
        if len(points) < _CORNERS[kind]:
            notes.count(f"shapes of type '{kind}' with too few points, left out", path)
            continue
        tell_outside(points, size, notes, where)
        shapes.append(_shape(shape, kind, points, table.value[shape.label.strip()], where))
    return paint(shapes, size, table, overlap, notes)


def _shape(shape: _Shape, kind: str, points: FloatArray, value: int, where: str) -> Shape:
    if kind == "mask":
        left, top = points.min(axis=0).astype(int).tolist()
        inside = _bitmap(shape, where)
        return Shape(value, float(inside.sum()), lambda size: place(inside, top, left, size))
    if kind == "polygon":
        return Shape(value, polygon_area(points), partial(draw_with_pillow, points))
    if kind == "rectangle":
        return Shape(value, float(np.ptp(points[:2], axis=0).prod()), partial(draw_with_pillow, points[:2], kind=kind))
    radius = float(np.hypot(*(points[1] - points[0])))
    box = np.stack([points[0] - radius, points[0] + radius])
    return Shape(value, np.pi * radius**2, partial(_circle, box))


def _circle(box: FloatArray, size: Size) -> Region | None:
    return draw_with_pillow(box, size, "ellipse")


def _bitmap(shape: _Shape, where: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    data = _decoded(shape.mask or "", f"{where}.mask")
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("L")) > 0
    except Exception as reason:  # damaged files make Pillow's decoders raise anything
        raise DataError(
            f"{where}.mask is no picture ({why(reason)})", fix="save the file with LabelMe again"
        ) from reason
