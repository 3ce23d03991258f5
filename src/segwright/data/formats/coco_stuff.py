"""COCO-Stuff 164k: PNGs beside COCO's pictures, 171 of 182 values used; 255 is unlabelled."""

from pathlib import Path

from segwright.data.formats.files import files_below, pictures_below, split_of
from segwright.data.formats.pairs import MaskPair, samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder
from segwright.errors import DataError

_CLASSES = """
    person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant; stop sign;
    parking meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear; zebra; giraffe; backpack; umbrella;
    handbag; tie; suitcase; frisbee; skis; snowboard; sports ball; kite; baseball bat; baseball glove; skateboard;
    surfboard; tennis racket; bottle; wine glass; cup; fork; knife; spoon; bowl; banana; apple; sandwich; orange;
    broccoli; carrot; hot dog; pizza; donut; cake; chair; couch; potted plant; bed; dining table; toilet; tv;
    laptop; mouse; remote; keyboard; cell phone; microwave; oven; toaster; sink; refrigerator; book; clock; vase;
    scissors; teddy bear; hair drier; toothbrush; banner; blanket; branch; bridge; building-other; bush; cabinet;
    cage; cardboard; carpet; ceiling-other; ceiling-tile; cloth; clothes; clouds; counter; cupboard; curtain;
    desk-stuff; dirt; door-stuff; fence; floor-marble; floor-other; floor-stone; floor-tile; floor-wood; flower;
    fog; food-other; fruit; furniture-other; grass; gravel; ground-other; hill; house; leaves; light; mat; metal;
    mirror-stuff; moss; mountain; mud; napkin; net; paper; pavement; pillow; plant-other; plastic; platform;
    playingfield; railing; railroad; river; road; rock; roof; rug; salad; sand; sea; shelf; sky-other; skyscraper;
    snow; solid-other; stairs; stone; straw; structural-other; table; tent; textile-other; towel; tree; vegetable;
    wall-brick; wall-concrete; wall-other; wall-panel; wall-stone; wall-tile; wall-wood; water-other; waterdrops;
    window-blind; window-other; wood
"""
CLASSES = tuple(" ".join(name.split()) for name in _CLASSES.split(";"))

UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Values of things that COCO numbered and never labelled."""

_SPLITS = ("train2017", "val2017")


def detect(source: Path, options: Options) -> str | None:
    """The folders of COCO's pictures and masks."""
    return f"'{source}' has images/train2017 and PNGs in annotations/train2017" if found_splits(source) else None


def found_splits(source: Path) -> list[str]:
    """The folders of pictures with PNGs."""
    return [
        split
        for split in _SPLITS
        if (source / "images" / split).is_dir() and next((source / "annotations" / split).glob("*.png"), None)
    ]


def names_by_value() -> list[str]:
    """The class of each value; those that are not used are called so."""
    names = iter(CLASSES)
    return [f"unused {value}" if value in UNUSED else next(names) for value in range(len(CLASSES) + len(UNUSED))]


def read(source: Path, options: Options) -> Reading:
    """The splits that are there; the values that are used become 0..170 in their order.

    Raises:
        DataError: not the folders, or a mask without its picture.
    """
    notes = Notes()
    decoder = Decoder(names_by_value(), options, notes, ignored_values=UNUSED)
    pairs = []
    for split in found_splits(source):
        pictures = {path.stem: path for path in pictures_below(source / "images" / split)}
        for mask in files_below(source / "annotations" / split, (".png",)):
            stem = mask.stem.removesuffix("_labelTrainIds")
            if stem != mask.stem:
                raise DataError(f"'{mask}' was made for another program", fix="use the PNGs of stuffthingmaps")
            if stem not in pictures:
                raise DataError(f"'{mask}' has no picture in images/{split}", fix="add the picture, or remove the mask")
            pairs.append(MaskPair(stem, split_of([split.rstrip("0123456789")]), pictures.pop(stem), mask))
        if pictures:
            notes.count(f"pictures of {split} without mask, left out", next(iter(pictures)), len(pictures))
    if not pairs:
        raise DataError(f"'{source}' is no COCO-Stuff", fix="it needs images/train2017 and annotations/train2017/*.png")
    understood = f"COCO-Stuff: {counted(len(pairs), 'picture')}, {len(CLASSES)} classes; 255 is ignored"
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes)
