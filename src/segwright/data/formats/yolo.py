"""YOLO segmentation: a YAML file with names, and for each picture outlines in shares of its width and height."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from segwright.data.dataset import SPLITS, class_names
from segwright.data.formats.files import Pictures, files_below, pictures_below, safe_name, tell_unnamed
from segwright.data.formats.fill import Shape, as_points, fill_polygon, paint, polygon_area, tell_outside
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
from segwright.strict_yaml import read_yaml

_IMAGES, _LABELS = "images", "labels"
_BOX = 5  # words in the line of a box: class, centre, width and height
_FARTHEST = 10.0  # shares of the picture; more is a coordinate in pixels
_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def detect(source: Path, options: Options) -> str | None:
    """A YAML file with names and splits."""
    found = _yaml_files(source)
    return f"'{found[0]}' has names and splits" if found else None


def _yaml_files(source: Path) -> list[Path]:
    """The dataset YAML: the file itself, or those with names at the top of the folder."""
    found = []
    files = [source] if source.is_file() else [*sorted(source.glob("*.yaml")), *sorted(source.glob("*.yml"))]
    for path in files:
        if path.suffix.lower() not in (".yaml", ".yml"):
            continue
        try:
            content = read_yaml(path, error=DataError)
        except DataError:
            continue
        if "names" in content and any(key in content for keys in _KEYS.values() for key in keys):
            found.append(path)
    return found


def read(source: Path, options: Options) -> Reading:
    """The pictures of each split with their outlines; no text file means background.

    Raises:
        DataError: no dataset YAML or several, a split that leads out of the data set, or a line that is no outline.
    """
    paths = _yaml_files(source)
    if len(paths) > 1:
        raise DataError(f"'{paths[0]}' and '{paths[1]}' both name classes", fix="give the one that is meant as SRC")
    if not paths:
        raise DataError(
            f"'{source}' has no YAML file with 'names' and 'train'",
            fix="write one: names: {0: car}, train: images/train",
        )
    path, notes = paths[0], Notes()
    content = read_yaml(path, error=DataError)
    names = class_names(content["names"], path)
    table = label_table(names, options, notes, path)
    overlap = notes.overlap(options, "area")
    root, base = path.parent, str(content.get("path", ""))
    pictures = Pictures(root)
    samples, used, has_outline = [], set(), False
    for split in SPLITS:
        for key in [key for key in _KEYS[split] if content.get(key)]:
            for name, image in _pictures_of(content[key], base, path, split, pictures, notes):
                labels = _labels_of(image, root)
                used.add(labels)
                lines = labels.read_bytes().split(b"\n") if labels else []
                has_outline = has_outline or any(len(line.split()) not in (0, _BOX) for line in lines)
                if not any(line.strip() for line in lines):
                    notes.count("pictures without outline (no text file, or an empty one), all background", image)
                values = [table.value[name] for name in names]
                draw = partial(_draw, labels, values, table, overlap, notes)
                samples.append(Sample(name, split, image, draw, str(labels or image)))
    left = [file for file in files_below(root, (".txt",)) if _LABELS in file.parts and file not in used]
    if left:
        notes.count("text files under labels of no picture, left out", left[0], len(left))
    tell_unnamed(root, samples, notes)
    filled = len(used - {None})
    if samples and not has_outline:
        raise _nothing_outlined(path, samples, filled, root)
    found = f"{counted(len(samples), 'picture')}, {counted(len(names), 'class')}, {counted(filled, 'text file')}"
    understood = f"YOLO segmentation ({path.name}): {found}"
    return Reading(understood, table.classes, samples, notes)


def _pictures_of(
    value: object, base: str, path: Path, split: str, pictures: Pictures, notes: Notes
) -> list[tuple[str, Path]]:
    """Stem and file of each picture of a split: of folders, or of text files that list pictures."""
    found = []
    for entry in value if isinstance(value, list) else [value]:
        place = _resolve(str(entry), base, path, split, notes)
        if place is None:
            notes.say(f"{split} '{entry}' is not there: left out")
            continue
        if place.is_dir():
            found += [(_stem(image.relative_to(place)), image) for image in pictures_below(place)]
            continue
        for line in place.read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.strip():
                name = safe_name(line.strip().removeprefix("./"), place)
                image = pictures.find(name, place, split, near=place.parent)
                found.append((_stem(Path(image.name)), image))
    return found


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _resolve(entry: str, base: str, path: Path, split: str, notes: Notes) -> Path | None:
    """The folder or list of a split, in the data set: many YAML files hold paths of the machine they were made on.

    ``None`` for a test split that is nowhere: exports name one also where there is none.

    Raises:
        DataError: train or val is nowhere, or outside of the data set.
    """
    entry, base = entry.replace("\\", "/"), base.replace("\\", "/")
    root = Path(os.path.normpath(path.parent.absolute()))
    bare = PurePosixPath(*[part for part in PurePosixPath(entry).parts if part not in ("..", ".", "/")])
    candidates = [root / base / entry, root / entry, root / bare, root / _IMAGES / split, root / split / _IMAGES]
    for candidate in candidates if entry.isprintable() and base.isprintable() else ():
        place = Path(os.path.normpath(candidate))
        is_list = place.is_file() and place.suffix == ".txt"
        if place.is_relative_to(root) and place != root and (place.is_dir() or is_list):
            if place != Path(os.path.normpath(candidates[0])):
                notes.say(f"{split} '{Path(base, entry)}' is not there: taken for '{place.relative_to(root)}'")
            return path.parent / place.relative_to(root)
    if split == "test":
        return None
    raise DataError(
        f"'{path}': {split} is '{entry}', which is no folder of the data set '{path.parent}'",
        fix=f"write the path below the YAML file, as '{split}: images/{split}'",
    )


def _nothing_outlined(path: Path, samples: Sequence[Sample], filled: int, root: Path) -> DataError:
    image = next(sample.image for sample in samples)
    assert isinstance(image, Path)
    if not filled:
        return DataError(
            f"not one of the {counted(len(samples), 'picture')} of '{path}' has a text file: "
            f"the first, '{image}', would have '{_places_of(image, root)[0]}'",
            fix="put the text files there, or under other paths in the YAML file",
        )
    return DataError(
        f"{counted(filled, 'text file')} of '{path}' and not one outline: lines are empty, or boxes of five numbers",
        fix="export segmentation labels, a class and the corners of its outline in a line: a box has none",
    )


def _labels_of(image: Path, root: Path) -> Path | None:
    """The text file of a picture."""
    return next((place for place in _places_of(image, root) if place.is_file()), None)


def _places_of(image: Path, root: Path) -> list[Path]:
    """Where the text file of a picture may lie: under ``labels`` for ``images``, or beside it."""
    inside = list(image.relative_to(root).parts)
    places = [image.with_suffix(".txt")]
    if _IMAGES in inside:
        last = len(inside) - 1 - inside[::-1].index(_IMAGES)
        inside[last] = _LABELS
        places.insert(0, root.joinpath(*inside).with_suffix(".txt"))
    return places


def _draw(
    labels: Path | None, values: Sequence[int], table: LabelTable, overlap: str, notes: Notes, size: Size
) -> IntArray:
    shapes = []
    text = labels.read_text(encoding="utf-8", errors="replace") if labels else ""
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        where = f"'{labels}' line {number}"
        if not words:
            continue
        if len(words) == _BOX:
            notes.count("lines of boxes without outline, left out", where)
            continue
        index = _class_of(words[0], len(values), where)
        points = as_points(words[1:], where)
        if len(points) < 3:
            notes.count("outlines of fewer than three corners, left out", where)
            continue
        if np.abs(points).max() > _FARTHEST:
            raise DataError(
                f"{where} has the coordinate {np.abs(points).max():g}, which is no share of width or height",
                fix="divide x by the picture's width and y by its height",
            )
        points = points * (size[1], size[0])
        tell_outside(points, size, notes, where)
        shapes.append(Shape(values[index], polygon_area(points), partial(fill_polygon, points)))
    return paint(shapes, size, table, overlap, notes)


def _class_of(word: str, count: int, where: str) -> int:
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    if not 0 <= number < count or number != int(number):
        raise DataError(
            f"{where} begins with '{word}', and classes are numbered 0 to {count - 1}",
            fix="name the class in the YAML file, or remove the line",
        )
    return int(number)
