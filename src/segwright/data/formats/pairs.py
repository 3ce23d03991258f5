"""Pictures with mask files: in folders of their own, or side by side with an ending in the mask's name."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from segwright.data.formats.files import SPLIT_NAMES, pictures_below
from segwright.data.formats.reading import IntArray, Notes, Options, Sample, counted
from segwright.data.masks import read_raw_mask
from segwright.errors import DataError

_IMAGE_WORDS = {"images", "image", "imgs", "img", "pictures", "photos", "input", "inputs", "jpegimages", "original"}
_MASK_WORDS = {
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annot", "annots", "segmentationclass"),
    *("gt", "gts", "groundtruth", "segmentation", "segmentations", "seg", "manual", "target", "targets"),
}
_NUMBER_WORDS = {"1st", "ground", "truth"}  # of folders like 1st_manual and ground_truth
_MASK_ENDING = re.compile(
    r"[_-](masks?|labels?|seg|segmentation|gt|l|lab|manual1|groundtruth|annotation|annot|segmentation[_-]mask)$", re.I
)
_IMAGE_ENDING = re.compile(r"[_-](sat|image|img|training|test)$", re.I)
_LOSSY = (".jpg", ".jpeg")

Key = tuple[str, ...]


class MaskPair(NamedTuple):
    """A picture, its mask file, and their split where the folders' names say it."""

    stem: str
    split: str | None
    image: Path
    mask: Path


class Place(NamedTuple):
    """What a file's path says: split, role of its folder, and the rest."""

    split: str | None
    role: str | None
    key: Key


def find_mask_pairs(root: Path, options: Options, notes: Notes) -> list[MaskPair]:
    """All pictures below a folder with their masks.

    Args:
        root: the data set.
        options: the folder of field-of-view masks is left out.
        notes: get the number of pictures of a test split without masks.

    Raises:
        DataError: a picture without mask or a mask without picture, two files for one place, or no mask at all.
    """
    outside = options.ignore_outside.resolve() if options.ignore_outside else None
    files = [path for path in pictures_below(root) if outside is None or not path.resolve().is_relative_to(outside)]
    places = {path: place_of(path.relative_to(root)) for path in files}
    masks = _masks_among(files, places)
    is_mask = set(masks)
    images: dict[tuple[str | None, Key], Path] = {}
    for path in files:
        if path not in is_mask:
            _put(images, (places[path].split, places[path].key), path)
    short = {(split, (*key[:-1], _IMAGE_ENDING.sub("", key[-1]))): (split, key) for split, key in images}
    found: dict[tuple[str | None, Key], Path] = {}
    lonely = []
    for path in masks:
        split, _, key = places[path]
        bare = (*key[:-1], _MASK_ENDING.sub("", key[-1]))
        place = next((place for k in (key, bare) if (place := short.get((split, k))) is not None), None)
        exact = (split, key) if (split, key) in images else place
        if exact is None:
            lonely.append(path)
        else:
            _put(found, exact, path)
    if images and not masks:
        raise DataError(
            f"'{root}' holds {counted(len(images), 'picture')}, and none is known as a mask by its folder or its name",
            fix="call the folders 'images' and 'masks', or end the masks' names in _mask",
        )
    if lonely and not found:
        notes.say("masks lie in other folders than their pictures: paired by their names alone")
        lonely = _by_name_alone(lonely, places, short, found)
    _refuse_lonely(lonely, "picture")
    missing = [path for place, path in images.items() if place not in found]
    untold = [path for path in missing if places[path].split == "test"]
    if found and untold:
        notes.count("pictures of test without mask, left out", untold[0], len(untold))
    _refuse_lonely([path for path in missing if not found or places[path].split != "test"], "mask")
    return [MaskPair("/".join(key), split, images[split, key], mask) for (split, key), mask in found.items()]


def _by_name_alone(
    masks: list[Path],
    places: dict[Path, Place],
    images: dict[tuple[str | None, Key], tuple[str | None, Key]],
    found: dict[tuple[str | None, Key], Path],
) -> list[Path]:
    """Masks that lie in other folders than their pictures, as annotations/trimaps/a.png: those of no picture are left.

    A name must be that of one picture alone, and ``found`` gets the pairs.
    """
    of_name: dict[tuple[str | None, str], list[tuple[str | None, Key]]] = {}
    for (split, key), place in images.items():
        of_name.setdefault((split, key[-1]), []).append(place)
    lonely = []
    for path in masks:
        split, _, key = places[path]
        names = dict.fromkeys((key[-1], _MASK_ENDING.sub("", key[-1])))
        own = next((own for name in names if (own := of_name.get((split, name)))), [])
        if len(own) == 1:
            _put(found, own[0], path)
        else:
            lonely.append(path)
    return lonely


