"""A data set on disk: ``data.yaml``, or a folder whose layout we recognise, as pairs of pictures and masks."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import yaml

from segwright.data.endings import how_masks_end
from segwright.data.masks import IGNORE, Labels, ignore_index_of
from segwright.errors import DataError, did_you_mean
from segwright.info import Colour, generic_palette
from segwright.runtime.images import ARRAY_SUFFIXES
from segwright.runtime.listing import files_below
from segwright.strict_yaml import read_yaml

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jpg", ".jpeg")
SPLITS = ("train", "val", "test")

_KEYS = ("path", *SPLITS, "classes", "palette", "ignore", "map")


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; they share their path below the two folders, up to the suffix."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Folders:
    """Where the pictures and the masks of one split lie, and which files belong to it.

    Args:
        images: of the pictures.
        masks: of the masks.
        stems: paths without suffix and ending that belong to the split; all when ``None``.
        image_ending: what the pictures' names end in before the suffix, as ``_leftImg8bit``; others are left out.
        mask_ending: what the masks' names end in.
    """

    images: Path
    masks: Path
    stems: frozenset[str] | None = None
    image_ending: str = ""
    mask_ending: str = ""

    def find_images(self) -> "FoundFiles":
        """The pictures; raises as :func:`find_files`."""
        return find_files(self.images, IMAGE_SUFFIXES, self.stems, self.image_ending)

    def find_masks(self) -> "FoundFiles":
        """The masks; raises as :func:`find_files`."""
        return find_files(self.masks, MASK_SUFFIXES, self.stems, self.mask_ending)


@dataclass(frozen=True)
class SegmentationData:
    """A data set: its splits and what its mask values mean.

    Args:
        name: of the folder, for run names.
        folders: of each split.
        labels: classes, palette, ignored values and map.
        understood: what was recognised without a data.yaml, one sentence each; empty with one.
        source: the data.yaml, or the folder that was recognised; ``None`` where there is neither.
    """

    name: str
    folders: Mapping[str, Folders]
    labels: Labels
    understood: tuple[str, ...] = ()
    source: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        return self.labels.palette

    def pairs(self, split: str) -> list[Pair]:
        """The pairs of a split, sorted by path.

        Raises:
            DataError: no such split, no picture in it, or a picture or mask without its partner.
        """
        return find_pairs(self.folders_of(split))

    def folders_of(self, split: str) -> Folders:
        """Where a split lies.

        Raises:
            DataError: no such split.
        """
        if split not in self.folders:
            fix = f"it has: {', '.join(self.folders)}"
            if split in SPLITS:
                fix += (
                    f"; add '{split}: {{images: ..., masks: ...}}' to data.yaml, or share the pictures out: "
                    f"segwright data split {self.source or 'DATA'} --to NEW"
                )
            raise DataError(f"data set '{self.name}' has no split '{split}'", fix=fix)
        return self.folders[split]

    def to_yaml(self, root: Path) -> str:
        """The data set as the text of a data.yaml that lies in ``root``.

        Raises:
            DataError: a split that is part of a folder, which data.yaml cannot say.
        """
        content: dict[str, Any] = {"path": "."}
        for split, folders in self.folders.items():
            if folders.stems is not None or folders.image_ending or folders.mask_ending:
                what = "tells its files by their names' ends" if folders.stems is None else "is a share of one folder"
                raise DataError(
                    f"split '{split}' of '{self.name}' {what}, which data.yaml cannot say",
                    fix="move the pictures and masks of each split into folders of their own, under equal names",
                )
            content[split] = {"images": _below(folders.images, root), "masks": _below(folders.masks, root)}
        content["classes"] = dict(enumerate(self.classes))
        if palette := self._stated_palette():
            content["palette"] = palette
        content["ignore"] = list(self.labels.ignore)
        if self.labels.map:
            keys = {raw: raw if isinstance(raw, int) else ",".join(map(str, raw)) for raw in self.labels.map}
            content["map"] = {keys[raw]: name for raw, name in self.labels.map.items()}
        return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True)

    def _stated_palette(self) -> dict[str, list[int]]:
        """Colours that do not come about by themselves: RGB masks must not be read by colours nobody stated."""
        generic = generic_palette(len(self.classes))
        return {
            name: list(colour)
            for name, colour, own in zip(self.classes, self.palette, generic, strict=True)
            if self.labels.palette_is_stated or colour != own
        }


class FoundFiles(NamedTuple):
    """The files of a folder by their path without suffix, and pairs of files that share it."""

    by_stem: dict[str, Path]
    twins: list[tuple[Path, Path]]


def find_pairs(folders: Folders) -> list[Pair]:
    """Match pictures and masks by their path without suffix.

    Raises:
        DataError: a folder that is missing, empty or may not be read, two files of one stem, or a file without its
            partner (all are listed).
    """
    found_images, found_masks = folders.find_images(), folders.find_masks()
    for twins in (*found_images.twins, *found_masks.twins):
        raise same_stem(*twins)
    images, masks = found_images.by_stem, found_masks.by_stem
    if not images:
        raise no_picture(folders.images)
    for found, others, what, where in (
        (images, masks, "mask", folders.masks),
        (masks, images, "picture", folders.images),
    ):
        lonely = [path for stem, path in found.items() if stem not in others]
        if lonely:
            listed = ", ".join(f"'{path}'" for path in lonely[:5])
            more = f" and {len(lonely) - 5} more" if len(lonely) > 5 else ""
            raise DataError(
                f"{len(lonely)} of {len(found)} files have no {what} of the same stem in '{where}': {listed}{more}",
                fix=f"add each {what}, or remove the file{how_masks_end(images, masks)}",
            )
    return [Pair(images[stem], masks[stem]) for stem in sorted(images)]


def find_files(
    folder: Path, suffixes: Sequence[str], stems: frozenset[str] | None = None, ending: str = ""
) -> FoundFiles:
    """The files below a folder, hidden ones left out and links to folders followed, sorted by path.

    Args:
        folder: where to look, at any depth.
        suffixes: that count, in lower case. Where ``IMAGE_SUFFIXES`` find nothing, ``ARRAY_SUFFIXES`` count.
        stems: paths without suffix to keep; all when ``None``.
        ending: that names have before their suffix and that is no part of the stem; others are left out.

    Raises:
        DataError: no such folder, or one that may not be read.
    """
    if not folder.is_dir():
        raise DataError(f"folder '{folder}' does not exist", fix="mend its path in data.yaml, or add the folder")
    found = FoundFiles({}, [])
    for path in sorted(files_below(folder)):
        name = path.relative_to(folder).with_suffix("").as_posix()
        stem = name.removesuffix(ending)
        if path.suffix.lower() not in suffixes or (stems is not None and stem not in stems):
            continue
        if ending and stem == name:
            continue
        if stem in found.by_stem:
            found.twins.append((found.by_stem[stem], path))
        else:
            found.by_stem[stem] = path
    is_empty = not found.by_stem and suffixes == IMAGE_SUFFIXES
    return find_files(folder, ARRAY_SUFFIXES, stems, ending) if is_empty else found


def same_stem(first: Path, second: Path) -> DataError:
    """The error for two files of one stem in one folder."""
    return DataError(f"'{first}' and '{second}' have the same stem", fix="keep one of the two")


def no_picture(folder: Path) -> DataError:
    """The error for a split without pictures."""
    return DataError(f"no picture in '{folder}'", fix=f"put pictures there: {', '.join(IMAGE_SUFFIXES)}")


def _below(folder: Path, root: Path) -> str:
    """The path relative to ``root`` where it lies in it, else the whole path."""
    return (folder.relative_to(root) if folder.is_relative_to(root) else folder.resolve()).as_posix()


def read_data_yaml(path: Path) -> SegmentationData:
    """The data set that a data.yaml describes (design: path, splits, classes, palette, ignore, map).

    Raises:
        DataError: bad YAML, unknown keys, classes that are not numbered from 0, or an unknown class name.
    """
    content = read_yaml(path, error=DataError)
    for key in content:
        if key not in _KEYS:
            raise DataError(
                f"'{path}' has the unknown key '{key}'{did_you_mean(str(key), _KEYS)}",
                fix=f"known keys: {', '.join(_KEYS)}",
            )
    classes = class_names(content.get("classes"), path)
    stated = stated_palette(content.get("palette") or {}, classes, path)
    generic = dict(zip(classes, generic_palette(len(classes)), strict=True))
    table = _map(content.get("map") or {}, classes, path)
    labels = Labels(
        classes=classes,
        palette=tuple({**generic, **stated}[name] for name in classes),
        ignore=_ignored(content, len(classes), table, path),
        map=table,
        palette_is_stated=len(stated) == len(classes),
    )
    root = path.parent / _expanded(str(content.get("path", ".")), path)
    folders = {split: _folders(content[split], root, split, path) for split in SPLITS if split in content}
    if not folders:
        raise DataError(f"'{path}' names no split", fix="add 'train: {images: images/train, masks: masks/train}'")
    return SegmentationData(path.resolve().parent.name, folders, labels, source=path)


def _expanded(place: str, path: Path) -> Path:
    """A path with ``~`` and ``$VARIABLES`` put in; ``path`` is named in errors.

    Raises:
        DataError: a variable that is not set.
    """
    expanded = os.path.expandvars(place)
    if missing := re.search(r"\$(\w+|\{\w+\})", expanded):
        raise DataError(
            f"'{path}': path '{place}' needs {missing[0]}, which is not set", fix=f"export {missing[1]}=..."
        )
    return Path(expanded).expanduser()


def _folders(value: object, root: Path, split: str, path: Path) -> Folders:
    if not isinstance(value, dict) or set(value) != {"images", "masks"}:
        raise DataError(
            f"'{path}': {split} must give 'images' and 'masks', got {value!r}",
            fix=f"write '{split}: {{images: images/{split}, masks: masks/{split}}}'",
        )
    return Folders(root / str(value["images"]), root / str(value["masks"]))


def class_names(value: object, path: Path) -> tuple[str, ...]:
    """The names in order, from a list or a table of index and name; ``path`` is named in errors.

    Raises:
        DataError: no class, a name that is no text or stands twice, or indices with gaps.
    """
    table = dict(enumerate(value)) if isinstance(value, list) else value
    example = "write 'classes: {0: background, 1: road}'"
    if not isinstance(table, dict) or not table:
        raise DataError(f"'{path}' names no classes", fix=example)
    unquoted = {int(index) if _is_quoted(index) else index: name for index, name in table.items()}
    if len(unquoted) < len(table):
        raise DataError(f"'{path}': a class index stands twice, in quotes and without", fix=example)
    table = unquoted
    for index, name in table.items():
        if not _is_number(index) or not isinstance(name, str):
            raise DataError(
                f"'{path}': class '{index}: {name}' is not a number and a name "
                "(YAML reads no, yes, on and off as booleans)",
                fix=f'quote names like "no"; {example}',
            )
    if sorted(table) != list(range(len(table))):
        raise DataError(
            f"'{path}': classes must be numbered 0 to {len(table) - 1} without gaps, got {sorted(table)}",
            fix="number them from 0, and translate the values in the files, as 'map: {7: road}'",
        )
    names = tuple(table[index] for index in range(len(table)))
    twice = [name for name in names if names.count(name) > 1 or name == IGNORE]
    if twice:
        raise DataError(
            f"'{path}': class name '{twice[0]}' stands twice or is reserved", fix="give each class its own name"
        )
    return names


def stated_palette(value: object, classes: Sequence[str], path: Path) -> dict[str, Colour]:
    """Colours by class name; ``path`` is named in errors.

    Raises:
        DataError: an unknown class, a value that is no colour, or a colour of two classes.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"'{path}': palette must map class names to colours", fix="write 'palette: {road: [128, 64, 128]}'"
        )
    palette = {_known_class(name, classes, path, "palette"): _colour(colour, path) for name, colour in value.items()}
    owner: dict[Colour, str] = {}
    for name, colour in palette.items():
        if (first := owner.setdefault(colour, name)) != name:
            raise DataError(
                f"'{path}': two classes share a colour in palette: '{first}' and '{name}' are {list(colour)}",
                fix="give each class its own colour",
            )
    return palette


