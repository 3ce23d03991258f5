"""CamVid at 720 x 960: its 32 colours as the usual 11 classes.

Colours: label_colors.txt of the data set. Grouping: the one published for SegNet's 11 classes (MathWorks, "Semantic
Segmentation Using Deep Learning"); what stands in no group, Void, is ignored.
Differs: some programs leave the 21 smaller classes out and group nothing; ``--from colour`` keeps all 32.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from segwright.data.formats.files import pictures_below, safe_name
from segwright.data.formats.pairs import MaskPair, place_of, samples_of
from segwright.data.formats.reading import IntArray, Notes, Options, Reading, counted
from segwright.data.masks import IGNORE, Labels, MaskReader
from segwright.errors import DataError
from segwright.info import Colour


class Group(NamedTuple):
    """A class of the eleven: its name, the colour that SegNet gave it, and the colours in the files that it joins."""

    name: str
    colour: Colour
    members: dict[str, Colour]


GROUPS = (
    Group("sky", (128, 128, 128), {"Sky": (128, 128, 128)}),
    Group(
        "building",
        (128, 0, 0),
        {
            "Building": (128, 0, 0),
            "Wall": (64, 192, 0),
            "Tunnel": (64, 0, 64),
            "Archway": (192, 0, 128),
            "Bridge": (0, 128, 64),
        },
    ),
    Group("pole", (192, 192, 128), {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)}),
    Group(
        "road",
        (128, 64, 128),
        {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    ),
    Group(
        "pavement",
        (60, 40, 222),
        {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    ),
    Group("tree", (128, 128, 0), {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)}),
    Group(
        "sign",
        (192, 128, 128),
        {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    ),
    Group("fence", (64, 64, 128), {"Fence": (64, 64, 128)}),
    Group(
        "car",
        (64, 0, 128),
        {
            "Car": (64, 0, 128),
            "SUVPickupTruck": (64, 128, 192),
            "Truck_Bus": (192, 128, 192),
            "Train": (192, 64, 128),
            "OtherMoving": (128, 64, 64),
        },
    ),
    Group(
        "pedestrian",
        (64, 64, 0),
        {
            "Pedestrian": (64, 64, 0),
            "Child": (192, 128, 64),
            "CartLuggagePram": (64, 0, 192),
            "Animal": (64, 128, 64),
        },
    ),
    Group("bicyclist", (0, 128, 192), {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)}),
)
_VOID: Colour = (0, 0, 0)
_MASKS = "_L"  # ends the name of each mask
_FOLDERS = ("LabeledApproved_full", "701_StillsRaw_full")


def detect(source: Path, options: Options) -> str | None:
    """The folders of the two archives; other arrangements need ``--from camvid``."""
    is_whole = all((source / name).is_dir() for name in _FOLDERS)
    return f"'{source}' has {' and '.join(_FOLDERS)}" if is_whole else None


def read(source: Path, options: Options) -> Reading:
    """All masks ``*_L.png`` with their pictures; splits by train.txt, val.txt and test.txt, else by folders' names.

    Raises:
        DataError: no such mask, a mask without picture, or a name in a list without its mask.
    """
    notes = Notes()
    pairs = _pairs(source, notes)
    names, palette = tuple(group.name for group in GROUPS), tuple(group.colour for group in GROUPS)
    meaning: dict[int | Colour, str] = {colour: group.name for group in GROUPS for colour in group.members.values()}
    reader = MaskReader(Labels(names, palette, map=meaning | {_VOID: IGNORE}, palette_is_stated=True))
    understood = (
        f"CamVid: {counted(len(pairs), 'picture')}, 32 colours as {len(names)} classes, Void is ignored "
        "(--from colour keeps the 32)"
    )
    return Reading(understood, names, samples_of(pairs, partial(_decode, reader)), notes, palette)


def _pairs(source: Path, notes: Notes) -> list[MaskPair]:
    files = pictures_below(source) if source.is_dir() else []
    images = {(place_of(path.relative_to(source)).split, path.stem): path for path in files}
    listed = _listed(source)
    pairs, left = [], []
    for mask in files:
        stem = mask.stem.removesuffix(_MASKS)
        if stem == mask.stem:
            continue
        split = place_of(mask.relative_to(source)).split
        image = images.get((split, stem), images.get((None, stem)))
        if image is None:
            raise DataError(f"'{mask}' has no picture '{stem}'", fix="add it, or remove the mask")
        if listed and stem not in listed:
            left.append(mask)
        else:
            pairs.append(MaskPair(stem, listed.get(stem, split), image, mask))
    if not pairs:
        raise DataError(
            f"'{source}' holds no mask '*{_MASKS}.png'", fix="unpack LabeledApproved_full beside the pictures"
        )
    if left:
        notes.count("masks in no list, left out", left[0], len(left))
    missing = sorted(listed.keys() - {pair.stem for pair in pairs})
    if missing:
        raise DataError(
            f"the lists of '{source}' name '{missing[0]}', which has no mask", fix="add it, or mend the list"
        )
    return pairs


def _listed(source: Path) -> dict[str, str]:
    """The split of each name in the lists; a line may hold the mask's path as well, as SegNet's do."""
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        path = source / f"{split}.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            splits |= {safe_name(line.split()[0].lstrip("/"), path).stem: split for line in lines if line.split()}
    return splits


def _decode(reader: MaskReader, path: Path) -> IntArray:
    try:
        return reader.read(path)
    except DataError as error:
        raise DataError(error.message, fix="unpack the labels again, or read them with --from colour") from error
