"""Label Studio JSON: polygons, rectangles, ellipses and brush strokes, with coordinates in percent of the picture.

Brush strokes are RGBA pictures packed by thi.ng's rle-pack: a stream of bits that holds the number of values, how many
bits a value has, four sizes of counts, and then runs of one value or of different ones.
"""

import math
import re
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, RootModel, ValidationError

from segwright.data.formats.files import (
    Pictures,
    has_keys,
    label_files,
    parse_json,
    refuse_bad_json,
    safe_name,
    split_of,
    stem_of,
    tell_unnamed,
)
from segwright.data.formats.fill import (
    FloatArray,
    Region,
    Shape,
    as_points,
    fill_polygon,
    paint,
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
from segwright.runtime.images import SUFFIXES

_KEYS = (b'"annotations"', b'"result"', b'"from_name"')
_LABELS = re.compile(r"(polygon|rectangle|ellipse|brush)labels")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_CORNERS_OF_ELLIPSE = 72

Percent = Annotated[FiniteFloat, Field(ge=-1e5, le=1e5)]


class _Value(BaseModel):
    points: list[tuple[Percent, Percent]] = []
    x: Percent = 0.0
    y: Percent = 0.0
    width: Percent = 0.0
    height: Percent = 0.0
    radiusX: Percent = 0.0  # noqa: N815  Label Studio's name
    radiusY: Percent = 0.0  # noqa: N815
    rotation: Percent = 0.0
    rle: list[Annotated[int, Field(ge=0, le=255)]] = []


class _Result(BaseModel):
    type: str = ""
    original_width: int | None = None
    original_height: int | None = None
    value: dict[str, Any] = {}


class _Annotation(BaseModel):
    was_cancelled: bool = False
    result: list[_Result] = []


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Annotation] = []


class _File(RootModel[list[_Task]]):
    pass


def detect(source: Path, options: Options) -> str | None:
    """A JSON file with annotations, result and from_name."""
    found = _label_files(source, options)
    return f"'{found[0]}' has annotations, result and from_name" if found else None


def _label_files(source: Path, options: Options) -> list[Path]:
    return label_files(source, ".json", lambda path: has_keys(path, _KEYS, options.max_bytes))


def read(source: Path, options: Options) -> Reading:
    """All tasks with an annotation; of several annotations of a task the first one that was not cancelled.

    Raises:
        DataError: a file of the wrong shape, one that is no JSON, or a picture that is nowhere.
    """
    paths = _label_files(source, options)
    refuse_bad_json(source, paths, options.max_bytes)
    if not paths:
        raise DataError(f"'{source}' holds no Label Studio JSON", fix="export the project as JSON (not JSON-MIN)")
    notes = Notes()
    files = {path: parse_json(path, _File, "Label Studio JSON", options.max_bytes).root for path in paths}
    labels = dict.fromkeys(
        label for tasks in files.values() for task in tasks for result in _results(task) if (label := _label_of(result))
    )
    table = label_table(list(labels), options, notes, paths[0])
    overlap = notes.overlap(options, "order")
    pictures = Pictures(source if source.is_dir() else source.parent)
    samples: list[Sample] = []
    kinds: Counter[str] = Counter()
    for path, tasks in files.items():
        for number, task in enumerate(tasks):
            where = f"'{path}': task {number}"
            if not any(not annotation.was_cancelled for annotation in task.annotations):
                notes.count("tasks without annotation, left out", where)
                continue
            kinds.update(result.type for result in _results(task))
            samples.append(_sample(task, where, pictures, table, overlap, notes))
    tell_unnamed(pictures.root, samples, notes)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no shapes"
    understood = f"Label Studio: {counted(len(samples), 'picture')}, {counted(len(labels), 'label')}; {found}"
    return Reading(understood, table.classes, samples, notes)


def _results(task: _Task) -> list[_Result]:
    kept = [annotation for annotation in task.annotations if not annotation.was_cancelled]
    return kept[0].result if kept else []


def _label_of(result: _Result) -> str:
    """The first label of a shape with an area; empty for anything else."""
    names = result.value.get(result.type) if _LABELS.fullmatch(result.type) else None
    return str(names[0]).strip() if isinstance(names, list) and names else ""


def _sample(task: _Task, where: str, pictures: Pictures, table: LabelTable, overlap: str, notes: Notes) -> Sample:
    name = _picture_name(task, where)
    image = _found(pictures, name, where)
    inside = PurePosixPath(image.relative_to(pictures.root).as_posix())
    results = _results(task)
    if sum(not annotation.was_cancelled for annotation in task.annotations) > 1:
        notes.count("tasks of several annotations, of which the first is read", where)
    sizes = {(result.original_height, result.original_width) for result in results if _label_of(result)}
    if len(sizes) > 1:
        raise DataError(f"{where} gives its picture {len(sizes)} sizes", fix="label it anew, or remove the task")
    height, width = next(iter(sizes), (None, None))
    size = (height, width) if height and width else None
    draw = partial(_draw, results, table, overlap, notes, where)
    return Sample(stem_of(PurePosixPath(inside.name)), split_of(inside.parts[:-1]), image, draw, where, size)


