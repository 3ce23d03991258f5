"""Folders without a data.yaml whose layout speaks for itself."""

import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from segwright.data.dataset import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    SPLITS,
    Folders,
    SegmentationData,
    class_names,
    no_picture,
    stated_palette,
)
from segwright.data.endings import ending_of
from segwright.data.formats.in_place import labels_by_value
from segwright.data.formats.levels import are_levels
from segwright.data.formats.reading import BACKGROUND, Notes, Options, ignored_names
from segwright.data.formats.tables import find_classes
from segwright.data.masks import Labels, LossyMaskError, read_raw_mask
from segwright.data.sharing import share_stems
from segwright.errors import DataError
from segwright.info import generic_palette
from segwright.runtime.listing import files_below

_IMAGE_FOLDERS = ("images", "image", "imgs", "img")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "SegmentationClass")
_SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


class UnknownLayoutError(DataError):
    """A folder of which nobody can tell where the pictures and masks are."""


def recognise(root: Path) -> SegmentationData:
    """Read a folder by its layout, and say in ``understood`` what was taken for what.

    Known are ``images/<split>`` with ``masks/<split>``, ``<split>/images`` with ``<split>/masks``, ``<split>`` with
    ``<split>annot`` (CamVid), and ``images`` with ``masks`` (about a fifth of the stems then serves as val). The masks'
    names may have one ending behind the pictures', as in ``a_mask.png``.
    Files without a partner and damaged ones are for ``check_data`` or the first reader to name.

    Raises:
        DataError: no layout fits, a JPEG among the masks, or masks from which the classes cannot be told.
    """
    folders, sentence = _find_folders(root)
    labels, source = _labels(root, folders)
    endings = {split.mask_ending for split in folders.values()} - {""}
    ended = tuple(f"the masks' names end in '{ending}' behind those of the pictures" for ending in sorted(endings))
    return SegmentationData(root.resolve().name, folders, labels, (sentence, *ended, source), root)


def _find_folders(root: Path) -> tuple[dict[str, Folders], str]:
    subfolders = {path.name: path for path in root.iterdir() if path.is_dir()}
    images = next((subfolders[name] for name in _IMAGE_FOLDERS if name in subfolders), None)
    masks = next((subfolders[name] for name in _MASK_FOLDERS if name in subfolders), None)
    found: dict[str, Folders] = {}
    for split in SPLITS:
        for name in _SPLIT_NAMES[split]:
            candidates = [(root / name, root / f"{name}annot")]
            if images and masks:
                candidates.append((images / name, masks / name))
            candidates += [(root / name / i, root / name / m) for i in _IMAGE_FOLDERS for m in _MASK_FOLDERS]
            for image_folder, mask_folder in candidates:
                if image_folder.is_dir() and mask_folder.is_dir():
                    found[split] = _with_ending(Folders(image_folder, mask_folder))
    if found:
        places = {split: (f.images.relative_to(root), f.masks.relative_to(root)) for split, f in found.items()}
        return found, "splits: " + ", ".join(f"{split} = {i} + {m}" for split, (i, m) in places.items())
    if images and masks:
        return _split_by_stem(_with_ending(Folders(images, masks)))
    raise UnknownLayoutError(
        f"folder '{root}' is no data set that is recognised (it holds {_listing(subfolders)})",
        fix="arrange it as images/train, masks/train, images/val, masks/val, write a data.yaml, or bring it from "
        f"another format: segwright data convert {shlex.quote(str(root))} --to NEW",
    )


def _with_ending(folders: Folders) -> Folders:
    """The folders with the ending of the masks' names, if all have one; nothing is listed where one mask has none."""
    files = files_below(folders.masks, lambda reason: None)  # whoever reads the split names a folder that is closed
    masks = (path for path in files if path.suffix.lower() in MASK_SUFFIXES)
    some = next((path.relative_to(folders.masks).with_suffix("") for path in masks), None)
    suffixes = [case for suffix in IMAGE_SUFFIXES for case in (suffix, suffix.upper())]
    if some is None or any((folders.images / f"{some}{suffix}").is_file() for suffix in suffixes):
        return folders
    ending = ending_of(folders.find_images().by_stem, folders.find_masks().by_stem)
    return replace(folders, mask_ending=ending) if ending else folders


