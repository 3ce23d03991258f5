"""RGB masks with a table of colours: class_dict.csv, labelmap.txt, label_colors.txt, or ``--palette FILE``."""

from pathlib import Path

from segwright.data.formats.pairs import find_mask_pairs, look, samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder, find_classes, no_table


def detect(source: Path, options: Options) -> str | None:
    """Colours in the masks, with or without a table."""
    found = look(source, options)
    return "RGB masks" if found is not None and found.colours else None


def read(source: Path, options: Options) -> Reading:
    """Each colour the class that the table gives it.

    Raises:
        DataError: no table, or pairs without partner.
    """
    notes = Notes()
    pairs = find_mask_pairs(source, options, notes)
    table = find_classes(source, options)
    if table is None or not table.colours:
        raise no_table(pairs[0].mask if pairs else source)
    decoder = Decoder(table.names, options, notes, table.colours)
    understood = (
        f"{counted(len(pairs), 'picture')} with RGB masks, {counted(len(table.names), 'colour')} from {table.source}"
    )
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes, decoder.palette)