def place_of(path: Path) -> Place:
    """What the folders' names of a path, relative to the data set, say."""
    split = role = None
    key = []
    for part in path.parts[:-1]:
        words = [word for word in re.split(r"[_\-\s]+", re.sub(r"annot$", "_annot", part.lower())) if word]
        if not words or not all(
            word in _IMAGE_WORDS | _MASK_WORDS | _NUMBER_WORDS | SPLIT_NAMES.keys() for word in words
        ):
            key.append(part)
            continue
        split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), split)
        if _MASK_WORDS & set(words) or {"ground", "truth"} <= set(words):
            role = "mask"
        elif _IMAGE_WORDS & set(words):
            role = "image"
    return Place(split, role, (*key, path.stem))


def _masks_among(files: list[Path], places: dict[Path, Place]) -> list[Path]:
    """The mask files: by their folder, by an ending behind a picture's name, or as the PNG beside a JPEG."""
    stems: dict[Path, set[str]] = {}
    jpegs: set[Path] = set()
    for path in files:
        stems.setdefault(path.parent, set()).update((path.stem, _IMAGE_ENDING.sub("", path.stem)))
        if path.suffix.lower() in _LOSSY:
            jpegs.add(path.with_suffix(""))
    masks = []
    for path in files:
        bare = _MASK_ENDING.sub("", path.stem)
        is_named = bare != path.stem and bare in stems[path.parent]
        is_beside = path.suffix.lower() not in _LOSSY and path.with_suffix("") in jpegs and places[path].role is None
        if places[path].role == "mask" or is_named or is_beside:
            masks.append(path)
    return masks


def _put(files: dict[tuple[str | None, Key], Path], place: tuple[str | None, Key], path: Path) -> None:
    other = files.setdefault(place, path)
    if other != path:
        raise DataError(f"'{other}' and '{path}' stand for the same picture", fix="keep one of the two")


def _refuse_lonely(paths: list[Path], what: str) -> None:
    if paths:
        listed = ", ".join(f"'{path}'" for path in paths[:5]) + (f" and {len(paths) - 5} more" * (len(paths) > 5))
        raise DataError(
            f"{counted(len(paths), 'file')} without {what}: {listed}",
            fix=f"add each {what} under the same name (a mask may end in _mask), or remove the file",
        )


class Look(NamedTuple):
    """What some masks of a data set hold.

    Args:
        pairs: number of pictures with masks.
        colours: whether there are RGB masks that are not grey.
        pixels: (65536,) pixels of each grey level or index.
        has_palette: whether there are palette PNGs.
    """

    pairs: int
    colours: bool
    pixels: IntArray
    has_palette: bool

    @property
    def values(self) -> list[int]:
        """Grey levels or indices that occur."""
        return np.flatnonzero(self.pixels).tolist()


def look(root: Path, options: Options, most: int = 12) -> Look | None:
    """Look into at most ``most`` masks of a folder; ``None`` where it has none.

    Raises:
        DataError: a picture without mask or the other way round, or a mask that cannot be read.
    """
    files = pictures_below(root) if root.is_dir() else []
    if not _masks_among(files, {path: place_of(path.relative_to(root)) for path in files}):
        return None
    pairs = find_mask_pairs(root, options, Notes())
    return look_at([pair.mask for pair in pairs[:: max(1, len(pairs) // most)]], len(pairs)) if pairs else None


def look_at(masks: list[Path], pairs: int) -> Look:
    """What mask files hold.

    Raises:
        DataError: one that cannot be read.
    """
    pixels, colours, has_palette = np.zeros(65536, np.int64), False, False
    for path in masks:
        raw = read_levels(path)
        if raw.ndim == 3:
            colours = True
            continue
        pixels += np.bincount(raw.ravel(), minlength=65536)
        with Image.open(path) as picture:
            has_palette |= picture.mode == "P" and picture.format == "PNG"
    return Look(pairs, colours, pixels, has_palette)


def read_levels(path: Path) -> IntArray:
    """(H, W) grey levels or indices, or (H, W, 3) colours; grey that was saved as RGB, JPEG or GIF counts as grey.

    Raises:
        DataError: a file that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head[:3] == b"\xff\xd8\xff" or head == b"GIF8":
        try:
            with Image.open(path) as picture:
                return (
                    np.asarray(picture.convert("L")) if head != b"GIF8" else grey_of(np.asarray(picture.convert("RGB")))
                )
        except Exception as reason:  # damaged files make Pillow's decoders raise anything
            raise DataError(f"mask '{path}' cannot be read ({reason})", fix="copy the file again") from reason
    return grey_of(read_raw_mask(path))


def grey_of(raw: IntArray) -> IntArray:
    """(H, W) of an RGB mask whose three channels are equal; anything else as it is."""
    is_grey = raw.ndim == 3 and (raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all()
    return raw[..., 0] if is_grey else raw


def samples_of(pairs: list[MaskPair], decode: Callable[[Path], IntArray]) -> list[Sample]:
    """Samples whose masks are decoded when they are drawn."""
    return [
        Sample(pair.stem, pair.split, pair.image, partial(_decode, decode, pair.mask), str(pair.mask)) for pair in pairs
    ]


def _decode(decode: Callable[[Path], IntArray], path: Path, size: tuple[int, int]) -> IntArray:
    return decode(path)