def _picture_name(task: _Task, where: str) -> str:
    """The file's name at the end of the address that a task holds."""
    texts = [value for value in task.data.values() if isinstance(value, str)]
    bare = [re.split(r"[?&]d=", text)[-1].split("?")[0].replace("\\", "/").rsplit("/", 1)[-1] for text in texts]
    name = next((name for name in bare if Path(name).suffix.lower() in SUFFIXES), None)
    if name is None:
        raise DataError(f"{where} names no picture", fix="remove the task, or name a picture in its data")
    return name


def _found(pictures: Pictures, name: str, where: str) -> Path:
    """The picture, also under the name that it had before it was uploaded, or before the address escaped it."""
    plain = unquote(name).replace("\\", "/").rpartition("/")[2]
    names = dict.fromkeys((name, plain, _UPLOADED.sub("", name), _UPLOADED.sub("", plain)))
    for other in list(names)[:-1]:
        try:
            return pictures.find(safe_name(other, where), where)
        except DataError:
            continue
    return pictures.find(safe_name(list(names)[-1], where), where)


def _draw(results: list[_Result], table: LabelTable, overlap: str, notes: Notes, where: str, size: Size) -> IntArray:
    shapes = []
    for number, result in enumerate(results):
        place = f"{where}: result.{number}"
        label = _label_of(result)
        if not label:
            notes.count(f"results of type '{result.type}' without area or label, left out", place)
            continue
        shape = _shape(result, table.value[label], place, notes, size)
        if shape is None:
            notes.count("polygons of fewer than three corners, left out", place)
        else:
            shapes.append(shape)
    return paint(shapes, size, table, overlap, notes)


def _shape(result: _Result, value: int, where: str, notes: Notes, size: Size) -> Shape | None:
    try:
        numbers = _Value.model_validate(result.value)
    except ValidationError as reason:
        first = reason.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{where} has no usable value at {place} ({first['msg'].lower()})", fix="export it again"
        ) from reason
    if result.type == "brushlabels":
        inside = _stroke(bytes(numbers.rle), size, where)
        return Shape(value, float(inside.sum()), lambda size: Region(0, 0, inside))
    points = _outline(result.type, numbers, where, size)
    if len(points) < 3:
        return None
    tell_outside(points, size, notes, where)
    return Shape(value, polygon_area(points), partial(fill_polygon, points))


def _outline(kind: str, value: _Value, where: str, size: Size) -> FloatArray:
    """Corners in pixels; a rectangle turns about its first corner, an ellipse about its centre."""
    scale = np.array([size[1] / 100, size[0] / 100])
    if kind == "polygonlabels":
        polygon: FloatArray = as_points(value.points, where) * scale
        return polygon
    if kind == "rectanglelabels":
        corners = np.array([[0, 0], [value.width, 0], [value.width, value.height], [0, value.height]])
    else:
        turns = np.arange(_CORNERS_OF_ELLIPSE) * (2 * math.pi / _CORNERS_OF_ELLIPSE)
        corners = np.stack([value.radiusX * np.cos(turns), value.radiusY * np.sin(turns)], axis=1)
    angle = math.radians(value.rotation)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return as_points((corners * scale) @ turn + np.array([value.x, value.y]) * scale, where)


def _stroke(data: bytes, size: Size, where: str) -> NDArray[np.bool_]:
    """(height, width) pixels with alpha of a packed RGBA picture.

    Raises:
        DataError: not one, or of another size.
    """
    try:
        values = unpack_values(data, 4 * size[0] * size[1])
    except ValueError as reason:
        raise DataError(
            f"{where} has a brush stroke that cannot be unpacked ({reason})", fix="export it again"
        ) from reason
    return values.reshape(*size, 4)[..., 3] > 0


def unpack_values(data: bytes, count: int) -> NDArray[np.int64]:
    """The values in a stream of rle-pack.

    Args:
        data: the stream.
        count: of the values that are wanted.

    Raises:
        ValueError: another number of values, or a stream that ends too early.
    """
    bits, position = 8 * len(data), 0

    def read(size: int) -> int:
        nonlocal position
        position += size
        if position > bits:
            raise ValueError("it ends too early")
        first, last = (position - size) // 8, (position + 7) // 8
        return int.from_bytes(data[first:last]) >> (8 * last - position) & ((1 << size) - 1)

    if read(32) != count:
        raise ValueError("it is of another size than the picture")
    word = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values, done = np.zeros(count, np.int64), 0
    while done < count:
        is_run, length = read(1), read(sizes[read(2)]) + 1
        end = done + length
        if end > count:
            raise ValueError("it holds more values than it says")
        values[done:end] = read(word) if is_run else [read(word) for _ in range(length)]
        done = end
    return values
