"""Folders without a data.yaml whose layout speaks for itself."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from segwright.data.dataset import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    SPLITS,
    Folders,
    SegmentationData,
    class_names,
    find_files,
    no_picture,
    stated_palette,
)
from segwright.data.masks import Labels, LossyMaskError, ignore_index_of, read_raw_mask
from segwright.errors import DataError
from segwright.info import Colour, generic_palette

_IMAGE_FOLDERS = ("images", "image", "imgs", "img")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "SegmentationClass")
_SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_VAL_SHARE = 0.2


def recognise(root: Path) -> SegmentationData:
    """Read a folder by its layout, and say in ``understood`` what was taken for what.

    Known are ``images/<split>`` with ``masks/<split>``, ``<split>/images`` with ``<split>/masks``, ``<split>`` with
    ``<split>annot`` (CamVid), and ``images`` with ``masks`` (about a fifth of the stems then serves as val).
    Files without a partner and damaged ones are for ``check_data`` or the first reader to name.

    Raises:
        DataError: no layout fits, a JPEG among the masks, or masks from which the classes cannot be told.
    """
    folders, sentence = _find_folders(root)
    classes, palette, source = _class_names(root, folders)
    labels = Labels(
        classes,
        palette or generic_palette(len(classes)),
        ignore=(ignore_index_of(len(classes)),),
        palette_is_stated=bool(palette),
    )
    return SegmentationData(root.resolve().name, folders, labels, (sentence, source), root)


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
                    found[split] = Folders(image_folder, mask_folder)
    if found:
        places = {split: (f.images.relative_to(root), f.masks.relative_to(root)) for split, f in found.items()}
        return found, "splits: " + ", ".join(f"{split} = {i} + {m}" for split, (i, m) in places.items())
    if images and masks:
        return _split_by_stem(images, masks)
    raise DataError(
        f"folder '{root}' is no data set that is recognised (it holds {_listing(subfolders)})",
        fix="arrange it as images/train, masks/train, images/val, masks/val, write a data.yaml, or bring it from "
        f"another format: segwright data convert {root} --to NEW",
    )


def _split_by_stem(images: Path, masks: Path) -> tuple[dict[str, Folders], str]:
    """The two splits of a folder that has none, and a sentence about them."""
    pictures = find_files(images, IMAGE_SUFFIXES).by_stem
    if not pictures:
        raise no_picture(images)
    ranked = pictures.keys() | find_files(masks, MASK_SUFFIXES).by_stem
    train, val = share_stems(ranked)
    if len(ranked) == 1:
        sentence = "no split folders: the only picture serves as train and as val, so that scores say nothing"
        return {"train": Folders(images, masks, train), "val": Folders(images, masks, val)}, sentence
    sentence = f"no split folders: {len(val)} of {len(ranked)} pictures serve as val, chosen by a hash of their names"
    return {"train": Folders(images, masks, train), "val": Folders(images, masks, val)}, sentence


def share_stems(stems: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """About four fifths of the stems for train and the others for val; a single stem is in both.

    They are chosen by a hash of each stem, so that more pictures never move one. Only where that leaves a split empty,
    as among a handful of pictures, the lowest or highest hash fills it.
    """
    ranked = sorted(stems, key=_share_of_hash)
    val = frozenset(stem for stem in ranked if _share_of_hash(stem) < _VAL_SHARE) or frozenset(ranked[:1])
    train = frozenset(ranked) - val or frozenset(ranked[-1:])
    return train, val - train or val


def _share_of_hash(stem: str) -> float:
    """A number in 0..1 that depends on the stem alone."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8]) / 2**64


def _class_names(root: Path, folders: dict[str, Folders]) -> tuple[tuple[str, ...], tuple[Colour, ...], str]:
    """Class names and colours from classes.txt, else numbered classes from the values in the masks."""
    listed = root / "classes.txt"
    if listed.is_file():
        lines = [line.split() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        coloured = all(len(words) >= 4 and all(word.isdigit() for word in words[-3:]) for words in lines)
        names = class_names([" ".join(words[:-3] if coloured else words) for words in lines], listed)
        colours = {name: words[-3:] for name, words in zip(names, lines, strict=True)} if coloured else {}
        palette = tuple(stated_palette(colours, names, listed).values())
        return names, palette, f"classes from '{listed}': {', '.join(names)}"
    found = [find_files(split.masks, MASK_SUFFIXES, split.stems) for split in folders.values()]
    values = _mask_values(mask for files in found for mask in files.by_stem.values())
    known = [value for value in values if value != 255]
    if not known or max(known) > 254 or (known == [0] and 255 in values):
        raise DataError(
            f"the masks of '{root}' hold the values {sorted(values)[:20]}, from which the classes cannot be told",
            fix="write a data.yaml with 'classes: {0: background, 1: object}' and, for 0/255 masks, "
            "'map: {255: object}', or give segwright data convert",
        )
    names = tuple(f"class {index}" for index in range(max(known) + 1))
    ignored = ", 255 ignored" if 255 in values else ""
    return names, (), f"{len(names)} classes, numbered by the values 0..{max(known)} in the masks{ignored}"


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
