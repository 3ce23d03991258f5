"""Cityscapes: labelIds to the 19 classes that are scored; gtFine, or gtCoarse with ``--coarse``."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from segwright.data.formats.pairs import MaskPair, samples_of
from segwright.data.formats.reading import IntArray, Notes, Options, Reading, counted
from segwright.data.masks import IGNORE, Labels, MaskReader, read_raw_mask
from segwright.errors import DataError
from segwright.info import Colour


class Row(NamedTuple):
    """A class that is scored: name, id in the ``labelIds`` files and colour; its position is the trainId."""

    name: str
    label_id: int
    colour: Colour


CLASSES = (
    Row("road", 7, (128, 64, 128)),
    Row("sidewalk", 8, (244, 35, 232)),
    Row("building", 11, (70, 70, 70)),
    Row("wall", 12, (102, 102, 156)),
    Row("fence", 13, (190, 153, 153)),
    Row("pole", 17, (153, 153, 153)),
    Row("traffic light", 19, (250, 170, 30)),
    Row("traffic sign", 20, (220, 220, 0)),
    Row("vegetation", 21, (107, 142, 35)),
    Row("terrain", 22, (152, 251, 152)),
    Row("sky", 23, (70, 130, 180)),
    Row("person", 24, (220, 20, 60)),
    Row("rider", 25, (255, 0, 0)),
    Row("car", 26, (0, 0, 142)),
    Row("truck", 27, (0, 0, 70)),
    Row("bus", 28, (0, 60, 100)),
    Row("train", 31, (0, 80, 100)),
    Row("motorcycle", 32, (0, 0, 230)),
    Row("bicycle", 33, (119, 11, 32)),
)
_LABEL_IDS = 34  # 0..33; the licence plate's -1 is 255 in 8 bits
_FOLDERS = {"train": ("train", "train_extra"), "val": ("val",)}


def detect(source: Path, options: Options) -> str | None:
    """leftImg8bit with gtFine or gtCoarse."""
    kinds = [kind for kind in ("gtFine", "gtCoarse") if (source / kind).is_dir()]
    return f"'{source}' has leftImg8bit and {kinds[0]}" if kinds and (source / "leftImg8bit").is_dir() else None


def labels(*, label_ids: bool) -> Labels:
    """What the values in ``labelIds`` files mean, or in those of ``labelTrainIds``."""
    names, palette = tuple(row.name for row in CLASSES), tuple(row.colour for row in CLASSES)
    meaning: dict[int | Colour, str] = dict.fromkeys(range(_LABEL_IDS), IGNORE)
    meaning |= {row.label_id: row.name for row in CLASSES}
    return Labels(names, palette, map=meaning if label_ids else None)


def read(source: Path, options: Options) -> Reading:
    """Splits train and val; the labels of test are not public. Pictures keep the folder of their city.

    Raises:
        DataError: not the folders, or a picture without its labels.
    """
    kind = "gtCoarse" if options.coarse else "gtFine"
    if not (source / kind).is_dir() or not (source / "leftImg8bit").is_dir():
        raise DataError(f"'{source}' has no leftImg8bit and {kind}", fix="unpack both, or change --coarse")
    notes = Notes()
    meaning = labels(label_ids=True)
    ids, train_ids = MaskReader(meaning), MaskReader(labels(label_ids=False))
    pairs = _pairs(source, kind, notes)
    if (source / "leftImg8bit" / "test").is_dir():
        notes.say("test is left out: its labels are not public")
    understood = (
        f"Cityscapes: {counted(len(pairs), 'picture')} with {kind}, 19 classes; the other 16 labels are ignored"
    )
    samples = samples_of(pairs, partial(_decode, ids, train_ids))
    return Reading(understood, meaning.classes, samples, notes, meaning.palette)


def _pairs(source: Path, kind: str, notes: Notes) -> list[MaskPair]:
    pairs = []
    for split, folders in _FOLDERS.items():
        for folder in folders:
            if kind == "gtFine" and folder == "train_extra":
                continue
            images = sorted((source / "leftImg8bit" / folder).glob("*/*_leftImg8bit.png"))
            for image in images:
                stem = f"{image.parent.name}/{image.name.removesuffix('_leftImg8bit.png')}"
                base = source / kind / folder / f"{stem}_{kind}"
                files = [base.with_name(f"{base.name}_{ending}.png") for ending in ("labelIds", "labelTrainIds")]
                mask = next((path for path in files if path.is_file()), None)
                if mask is None:
                    raise DataError(f"'{image}' has no '{files[0]}'", fix=f"unpack {kind} whole")
                pairs.append(MaskPair(stem, split, image, mask))
    return pairs


def _decode(ids: MaskReader, train_ids: MaskReader, path: Path) -> IntArray:
    reader = train_ids if path.stem.endswith("TrainIds") else ids
    try:
        return reader.decode(read_raw_mask(path), path)
    except DataError as error:
        raise DataError(error.message, fix="unpack the labels again") from error