def _ignored(
    content: Mapping[str, Any], num_classes: int, table: Mapping[int | Colour, str], path: Path
) -> tuple[int, ...]:
    if "ignore" not in content:
        return tuple(v for v in (ignore_index_of(num_classes),) if v not in table)
    value = content["ignore"]
    values = value if isinstance(value, list) else [value]
    if not all(_is_number(v) and 0 <= v < 65536 for v in values):
        raise DataError(f"'{path}': ignore must list mask values, got {value!r}", fix="write 'ignore: [255]'")
    both = [v for v in values if v < num_classes or table.get(v, IGNORE) != IGNORE]
    if both:
        raise DataError(f"'{path}': value {both[0]} is both a class and ignored", fix="take it out of one of the two")
    return tuple(values)


def _map(value: object, classes: Sequence[str], path: Path) -> dict[int | Colour, str]:
    if not isinstance(value, dict):
        raise DataError(f"'{path}': map must translate values to class names", fix="write 'map: {7: road, 12: ignore}'")
    table: dict[int | Colour, str] = {}
    for raw, name in value.items():
        # A class may also be given by its number, as many converters write it.
        target = classes[name] if _is_number(name) and 0 <= name < len(classes) else name
        key = raw if _is_number(raw) else _colour(str(raw), path)
        if isinstance(key, int) and not 0 <= key < 65536:
            raise DataError(f"'{path}': map holds the value {key}", fix="mask values lie in 0..65535")
        table[key] = IGNORE if target == IGNORE else _known_class(target, classes, path, "map")
    return table


def _known_class(name: object, classes: Sequence[str], path: Path, key: str) -> str:
    if name not in classes:
        near = did_you_mean(str(name), classes)
        raise DataError(f"'{path}': {key} names the unknown class '{name}'{near}", fix=f"classes: {', '.join(classes)}")
    return str(name)


def _colour(value: object, path: Path) -> Colour:
    fix = 'write colours as [128, 64, 128] or "128,64,128"'
    try:
        red, green, blue = (int(v) for v in (value.split(",") if isinstance(value, str) else value))  # type: ignore[attr-defined]
    except (TypeError, ValueError) as reason:
        raise DataError(f"'{path}': '{value}' is no colour", fix=fix) from reason
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise DataError(f"'{path}': colour {value} leaves 0..255", fix=fix)
    return red, green, blue


def _is_quoted(index: object) -> bool:
    """Whether it is a number that stands in quotes in data.yaml."""
    return isinstance(index, str) and index.isascii() and index.isdecimal()


def _is_number(value: object) -> TypeGuard[int]:
    """Whether YAML read a whole number; Python counts its booleans among them."""
    return isinstance(value, int) and not isinstance(value, bool)
