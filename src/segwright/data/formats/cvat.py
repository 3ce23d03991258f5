"""CVAT XML 1.1 for images: polygons, boxes, ellipses and bitmaps, in order of their height (z_order)."""

import math
from collections import Counter
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from segwright.data.formats.files import Pictures, label_bytes, label_files, safe_name, split_of, stem_of, tell_unnamed
from segwright.data.formats.fill import (
    FloatArray,
    Region,
    Shape,
    as_points,
    fill_polygon,
    fill_runs,
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

Element = ElementTree.Element

_SHAPES = ("polygon", "box", "ellipse", "mask")
_NO_AREA = ("polyline", "points", "cuboid", "skeleton")
_CORNERS_OF_ELLIPSE = 72
_LOOKED_AT = 4096  # bytes in which the root element must stand


class _Builder(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE, which CVAT never writes: entities in it can grow without bound or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeError


class _DoctypeError(Exception):
    pass


def detect(source: Path, options: Options) -> str | None:
    """An XML file whose root is ``annotations``."""
    found = _label_files(source)
    return f"'{found[0]}' is an XML file of annotations" if found else None


def _label_files(source: Path) -> list[Path]:
    return label_files(source, ".xml", _is_cvat)


def _is_cvat(path: Path) -> bool:
    """Whether the root is ``<annotations>``; VOC's boxes have ``<annotation>``."""
    with path.open("rb") as file:
        return b"<annotations>" in file.read(_LOOKED_AT)


def read(source: Path, options: Options) -> Reading:
    """All pictures of the XML files, whether or not something is labelled in them.

    Raises:
        DataError: no such file, one that is no XML, a DOCTYPE, tracks of a video, or an attribute that is missing or
            no number.
    """
    paths = _label_files(source)
    for path in label_files(source, ".xml", lambda path: path not in paths):
        _parse(path, options.max_bytes)  # one that cannot be parsed could hold the labels of a split
    if not paths:
        raise DataError(f"'{source}' holds no CVAT XML", fix="export the task as 'CVAT for images 1.1'")
    root = source if source.is_dir() else source.parent
    notes = Notes()
    trees = {path: _parse(path, options.max_bytes) for path in paths}
    labels = _labels(trees)
    table = label_table(labels, options, notes, paths[0])
    overlap = notes.overlap(options, "order")
    pictures = Pictures(root)
    samples: list[Sample] = []
    kinds: Counter[str] = Counter()
    for path, tree in trees.items():
        pictures.require([safe_name(image.get("name", ""), path) for image in tree.iter("image")], path)
        for image in tree.iter("image"):
            kinds.update(shape.tag for shape in image)
            samples.append(_sample(image, path, pictures, table, overlap, notes))
    tell_unnamed(root, samples, notes)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no shapes"
    understood = f"CVAT XML: {counted(len(samples), 'image')}, {counted(len(labels), 'class')}; {found}"
    return Reading(understood, table.classes, samples, notes)


def _parse(path: Path, max_bytes: int) -> Element:
    try:
        tree = ElementTree.fromstring(label_bytes(path, max_bytes), ElementTree.XMLParser(target=_Builder()))
    except _DoctypeError as reason:
        raise DataError(
            f"'{path}' declares a DOCTYPE, which no CVAT export does", fix="remove it if you trust the file"
        ) from reason
    except (ElementTree.ParseError, ValueError, LookupError) as reason:  # the latter two: encodings nobody knows
        raise DataError(f"'{path}' is no XML ({reason})", fix="export it again") from reason
    if tree.find("track") is not None:
        raise DataError(f"'{path}' holds tracks of a video", fix="export the task as 'CVAT for images 1.1'")
    return tree


def _labels(trees: dict[Path, Element]) -> list[str]:
    """The labels of the tasks, and those that only shapes name, each once."""
    named = [label.text or "" for tree in trees.values() for label in tree.findall("./meta//labels/label/name")]
    shapes = (shape for tree in trees.values() for image in tree.iter("image") for shape in image)
    used = [shape.get("label", "") for shape in shapes if shape.tag in _SHAPES]
    return list(dict.fromkeys(name.strip() for name in (*named, *used) if name.strip()))


def _sample(image: Element, path: Path, pictures: Pictures, table: LabelTable, overlap: str, notes: Notes) -> Sample:
    name = safe_name(image.get("name", ""), path)
    split = split_of([image.get("subset", ""), *name.parts])
    where = f"'{path}': image '{name}'"
    size = int(_number(image, "height", where)), int(_number(image, "width", where))
    found = pictures.find(name, path, split)
    draw = partial(_draw, image, where, table, overlap, notes)
    return Sample(stem_of(name), split, found, draw, str(path), size)


def _draw(image: Element, where: str, table: LabelTable, overlap: str, notes: Notes, size: Size) -> IntArray:
    shapes = []
    for element in sorted(image, key=lambda element: _height(element, where)):
        if element.tag in _NO_AREA:
            notes.count(f"shapes of type '{element.tag}' without area, left out", where)
        elif element.tag in _SHAPES:
            shape = _shape(element, table, where, notes, size)
            if shape is None:
                notes.count("polygons of fewer than three corners, left out", where)
            else:
                shapes.append(shape)
        else:
            notes.count(f"elements '{element.tag}' that label no pixels, left out", where)
    return paint(shapes, size, table, overlap, notes)


def _height(element: Element, where: str) -> float:
    return _number(element, "z_order", where) if "z_order" in element.attrib else 0.0


def _shape(element: Element, table: LabelTable, where: str, notes: Notes, size: Size) -> Shape | None:
    label = element.get("label", "").strip()
    if label not in table.value:
        raise DataError(f"{where} has a {element.tag} without a label", fix="label it, or remove it")
    value = table.value[label]
    if element.tag == "mask":
        return _bitmap(element, value, where)
    points = _outline(element, where)
    if len(points) < 3:
        return None
    tell_outside(points, size, notes, where)
    return Shape(value, polygon_area(points), partial(fill_polygon, points))


def _outline(element: Element, where: str) -> FloatArray:
    if element.tag == "polygon":
        return as_points([pair.split(",") for pair in element.get("points", "").split(";") if pair.strip()], where)
    if element.tag == "box":
        left, top, right, bottom = (_number(element, name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
        points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    else:
        x, y, across, down = (_number(element, name, where) for name in ("cx", "cy", "rx", "ry"))
        turns = np.arange(_CORNERS_OF_ELLIPSE) * (2 * math.pi / _CORNERS_OF_ELLIPSE)
        points = np.stack([x + across * np.cos(turns), y + down * np.sin(turns)], axis=1).tolist()
    corners = as_points(points, where)
    angle = math.radians(_number(element, "rotation", where)) if "rotation" in element.attrib else 0.0
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return corners if angle == 0 else (corners - centre) @ turn + centre


def _bitmap(element: Element, value: int, where: str) -> Shape:
    left, top, width, height = (int(_number(element, name, where)) for name in ("left", "top", "width", "height"))
    try:
        counts = np.array([int(count) for count in element.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError) as reason:
        raise DataError(f"{where} has a mask whose rle is no list of numbers", fix="export it again") from reason

    def fill(size: Size) -> Region | None:
        if not (0 < width <= size[1] and 0 < height <= size[0]):
            raise DataError(f"{where} has a mask of {width}x{height} px (width x height)", fix="export it again")
        return place(fill_runs(counts, (height, width), where, by_columns=False), top, left, size)

    return Shape(value, float(counts[1::2].sum()), fill)


def _number(element: Element, name: str, where: str) -> float:
    """A finite attribute.

    Raises:
        DataError: it is missing, or none.
    """
    try:
        number = float(element.get(name, ""))
    except ValueError:
        number = math.nan
    if not abs(number) <= 1e7:
        given = f"{name}='{element.get(name)}'" if name in element.attrib else f"no {name}"
        raise DataError(f"{where} has a {element.tag} with {given}", fix="it must be a number: export it again")
    return number
