"""PASCAL Context: 59 classes and background, in ``SegmentationClassContext`` beside VOC's pictures."""

from pathlib import Path

from segwright.data.formats import voc
from segwright.data.formats.pairs import samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder
from segwright.errors import DataError
from segwright.info import generic_palette

_CLASSES = """
    background; aeroplane; bag; bed; bedclothes; bench; bicycle; bird; boat; book; bottle; building; bus; cabinet;
    car; cat; ceiling; chair; cloth; computer; cow; cup; curtain; dog; door; fence; floor; flower; food; grass;
    ground; horse; keyboard; light; motorbike; mountain; mouse; person; plate; platform; pottedplant; road; rock;
    sheep; shelves; sidewalk; sign; sky; snow; sofa; table; track; train; tree; truck; tvmonitor; wall; water;
    window; wood
"""
CLASSES = tuple(_CLASSES.replace(";", " ").split())

LAYOUT = voc.Layout("SegmentationClassContext", "ImageSets/SegmentationContext")


def detect(source: Path, options: Options) -> str | None:
    """VOC's folders with those of Context."""
    root = voc.find_root(source, LAYOUT)
    return f"'{root}' has {LAYOUT.masks} and {LAYOUT.lists}" if root else None


def read(source: Path, options: Options) -> Reading:
    """The lists train and val; 60 classes, or 59 with ``--ignore background``.

    Raises:
        DataError: not the folders, or a name in a list without its files.
    """
    root = voc.find_root(source, LAYOUT)
    if root is None:
        raise DataError(f"'{source}' is no PASCAL Context", fix=f"it needs JPEGImages, {LAYOUT.masks}, {LAYOUT.lists}")
    notes = Notes()
    decoder = Decoder(CLASSES, options, notes, generic_palette(len(CLASSES)))
    pairs = voc.pairs_of(root, LAYOUT, notes)
    if "background" in decoder.classes:
        notes.say("background is a class, as in the protocol of 60 (--ignore background: that of 59)")
    understood = f"PASCAL Context: {counted(len(pairs), 'picture')}, {len(decoder.classes)} classes"
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes, decoder.palette)
