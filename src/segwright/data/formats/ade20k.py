"""ADE20K (scene parsing benchmark): 150 classes; 0 in the masks is everything else and is ignored."""

from pathlib import Path

from segwright.data.formats.pairs import find_mask_pairs, samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder
from segwright.errors import DataError

_CLASSES = """
    wall; building; sky; floor; tree; ceiling; road; bed; windowpane; grass; cabinet; sidewalk; person; earth; door;
    table; mountain; plant; curtain; chair; car; water; painting; sofa; shelf; house; sea; mirror; rug; field;
    armchair; seat; fence; desk; rock; wardrobe; lamp; bathtub; railing; cushion; base; box; column; signboard;
    chest of drawers; counter; sand; sink; skyscraper; fireplace; refrigerator; grandstand; path; stairs; runway;
    case; pool table; pillow; screen door; stairway; river; bridge; bookcase; blind; coffee table; toilet; flower;
    book; hill; bench; countertop; stove; palm; kitchen island; computer; swivel chair; boat; bar; arcade machine;
    hovel; bus; towel; light; truck; tower; chandelier; awning; streetlight; booth; television receiver; airplane;
    dirt track; apparel; pole; land; bannister; escalator; ottoman; bottle; buffet; poster; stage; van; ship;
    fountain; conveyer belt; canopy; washer; plaything; swimming pool; stool; barrel; basket; waterfall; tent; bag;
    minibike; cradle; oven; ball; food; step; tank; trade name; microwave; pot; animal; bicycle; lake; dishwasher;
    screen; blanket; sculpture; hood; sconce; vase; traffic light; tray; ashcan; fan; pier; crt screen; plate;
    monitor; bulletin board; shower; radiator; glass; clock; flag
"""
CLASSES = tuple(" ".join(name.split()) for name in _CLASSES.split(";"))

OTHER = "other"
_FOLDERS = ("images/training", "images/validation", "annotations/training", "annotations/validation")


def detect(source: Path, options: Options) -> str | None:
    """The folders of the benchmark, with pictures called ``ADE_...``."""
    root = find_root(source)
    return f"'{root}' has the folders and names of ADE20K" if root else None


def find_root(source: Path) -> Path | None:
    """The folder of the benchmark, at or below ``source``."""
    for folder in (source, *sorted(source.glob("ADEChallengeData*"))):
        has_names = any((folder / name).glob("ADE_*") for name in _FOLDERS)
        if has_names and all((folder / name).is_dir() for name in _FOLDERS[::2]):
            return folder
    return None


def read(source: Path, options: Options) -> Reading:
    """Training and validation; values 1..150 become 0..149.

    Raises:
        DataError: not the folders of the benchmark, or pairs without partner.
    """
    root = find_root(source)
    if root is None:
        raise DataError(f"'{source}' is no ADE20K", fix=f"it needs {', '.join(_FOLDERS)}")
    notes = Notes()
    decoder = Decoder((OTHER, *CLASSES), options, notes, ignored_values=(0,))
    pairs = find_mask_pairs(root, options, notes)
    understood = f"ADE20K: {counted(len(pairs), 'picture')}, {len(CLASSES)} classes; 0 (everything else) is ignored"
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes)
