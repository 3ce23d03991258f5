"""COCO panoptic: PNGs whose colours number segments, and a JSON file that gives each segment its category.

A segment's number is red + 256 green + 65536 blue (https://cocodataset.org/#format-data); 0 is unlabelled.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import BaseModel

from segwright.data.formats import coco
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
    ignored_names,
    refuse_bad_names,
)
from segwright.data.masks import ignore_index_of, read_raw_mask
from segwright.errors import ConfigError, DataError

_KEYS = (b'"images"', b'"annotations"', b'"segments_info"')


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Category(BaseModel):
    id: int
    name: str


class _Segment(BaseModel):
    id: int
    category_id: int


class _Annotation(BaseModel):
    image_id: int | str
    file_name: str
    segments_info: list[_Segment]


class _File(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


def detect(source: Path, options: Options) -> str | None:
    """A JSON file with segments_info."""
    found = _label_files(source, options)
    return f"'{found[0]}' has images, annotations and segments_info" if found else None


def _label_files(source: Path, options: Options) -> list[Path]:
    return label_files(source, ".json", lambda path: has_keys(path, _KEYS, options.max_bytes))


def read(source: Path, options: Options) -> Reading:
    """One JSON file for each split, or one for all; its PNGs lie anywhere below the source.

    Raises:
        DataError: files of the wrong shape or with different categories, a file that is no JSON, a PNG or a picture
            that is nowhere.
    """
    paths = _label_files(source, options)
    refuse_bad_json(source, paths, options.max_bytes)
    refuse_unlike(source, paths, _KEYS, "panoptic", options.max_bytes)
    if not paths:
        raise DataError(
            f"'{source}' holds no JSON file with segments_info", fix="give the folder of both, JSON and PNGs"
        )
    root = source if source.is_dir() else coco.root_of(source)
    notes = Notes()
    files = {path: parse_json(path, _File, "COCO panoptic JSON", options.max_bytes) for path in paths}
    table, names = _table(files, options, notes)
    pictures = Pictures(root)
    samples: list[Sample] = []
    for path, content in files.items():
        samples += _samples(path, content, table, names, pictures, notes)
    segments = sum(len(annotation.segments_info) for content in files.values() for annotation in content.annotations)
    understood = (
        f"COCO panoptic ({', '.join(path.name for path in paths)}): {counted(len(samples), 'image')}, "
        f"{counted(len(table.classes), 'class')}, {counted(segments, 'segment')}; what is in none is ignored"
    )
    return Reading(understood, table.classes, samples, notes)


def _table(files: dict[Path, _File], options: Options, notes: Notes) -> tuple[LabelTable, dict[int, str]]:
    """The classes, and the name of each category id; all files must have the same."""
    (first, content), *others = files.items()
    names = {category.id: category.name.strip() for category in content.categories}
    for path, other in others:
        if {category.id: category.name.strip() for category in other.categories} != names:
            raise DataError(f"'{first}' and '{path}' have different categories", fix="export all splits with the same")
    refuse_bad_names([category.name.strip() for category in content.categories], first)
    ignored = ignored_names(list(names.values()), options, notes)
    classes = tuple(name for name in names.values() if name not in ignored)
    if not classes:
        raise ConfigError("every class is ignored", fix="take names out of --ignore")
    ignore_index = ignore_index_of(len(classes))
    values = {name: position for position, name in enumerate(classes)} | dict.fromkeys(ignored, ignore_index)
    return LabelTable(classes, values, ignore_index), names


def _samples(
    path: Path, content: _File, table: LabelTable, names: dict[int, str], pictures: Pictures, notes: Notes
) -> list[Sample]:
    images = {image.id: safe_name(image.file_name, path) for image in content.images}
    split = coco.split_of_file(path)
    samples, labelled = [], set()
    for number, annotation in enumerate(content.annotations):
        where = f"'{path}': annotations.{number}"
        unknown = [segment.category_id for segment in annotation.segments_info if segment.category_id not in names]
        if annotation.image_id not in images or unknown:
            wrong = f"category {unknown[0]}" if unknown else f"image {annotation.image_id!r}"
            raise DataError(f"{where} names {wrong}, which does not exist", fix="mend or remove it")
        if annotation.image_id in labelled:
            raise DataError(f"{where} labels image {annotation.image_id!r} again", fix="keep one of the two")
        labelled.add(annotation.image_id)
        name = images[annotation.image_id]
        mask = _mask_of(safe_name(annotation.file_name, path), path, pictures)
        values = {segment.id: table.value[names[segment.category_id]] for segment in annotation.segments_info}
        own = split or split_of(word.rstrip("0123456789") for word in name.parts)
        image = pictures.find_other(name, mask, path, own)
        samples.append(Sample(stem_of(name), own, image, partial(_draw, mask, values, table, where), str(mask)))
    left = [name for number, name in images.items() if number not in labelled]
    if left:
        notes.count("pictures without annotation, left out", left[0], len(left))
    return samples


def _mask_of(name: PurePosixPath, path: Path, pictures: Pictures) -> Path:
    """The PNG of an annotation: in the folder called like the JSON file, or wherever there is one of its name."""
    beside = path.with_suffix("") / name
    return beside if beside.is_file() else pictures.find(name, path)


def _draw(mask: Path, values: dict[int, int], table: LabelTable, where: str, size: Size) -> IntArray:
    colours = read_raw_mask(mask).astype(np.int64)
    numbers = colours @ np.array([1, 256, 65536]) if colours.ndim == 3 else colours
    known, of_each = np.unique(numbers, return_inverse=True)
    strange: Sequence[int] = [number for number in known.tolist() if number != 0 and number not in values]
    if strange:
        pixels = int((numbers == strange[0]).sum())
        raise DataError(
            f"mask '{mask}' holds the segment {strange[0]} ({pixels} px), which {where} does not list",
            fix="export it again: the PNG and the JSON file are of different versions",
        )
    indices = np.array([values.get(number, table.unlabelled) for number in known.tolist()])
    drawn: IntArray = indices[of_each].reshape(numbers.shape)
    return drawn
