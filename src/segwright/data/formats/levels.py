"""Masks whose classes are grey levels: 0 and 255, or 0, 127 and 254."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from segwright.data.formats.index import HIGHEST_SPARSE, is_smeared, spread
from segwright.data.formats.pairs import Look, find_mask_pairs, look, look_at, read_levels, samples_of
from segwright.data.formats.reading import BACKGROUND, IntArray, Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder, find_classes, no_table
from segwright.errors import ConfigError, DataError

_MOST_LEVELS = 16
_LEAST_SPREAD = 8


def detect(source: Path, options: Options) -> str | None:
    """Few grey levels far apart, or ``--levels``."""
    found = look(source, options)
    if found is None or found.colours:
        return None
    if options.levels:
        return "masks, and --levels"
    if is_smeared(found):
        return f"masks with {len(found.values)} grey levels, mostly 0 and 255"
    return f"masks with the grey levels {_listed(found.values)}" if _speaks_for_levels(found) else None


def _speaks_for_levels(found: Look) -> bool:
    return 2 <= len(found.values) <= _MOST_LEVELS and spread(found.values) >= _LEAST_SPREAD


def are_levels(values: Collection[int]) -> bool:
    """Whether values of 8-bit masks can hardly be class indices, but grey levels: 0 among them, few and far apart."""
    known = [value for value in values if value != 255]
    if 0 not in values or not 2 <= len(values) <= _MOST_LEVELS or max(values) > 255:
        return False
    return spread(sorted(values)) >= _LEAST_SPREAD and (known == [0] or max(known) >= HIGHEST_SPARSE)


def read(source: Path, options: Options) -> Reading:
    """Each level a class, in order; with ``--levels`` each pixel goes to the nearest.

    Raises:
        DataError: RGB masks, or more levels than classes can be, as after resizing or JPEG.
        ConfigError: another number of ``--classes`` than levels.
    """
    notes = Notes()
    pairs = find_mask_pairs(source, options, notes)
    found = look_at([pair.mask for pair in pairs], len(pairs))
    if found.colours:
        raise no_table(source)
    levels = sorted(options.levels) or found.values
    if not options.levels and (len(levels) > _MOST_LEVELS or is_smeared(found)):
        raise DataError(
            f"the masks of '{source}' hold {len(levels)} grey levels, as after resizing or JPEG",
            fix="give --levels 0,255 (or those that are meant): each pixel goes to the nearest",
        )
    if len(levels) < 2:
        raise DataError(f"the masks of '{source}' hold the one level {_listed(levels)}", fix="give --levels 0,255")
    names = _names(source, options, levels)
    classes = Decoder(names, options, notes)
    order = list(options.levels) or levels
    values = np.array([order.index(level) for level in levels])
    indices = classes.translate(values)
    bounds = (np.array(levels[1:]) + np.array(levels[:-1])) / 2
    nearest = indices[np.searchsorted(bounds, np.arange(65536), side="left")]
    between = int(found.pixels.sum() - found.pixels[levels].sum())
    if between:
        share = 100 * between / int(found.pixels.sum())
        notes.say(f"{between} px ({share:.2f} %) lie between the levels and go to the nearest")
    meaning = ", ".join(f"{level} = {name}" for level, name in zip(order, names, strict=True))
    understood = f"{counted(len(pairs), 'picture')} with masks in grey levels: {meaning}"
    return Reading(understood, classes.classes, samples_of(pairs, partial(_decode, nearest)), notes)


def _names(source: Path, options: Options, levels: list[int]) -> tuple[str, ...]:
    table = find_classes(source, options)
    if table is not None:
        if len(table.names) != len(levels):
            raise ConfigError(
                f"{table.source} names {len(table.names)} classes, but the masks have {len(levels)} grey levels: "
                f"{_listed(levels)}",
                fix="give a name for each level, or the levels that are meant with --levels",
            )
        return table.names
    if len(levels) == 2:
        return (BACKGROUND, "object")
    return tuple(f"class {index}" for index in range(len(levels)))


def _decode(nearest: IntArray, path: Path) -> IntArray:
    raw = read_levels(path)
    if raw.ndim == 3:
        raise no_table(path)
    decoded: IntArray = nearest[raw]
    return decoded


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:_MOST_LEVELS]))
