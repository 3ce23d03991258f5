"""Benchmarks whose mask files training can read where they lie: VOC, PASCAL Context, Cityscapes, ADE20K, COCO-Stuff."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segwright.data.dataset import MASK_SUFFIXES, SPLITS, Folders, SegmentationData
from segwright.data.formats import ade20k, cityscapes, coco_stuff, pascal_context, voc
from segwright.data.formats.files import files_below
from segwright.data.formats.reading import Notes, Options, ignored_names
from segwright.data.formats.tables import find_classes
from segwright.data.masks import IGNORE, Labels, ignore_index_of
from segwright.data.sharing import share_stems
from segwright.errors import DataError
from segwright.info import Colour, generic_palette

_OPTIONS = Options()


def read_in_place(root: Path) -> SegmentationData | None:
    """A benchmark's folder as a data set; ``None`` where it is none of them.

    Raises:
        DataError: it can be read in several ways, or a list that cannot be used.
    """
    readers: dict[str, Callable[[Path], SegmentationData]] = {
        "voc": _voc,
        "pascal_context": _context,
        "cityscapes": _cityscapes,
        "ade20k": _ade20k,
        "coco_stuff": _coco_stuff,
    }
    detectors = {
        "voc": voc.detect,
        "pascal_context": pascal_context.detect,
        "cityscapes": cityscapes.detect,
        "ade20k": ade20k.detect,
        "coco_stuff": coco_stuff.detect,
    }
    found = [name for name, detect in detectors.items() if detect(root, _OPTIONS)]
    if len(found) > 1:
        raise DataError(
            f"'{root}' can be read in {len(found)} ways: {', '.join(found)}",
            fix=f"choose one: segwright data convert {root} --to NEW --from {'|'.join(found)}",
        )
    return readers[found[0]](root) if found else None


def labels_by_value(
    names: Sequence[str], ignored: Sequence[str], colours: Sequence[Colour] = (), by_colour: bool = False
) -> Labels:
    """What mask values 0, 1, 2, ... called ``names`` mean where some of them are ignored.

    Args:
        names: by mask value.
        ignored: names that are left out of loss and scores.
        colours: of the names.
        by_colour: whether RGB masks are to be read by them.
    """
    kept = tuple(name for name in names if name not in ignored)
    meaning: dict[int | Colour, str] = {}
    if ignored:
        meaning = {value: name if name in kept else IGNORE for value, name in enumerate(names)}
        meaning |= {
            colour: IGNORE for colour, name in zip(colours, names, strict=False) if name in ignored and by_colour
        }
    palette = tuple(colours[names.index(name)] for name in kept) if colours else generic_palette(len(kept))
    values = tuple(value for value in (ignore_index_of(len(kept)),) if value not in meaning)
    return Labels(kept, palette, values, meaning or None, palette_is_stated=by_colour)


def _voc(root: Path) -> SegmentationData:
    devkit = voc.find_root(root, voc.LAYOUT) or root
    notes = Notes()
    table = find_classes(devkit, _OPTIONS) or find_classes(root, _OPTIONS)
    names = table.names if table else voc.CLASSES
    colours = (table.colours if table else ()) or generic_palette(len(names))
    labels = labels_by_value(names, ignored_names(names, _OPTIONS, notes), colours, by_colour=True)
    folders = _listed(devkit, voc.LAYOUT, notes)
    named = f"names from '{table.source}'" if table else "the names of VOC"
    if voc.has_trainaug(devkit):
        notes.say(
            "train is train.txt; segwright data convert reads trainaug.txt with the masks of SegmentationClassAug"
        )
    sentence = f"PASCAL VOC: lists of {voc.LAYOUT.lists}, {len(labels.classes)} classes, {named}; 255 is ignored"
    return SegmentationData(root.resolve().name, folders, labels, (sentence, *notes.sentences()), root)


def _context(root: Path) -> SegmentationData:
    devkit, notes = voc.find_root(root, pascal_context.LAYOUT) or root, Notes()
    colours = generic_palette(len(pascal_context.CLASSES))
    labels = labels_by_value(pascal_context.CLASSES, (), colours, by_colour=True)
    folders = _listed(devkit, pascal_context.LAYOUT, notes)
    sentence = "PASCAL Context: 60 classes, background is one of them; 255 is ignored"
    return SegmentationData(root.resolve().name, folders, labels, (sentence, *notes.sentences()), root)


def _listed(devkit: Path, layout: voc.Layout, notes: Notes) -> dict[str, Folders]:
    """The splits of the lists; pictures of test without masks are left out."""
    images, masks = devkit / "JPEGImages", devkit / layout.masks
    there = {path.relative_to(masks).with_suffix("").as_posix() for path in files_below(masks, MASK_SUFFIXES)}
    stems: dict[str, frozenset[str]] = {}
    for split, names in voc.listed_stems(devkit, layout, notes):
        if split is None:
            stems["train"], stems["val"] = share_stems(names)
            notes.say(f"no lists of splits: {len(stems['val'])} of {len(names)} pictures serve as val")
        else:
            without = [name for name in names if name not in there] if split == "test" else []
            if without:
                notes.count("pictures of test without mask, left out", without[0], len(without))
            stems[split] = frozenset(names).difference(without)
    return {split: Folders(images, masks, stems[split]) for split in SPLITS if stems.get(split)}


def _cityscapes(root: Path) -> SegmentationData:
    if not (root / "gtFine").is_dir():
        raise DataError(
            f"'{root}' has coarse labels only", fix=f"bring them: segwright data convert {root} --to NEW --coarse"
        )
    has_ids = any((root / "gtFine").glob("*/*/*_gtFine_labelIds.png"))
    ending = "_gtFine_labelIds" if has_ids else "_gtFine_labelTrainIds"
    folders = {
        split: Folders(
            root / "leftImg8bit" / split, root / "gtFine" / split, image_ending="_leftImg8bit", mask_ending=ending
        )
        for split in ("train", "val")
        if (root / "leftImg8bit" / split).is_dir()
    }
    kind = ending.removeprefix("_gtFine_")
    sentence = f"Cityscapes: {', '.join(folders)} with gtFine {kind}, 19 classes; the other labels are ignored"
    left = ("test is left out: its labels are not public",) * (root / "leftImg8bit" / "test").is_dir()
    labels = cityscapes.labels(label_ids=has_ids)
    return SegmentationData(root.resolve().name, folders, labels, (sentence, *left), root)


def _ade20k(root: Path) -> SegmentationData:
    base = ade20k.find_root(root) or root
    folders = {
        split: Folders(base / "images" / name, base / "annotations" / name)
        for split, name in (("train", "training"), ("val", "validation"))
        if (base / "images" / name).is_dir()
    }
    sentence = f"ADE20K: {', '.join(folders)}, {len(ade20k.CLASSES)} classes; 0 (everything else) is ignored"
    labels = labels_by_value((ade20k.OTHER, *ade20k.CLASSES), (ade20k.OTHER,))
    return SegmentationData(root.resolve().name, folders, labels, (sentence,), root)


def _coco_stuff(root: Path) -> SegmentationData:
    names, notes = coco_stuff.names_by_value(), Notes()
    folders = {}
    for name in coco_stuff.found_splits(root):
        whole = Folders(root / "images" / name, root / "annotations" / name)
        labelled = whole.find_masks().by_stem
        without = [stem for stem in whole.find_images().by_stem if stem not in labelled]
        if without:
            notes.count(f"pictures of {name} without mask, left out", without[0], len(without))
        folders[name.rstrip("0123456789")] = replace(whole, stems=frozenset(labelled))
    sentence = f"COCO-Stuff: {', '.join(folders)}, {len(coco_stuff.CLASSES)} classes; 255 is ignored"
    labels = labels_by_value(names, [name for name in names if name not in coco_stuff.CLASSES])
    return SegmentationData(root.resolve().name, folders, labels, (sentence, *notes.sentences()), root)
