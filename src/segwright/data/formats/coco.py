"""COCO JSON: polygons, and run lengths as lists or as strings."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from segwright.data.formats.files import (
    Pictures,
    has_keys,
    label_files,
    parse_json,
    refuse_bad_json,
    refuse_unlike,
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
    decompress_runs,
    fill_polygon,
    fill_runs,
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

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_PANOPTIC = (b'"segments_info"',)
_NAMED = "instances"


class _Image(BaseModel):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Category(BaseModel):
    id: int
    name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int
    segmentation: Any = None


class _File(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


class _Runs(BaseModel):
    size: tuple[int, int]
    counts: str | list[int]


def detect(source: Path, options: Options) -> str | None:
    """A JSON file with images, annotations and categories."""
    found = _label_files(source, options)
    return f"'{found[0]}' has images, annotations and categories" if found else None


def _label_files(source: Path, options: Options) -> list[Path]:
    limit = options.max_bytes
    return label_files(
        source, ".json", lambda path: has_keys(path, _KEYS, limit) and not has_keys(path, _PANOPTIC, limit)
    )


def read(source: Path, options: Options) -> Reading:
    """One JSON file for each split, or one for all.

    Raises:
        DataError: files of the wrong shape, with different categories, or two for one split; a file that is no JSON;
            not one outline.
    """
    found = _label_files(source, options)
    refuse_bad_json(source, found, options.max_bytes)
    refuse_unlike(source, found, _KEYS, _NAMED, options.max_bytes)
    paths = _one_for_each_split(source, found)
    root = source if source.is_dir() else root_of(source)
    notes = Notes()
    files = {path: parse_json(path, _File, "COCO JSON", options.max_bytes) for path in paths}
    for path in paths:
        _same_categories(paths[0], files[paths[0]], path, files[path])
    categories = {category.id: category.name.strip() for category in files[paths[0]].categories}
    table = label_table([category.name for category in files[paths[0]].categories], options, notes, paths[0])
    overlap = notes.overlap(options, "area")
    pictures = Pictures(root)
    samples: list[Sample] = []
    for path, content in files.items():
        values = {number: table.value[name] for number, name in categories.items()}
        samples += _samples(path, content, values, table, overlap, pictures, notes)
    tell_unnamed(root, samples, notes)
    kinds = [annotation.segmentation for content in files.values() for annotation in content.annotations]
    if samples and not any(kinds):
        raise DataError(
            f"not one of {counted(len(kinds), 'annotation')} in '{paths[0]}'{' and others' * (len(paths) > 1)} "
            "has an outline",
            fix="export polygons or masks as 'segmentation': boxes and points have no area",
        )
    polygons, runs = sum(isinstance(kind, list) for kind in kinds), sum(isinstance(kind, dict) for kind in kinds)
    named = ", ".join(path.name for path in paths)
    understood = (
        f"COCO JSON ({named}): {counted(len(samples), 'image')}, {counted(len(categories), 'class')}, "
        f"{counted(polygons, 'annotation')} as polygons, {runs} as RLE"
    )
    return Reading(understood, table.classes, samples, notes)


def root_of(path: Path) -> Path:
    """Where the pictures of a label file may lie: beside it, or beside the folder ``annotations`` that it is in."""
    return path.parent.parent if path.parent.name.lower() in ("annotations", "annotation", "labels") else path.parent


def split_of_file(path: Path) -> str | None:
    """The split in a label file's name, as of ``instances_train2017.json``."""
    words = path.stem.replace("-", "_").split("_")
    return split_of([word.rstrip("0123456789") for word in (*words, path.parent.name)])


def _one_for_each_split(source: Path, paths: Sequence[Path]) -> list[Path]:
    """The files to read; of several for a split the one called ``instances_...``.

    Raises:
        DataError: no file, or several that could be meant.
    """
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for path in paths:
        by_split[split_of_file(path)].append(path)
    if not paths:
        raise DataError(
            f"'{source}' holds no JSON file with images, annotations and categories",
            fix="give the folder of a COCO export, or its JSON file",
        )
    chosen = []
    for split, files in by_split.items():
        named = [path for path in files if path.name.startswith(_NAMED)] or files
        if len(named) > 1 or (split is None and len(by_split) > 1):
            others = [path for path in paths if path != named[0]]
            raise DataError(
                f"'{named[0]}' and '{others[0]}' could both label {split or 'the same pictures'}",
                fix="give the one file as SRC, or name files after their splits, as instances_train.json",
            )
        chosen += named
    return chosen