def _split_by_stem(folders: Folders) -> tuple[dict[str, Folders], str]:
    """The two splits of a folder that has none, and a sentence about them."""
    pictures = folders.find_images().by_stem
    if not pictures:
        raise no_picture(folders.images)
    ranked = pictures.keys() | folders.find_masks().by_stem
    train, val = share_stems(ranked)
    if len(ranked) == 1:
        sentence = "no split folders: the only picture serves as train and as val, so that scores say nothing"
    else:
        sentence = (
            f"no split folders: {len(val)} of {len(ranked)} pictures serve as val, chosen by a hash of their names"
        )
    return {"train": replace(folders, stems=train), "val": replace(folders, stems=val)}, sentence


def _labels(root: Path, folders: dict[str, Folders]) -> tuple[Labels, str]:
    """What the masks' values mean: by a table of classes, else by the values; and a sentence about it."""
    listed = root / "classes.txt"
    if listed.is_file():
        return _listed_classes(listed)
    table = find_classes(root, Options())
    notes = Notes()
    ignored = ignored_names(table.names, Options(), notes) if table else []
    if table and table.colours:
        told = "; ".join((f"classes and colours from '{table.source}': {', '.join(table.names)}", *notes.sentences()))
        return labels_by_value(table.names, ignored, table.colours, by_colour=True), told
    values = _mask_values(mask for split in folders.values() for mask in split.find_masks().by_stem.values())
    known = [value for value in values if value != 255]
    has_levels = are_levels(values)
    if has_levels and (table is None or len(table.names) == len(values)):
        return _levels(sorted(values), table.names if table else None)
    if table:
        told = "; ".join((f"classes from '{table.source}': {', '.join(table.names)}", *notes.sentences()))
        return labels_by_value(table.names, ignored), told
    if not known or max(known) > 254 or (known == [0] and 255 in values):
        raise DataError(
            f"the masks of '{root}' hold the values {sorted(values)[:20]}, from which the classes cannot be told",
            fix="write a data.yaml with 'classes: {0: background, 1: object}' and, for 0/255 masks, "
            "'map: {255: object}', or give segwright data convert",
        )
    names = tuple(f"class {index}" for index in range(max(known) + 1))
    told = f"{len(names)} classes, numbered by the values 0..{max(known)} in the masks"
    return labels_by_value(names, ()), told + (", 255 ignored" if 255 in values else "")


def _listed_classes(path: Path) -> tuple[Labels, str]:
    """classes.txt: a name a line, with ``red green blue`` behind it or without."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    coloured = all(len(words) >= 4 and all(word.isdigit() for word in words[-3:]) for words in lines)
    names = class_names([" ".join(words[:-3] if coloured else words) for words in lines], path)
    colours = {name: words[-3:] for name, words in zip(names, lines, strict=True)} if coloured else {}
    palette = tuple(stated_palette(colours, names, path).values())
    return labels_by_value(names, (), palette, by_colour=bool(palette)), f"classes from '{path}': {', '.join(names)}"


def _levels(levels: list[int], names: tuple[str, ...] | None) -> tuple[Labels, str]:
    """Grey levels as classes, in their order."""
    if names is None:
        two = (BACKGROUND, "object")
        names = two if len(levels) == 2 else tuple(f"class {index}" for index in range(len(levels)))
    ignore = tuple(value for value in (255,) if value not in levels)
    labels = Labels(names, generic_palette(len(names)), ignore, dict(zip(levels, names, strict=True)))
    meaning = ", ".join(f"{level} = {name}" for level, name in zip(levels, names, strict=True))
    return labels, f"grey levels in the masks: {meaning}"


def _mask_values(masks: Iterable[Path]) -> set[int]:
    def values(path: Path) -> set[int]:
        try:
            raw = read_raw_mask(path)
        except LossyMaskError:
            raise  # its smeared values would be taken for classes, or without them no classes be found
        except DataError:
            return set()  # whoever reads the mask for its pixels raises
        if raw.ndim == 3:
            raise DataError(
                f"mask '{path}' is an RGB picture, and no data.yaml says what its colours mean",
                fix="write a data.yaml with 'palette: {road: [128, 64, 128]}' or 'map: {\"128,64,128\": road}'",
            )
        return set(np.unique(raw).tolist())

    with ThreadPoolExecutor() as pool:
        return set().union(*pool.map(values, masks))


def _listing(subfolders: Iterable[str]) -> str:
    names = sorted(subfolders)
    return ", ".join(names[:6]) + (" and more" if len(names) > 6 else "") if names else "no folders"
