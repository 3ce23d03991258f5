"""PASCAL VOC: JPEGImages, SegmentationClass and lists of names in ImageSets/Segmentation."""

from pathlib import Path
from typing import NamedTuple

from segwright.data.dataset import MASK_SUFFIXES
from segwright.data.formats.files import files_below, pictures_below, safe_name, split_of
from segwright.data.formats.pairs import MaskPair, samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder, find_classes
from segwright.errors import DataError
from segwright.info import generic_palette

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class Layout(NamedTuple):
    """Which folders of a devkit hold the masks and the lists."""

    masks: str
    lists: str


_AUG_MASKS, _AUG_LIST = "SegmentationClassAug", "trainaug.txt"
LAYOUT = Layout("SegmentationClass", "ImageSets/Segmentation")


def detect(source: Path, options: Options) -> str | None:
    """The three folders."""
    root = find_root(source, LAYOUT)
    return f"'{root}' has JPEGImages, SegmentationClass and {LAYOUT.lists}" if root else None


def find_root(source: Path, layout: Layout) -> Path | None:
    """The folder of the devkit, at or below ``source``."""
    for folder in (source, *sorted(source.glob("VOC*")), *sorted(source.glob("VOCdevkit/VOC*"))):
        if all((folder / name).is_dir() for name in ("JPEGImages", *layout)):
            return folder
    return None


def read(source: Path, options: Options) -> Reading:
    """The pairs of the lists train, val and test; the 21 classes of VOC unless a table says otherwise.

    Raises:
        DataError: not the three folders, or a name in a list without its files.
    """
    root = find_root(source, LAYOUT)
    if root is None:
        raise DataError(
            f"'{source}' is no PASCAL VOC data set", fix=f"it needs JPEGImages, SegmentationClass and {LAYOUT.lists}"
        )
    notes = Notes()
    table = find_classes(root, options) or find_classes(source, options)
    names = table.names if table else CLASSES
    colours = (table.colours if table else ()) or generic_palette(len(names))
    decoder = Decoder(names, options, notes, colours)
    pairs = pairs_of(root, LAYOUT, notes)
    named = f"names from {table.source}" if table else "the names of VOC"
    counts = f"{counted(len(pairs), 'picture')} listed in {LAYOUT.lists}, {counted(len(names), 'class')}"
    understood = f"PASCAL VOC: {counts}, {named}; 255 is ignored"
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes, decoder.palette)


def pairs_of(root: Path, layout: Layout, notes: Notes) -> list[MaskPair]:
    """The pictures of the lists with their masks.

    Raises:
        DataError: a name in a list without its files, or no list.
    """
    images = {
        path.relative_to(root / "JPEGImages").with_suffix("").as_posix(): path
        for path in pictures_below(root / "JPEGImages")
    }
    folder = root / layout.masks
    masks = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files_below(folder, MASK_SUFFIXES)}
    lists = _lists(root / layout.lists, notes)
    if layout == LAYOUT and has_trainaug(root):
        more = {path.stem: path for path in files_below(root / _AUG_MASKS, MASK_SUFFIXES)}
        notes.say(f"train is trainaug.txt; masks that SegmentationClass lacks are those of {_AUG_MASKS}")
        masks = more | masks  # VOC's own are finer than those of SBD
        aug = root / layout.lists / _AUG_LIST
        lists = [(split, aug if split == "train" else path) for split, path in lists]
    pairs, listed = [], set()
    for split, path in lists:
        for stem in _stems(path):
            listed.add(stem)
            if stem not in images:
                raise DataError(
                    f"'{path}' lists '{stem}', which JPEGImages does not have",
                    fix="add the picture, or remove the line",
                )
            if stem in masks:
                pairs.append(MaskPair(stem, split, images[stem], masks[stem]))
            elif split == "test":
                notes.count("pictures of test without mask, left out", stem)
            else:
                raise DataError(
                    f"'{path}' lists '{stem}', which {layout.masks} does not have",
                    fix="add the mask, or remove the line",
                )
    unlisted = sorted(masks.keys() - listed)
    if unlisted:
        notes.count("masks in no list, left out", unlisted[0], len(unlisted))
    unseen = sorted(images.keys() - listed - set(unlisted))
    if unseen:
        notes.count("pictures in no list, left out", unseen[0], len(unseen))
    return pairs


def has_trainaug(root: Path) -> bool:
    """Whether a devkit has the 10,582 pictures that SBD makes of VOC's train."""
    return (root / LAYOUT.lists / _AUG_LIST).is_file() and (root / _AUG_MASKS).is_dir()


def listed_stems(root: Path, layout: Layout, notes: Notes) -> list[tuple[str | None, list[str]]]:
    """The names in each list; the split is ``None`` for an only list without one.

    Raises:
        DataError: no list, or one that cannot be read.
    """
    return [(split, _stems(path)) for split, path in _lists(root / layout.lists, notes)]


def _lists(folder: Path, notes: Notes) -> list[tuple[str | None, Path]]:
    """The lists of train, val and test, else the only list, whose pictures have no split."""
    lists = sorted(folder.glob("*.txt"))
    chosen: list[tuple[str | None, Path]] = [(split, path) for path in lists if (split := split_of([path.stem]))]
    if not chosen and len(lists) == 1:
        return [(None, lists[0])]
    if not chosen:
        raise DataError(f"'{folder}' has no list train.txt", fix="add train.txt and val.txt")
    read = [path for _, path in chosen]
    left = [path.name for path in lists if path not in read and path.name != _AUG_LIST]
    if left:
        notes.say(f"lists that are not read: {', '.join(left)}")
    return chosen


def _stems(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as reason:
        raise DataError(f"list '{path}' cannot be read ({reason})", fix="save it as UTF-8 text") from reason
    return list(dict.fromkeys(safe_name(line.strip(), path).as_posix() for line in lines if line.strip()))
