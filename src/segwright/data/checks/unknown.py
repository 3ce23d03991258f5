"""Mask values that mean nothing, gathered over the masks of a split: one thing to mend, one error."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segwright.data.checks.problem import Place, Problem, count_of, some
from segwright.data.masks import IntArray, MaskReader, RawValue, list_values, no_colours, pack_colours, show_value
from segwright.info import Colour

MOST_PLACES = 1000
_MOST_VALUES = 100_000  # masks of random colours hold millions; later ones are not counted
_MOST_PROPOSED = 10


@dataclass
class UnknownValues:
    """Unknown values of the masks of a split: numbers, or colours.

    Args:
        pixels: of each value.
        masks: that hold it.
        places: the first masks, with the first pixel at fault of each.
        files: how many masks there are.
    """

    pixels: Counter[RawValue] = field(default_factory=Counter)
    masks: Counter[RawValue] = field(default_factory=Counter)
    places: list[Place] = field(default_factory=list)
    files: int = 0

    def add(self, place: Place, pixels: Mapping[RawValue, int]) -> None:
        """Count the pixels of each unknown value of a mask."""
        self._count(pixels, dict.fromkeys(pixels, 1))
        self.files += 1
        if len(self.places) < MOST_PLACES:
            self.places.append(place)

    def merge(self, later: "UnknownValues") -> None:
        """Add what masks that come later hold."""
        self._count(later.pixels, later.masks)
        self.files += later.files
        self.places += later.places[: MOST_PLACES - len(self.places)]

    def _count(self, pixels: Mapping[RawValue, int], masks: Mapping[RawValue, int]) -> None:
        for value, count in pixels.items():
            if value in self.pixels or len(self.pixels) < _MOST_VALUES:
                self.pixels[value] += count
                self.masks[value] += masks[value]


def unknown_values(
    found: UnknownValues, split: str, reader: MaskReader, everywhere: Sequence[RawValue], hint: tuple[str, str] | None
) -> Problem:
    """The error for unknown values of one kind, numbers or colours.

    Args:
        found: at least one.
        split: its name.
        reader: of the data set.
        everywhere: the unknown values of that kind of all splits, so that one line of data.yaml mends them all.
        hint: what they may mean and what to do then, where the data tell it.
    """
    values = [value for value, _ in found.pixels.most_common()]
    facts = {v: f"{found.pixels[v]} px in {count_of(found.masks[v], 'mask')}" for v in values[: _MOST_PROPOSED + 1]}
    for value in facts:
        if isinstance(value, tuple) and (near := nearest(value, reader)):
            facts[value] += f"; nearest is {near}"
    listed = list_values(facts | dict.fromkeys(values[len(facts) :], ""))
    holds = "holds" if found.files == 1 else "hold"
    what = "the unknown value" if len(values) == 1 else "the unknown values"
    first, others = found.places[0], [f"'{place.file}'" for place in found.places[1:]]
    also = f", also in {some(others, 3, found.files - 1)}" if others else ""
    message = (
        f"{count_of(found.files, 'mask')} of {split} {holds} {what} {listed}, first in '{first.file}' "
        f"(row {first.row}, column {first.column}){also}; {reader.known(values)}"
    )
    fix = reader.how_to_map(everywhere)
    if hint is not None:
        message, fix = f"{message}; {hint[0]}", hint[1]
    return Problem("unknown-value", "error", first.file, message, fix, tuple(found.places), found.files)


def colour_masks(found: UnknownValues, split: str, classes: Sequence[str]) -> Problem:
    """The error for RGB masks of a data set that says nothing about colours, with a table to fill in.

    Args:
        found: the masks and their colours.
        split: its name.
        classes: names, for the proposal.
    """
    first, masks = found.places[0], count_of(found.files, "mask")
    verb = "is an RGB picture" if found.files == 1 else "are RGB pictures"
    total = sum(found.pixels.values())
    shares = list_values({value: f"{100 * count / total:.2g} %" for value, count in found.pixels.most_common()})
    holds = f"{'it holds' if found.files == 1 else 'they hold'} {count_of(len(found.pixels), 'colour')}"
    error = no_colours(f"{masks} of {split} {verb} (first '{first.file}'; {holds}: {shares})")
    entries = ", ".join(f'"{show_value(value)}": {name}' for value, name in _proposed(found, classes).items())
    fix = f"add 'map: {{{entries}}}' to data.yaml"
    if "CLASS" in entries:
        fix += f", each with its class ({', '.join(classes)}) or ignore"
    return Problem("colour-mask", "error", first.file, error.message, fix, tuple(found.places), found.files)


def _proposed(found: UnknownValues, classes: Sequence[str]) -> dict[RawValue, str]:
    """What colours may mean: indices saved in three channels, black and white, or a blank for each to fill in."""
    grey = {colour: colour[0] for colour in found.pixels if isinstance(colour, tuple) and len(set(colour)) == 1}
    if len(grey) == len(found.pixels):
        if max(grey.values()) < len(classes):
            return {colour: classes[level] for colour, level in sorted(grey.items())}
        if set(grey.values()) == {0, 255} and len(classes) == 2:
            return {colour: classes[level == 255] for colour, level in sorted(grey.items())}
    common = found.pixels.most_common(min(len(classes) + 1, _MOST_PROPOSED))
    return {colour: "CLASS" for colour, _ in common}


def nearest(colour: Colour, reader: MaskReader) -> str:
    """The known colour that is nearest and its class; empty where none is known."""
    known = {raw: index for raw, index in reader.meanings().items() if isinstance(raw, tuple)}
    if not known:
        return ""
    best = min(known, key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))
    names = reader.labels.classes
    return f"{show_value(best)} ({names[known[best]] if known[best] < len(names) else 'ignore'})"


def first_place(raw: IntArray, unknown: Iterable[RawValue], path: str, pixels: int) -> Place:
    """Where the first of some values stands in a mask of (H, W) values or (H, W, 3) colours."""
    row, column = divmod(int(np.argmax(is_one_of(raw, unknown))), raw.shape[1])
    return Place(path, row, column, pixels)


def is_one_of(raw: IntArray, values: Iterable[RawValue]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(H, W) whether each pixel is one of the values."""
    if raw.ndim == 2:
        return np.isin(raw, list(values))
    return np.isin(pack_colours(raw), pack_colours(np.array(list(values))))
