"""Masks that hold class indices: 0, 1, 2, ... and 255 for ignored pixels, in any of the usual arrangements."""

from pathlib import Path

import numpy as np

from segwright.data.formats.pairs import Look, find_mask_pairs, look, look_at, samples_of
from segwright.data.formats.reading import Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder, find_classes, no_table
from segwright.errors import DataError

HIGHEST_SPARSE = 64
"""Highest index that is believed where most indices below do not occur."""


def detect(source: Path, options: Options) -> str | None:
    """Small numbers in the masks, or indices of palette PNGs."""
    found = look(source, options)
    if found is None or found.colours or options.levels:
        return None
    if not (found.has_palette or speaks_for_indices(found)):
        return None
    return f"masks with the indices {_listed(found.values)}"


def speaks_for_indices(found: Look) -> bool:
    """Whether values look like class indices: low, and not just a few levels far apart."""
    known = [value for value in found.values if value != 255]
    if not known or (known == [0] and 255 in found.values):
        return False
    return max(known) < max(HIGHEST_SPARSE, 2 * len(known)) and not is_smeared(found)


def is_smeared(found: Look) -> bool:
    """Whether values are those of a black and white mask after resizing or JPEG."""
    ends = found.pixels[0] + found.pixels[255]
    return len(found.values) > 16 and bool(ends > 0.8 * found.pixels.sum())


def read(source: Path, options: Options) -> Reading:
    """Indices, with names from ``--classes`` or classes.txt, else numbered.

    Raises:
        DataError: pairs without partner, or RGB masks.
    """
    notes = Notes()
    pairs = find_mask_pairs(source, options, notes)
    found = look_at([pair.mask for pair in pairs], len(pairs))
    if found.colours:
        raise no_table(source)
    table = find_classes(source, options)
    known = [value for value in found.values if value != 255]
    if table is None and not known:
        raise DataError(f"the masks of '{source}' are all ignored (255)", fix="give --levels 0,255 for 0/255 masks")
    names = table.names if table else tuple(f"class {index}" for index in range(max(known) + 1))
    decoder = Decoder(names, options, notes)
    if 255 in found.values and len(names) <= 255:
        notes.say("value 255 is ignored in loss and scores")
    named = f"names from {table.source}" if table else "numbered by the masks' values"
    understood = f"{counted(len(pairs), 'picture')} with index masks, {counted(len(names), 'class')}, {named}"
    colours = table.colours if table else ()
    palette = tuple(colours[names.index(name)] for name in decoder.classes) if colours else ()
    return Reading(understood, decoder.classes, samples_of(pairs, decoder), notes, palette)


def _listed(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return f"{shown}, ... {values[-1]}" if len(values) > 8 else shown


def spread(values: list[int]) -> int:
    """The smallest distance between two values."""
    return int(np.diff(values).min()) if len(values) > 1 else 0