def _same_categories(first: Path, content: _File, path: Path, other: _File) -> None:
    for number, count in Counter(category.id for category in other.categories).items():
        if count > 1:
            raise DataError(f"'{path}' gives the category id {number} twice", fix="give each category its own id")
    here, there = ({c.id: c.name.strip() for c in file.categories} for file in (content, other))
    if here != there:
        number = next(n for n in sorted(here.keys() | there) if here.get(n) != there.get(n))
        raise DataError(
            f"category {number} is {here.get(number)!r} in '{first}' and {there.get(number)!r} in '{path}'",
            fix="export all splits with the same categories",
        )


def _samples(
    path: Path,
    content: _File,
    values: dict[int, int],
    table: LabelTable,
    overlap: str,
    pictures: Pictures,
    notes: Notes,
) -> list[Sample]:
    of_image: dict[int | str, list[tuple[int, _Annotation]]] = {image.id: [] for image in content.images}
    if len(of_image) < len(content.images):
        raise DataError(f"'{path}' gives an image id twice", fix="give each image its own id")
    for number, annotation in enumerate(content.annotations):
        if annotation.image_id not in of_image or annotation.category_id not in values:
            what = "image" if annotation.image_id not in of_image else "category"
            wrong = annotation.image_id if what == "image" else annotation.category_id
            raise DataError(
                f"'{path}': annotations.{number} names {what} {wrong!r}, which does not exist", fix="mend or remove it"
            )
        of_image[annotation.image_id].append((number, annotation))
    split = split_of_file(path)
    samples = []
    names = [safe_name(image.file_name, path) for image in content.images]
    pictures.require(names, path, near=path.parent)
    for image, name in zip(content.images, names, strict=True):
        if not of_image[image.id]:
            notes.count("pictures without annotation, all unlabelled", name)
        draw = partial(_draw, of_image[image.id], values, table, overlap, path, notes)
        size = (image.height, image.width) if image.height is not None and image.width is not None else None
        found = pictures.find(name, path, split, near=path.parent)
        samples.append(Sample(stem_of(name), split, found, draw, str(path), size))
    return samples


def _draw(
    annotations: Sequence[tuple[int, _Annotation]],
    values: dict[int, int],
    table: LabelTable,
    overlap: str,
    path: Path,
    notes: Notes,
    size: Size,
) -> IntArray:
    shapes = []
    for number, annotation in annotations:
        shape = _shape(annotation, values[annotation.category_id], f"'{path}': annotations.{number}", notes, size)
        if shape is None:
            notes.count("annotations without outline (a box at most), left out", f"'{path}': annotations.{number}")
        else:
            shapes.append(shape)
    return paint(shapes, size, table, overlap, notes)


def _shape(annotation: _Annotation, value: int, where: str, notes: Notes, size: Size) -> Shape | None:
    outline = annotation.segmentation
    if not outline:
        return None
    if isinstance(outline, dict):
        try:
            runs = _Runs.model_validate(outline)
            counts = decompress_runs(runs.counts, where) if isinstance(runs.counts, str) else np.array(runs.counts)
            counts = counts.astype(np.int64)
        except (ValidationError, OverflowError) as reason:
            raise DataError(f"{where} is no RLE with size and counts", fix="mend or remove it") from reason
        return Shape(value, float(counts[1::2].sum()), partial(_fill_runs, counts, runs.size, where))
    if not isinstance(outline, list):
        raise DataError(f"{where}.segmentation is neither polygons nor RLE", fix="mend or remove it")
    parts = [as_points(part, where) for part in (outline if isinstance(outline[0], list) else [outline])]
    whole = [part for part in parts if len(part) >= 3]
    if len(whole) < len(parts):
        notes.count("polygons of fewer than three corners, left out", where, len(parts) - len(whole))
    for part in whole:
        tell_outside(part, size, notes, where)
    if not whole:
        return Shape(value, 0.0, lambda size: None)
    return Shape(value, sum(map(polygon_area, whole)), partial(_fill_parts, whole))


def _fill_parts(parts: Sequence[FloatArray], size: Size) -> Region | None:
    """All parts of an annotation together."""
    regions = [region for part in parts if (region := fill_polygon(part, size))]
    if len(regions) < 2:
        return regions[0] if regions else None
    inside = np.zeros(size, bool)
    for region in regions:
        height, width = region.inside.shape
        inside[region.top : region.top + height, region.left : region.left + width] |= region.inside
    return Region(0, 0, inside)


def _fill_runs(counts: Any, size: Size, where: str, picture: Size) -> Region:
    if size != picture:
        raise DataError(
            f"{where} has an RLE of size {list(size)}, and its picture is {list(picture)} (height, width)",
            fix="export it again, or remove it",
        )
    return Region(0, 0, fill_runs(counts, size, where))
