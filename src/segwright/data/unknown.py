"""Mask values that mean nothing, gathered over the masks of a split: one thing to mend, one error."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segwright.data.masks import MaskReader, RawValue, list_values, no_colours
from segwright.errors import DataError

_MOST_VALUES = 100_000  # photographs among RGB masks hold millions of colours; later ones are not counted


class UnknownValues:
    """Unknown values and RGB masks that nobody can read, of one split.

    Args:
        reader: of the data set.
        split: its name, for messages.
    """

    def __init__(self, reader: MaskReader, split: str) -> None:
        self._reader, self._split = reader, split
        self.pixels: Counter[RawValue] = Counter()
        self._masks: Counter[RawValue] = Counter()
        self._files: list[Path] = []
        self._colour_masks: list[Path] = []

    def add(self, path: Path, pixels: Mapping[RawValue, int]) -> None:
        """Count the pixels of each unknown value of a mask."""
        self._files.append(path)
        for value, count in pixels.items():
            if value in self.pixels or len(self.pixels) < _MOST_VALUES:
                self.pixels[value] += count
                self._masks[value] += 1

    def add_colour_mask(self, path: Path) -> None:
        """Count an RGB mask of a data set that says nothing about colours."""
        self._colour_masks.append(path)

    def errors(self, everywhere: Sequence[RawValue]) -> list[tuple[str, Path, DataError]]:
        """At most one error per kind: its code, the first file and the error.

        Args:
            everywhere: the unknown values of all splits, so that one line of data.yaml mends them all.
        """
        found = []
        if self._files:
            found.append(("unknown-value", self._files[0], self._values_error(everywhere)))
        if self._colour_masks:
            first, masks = self._colour_masks[0], _count(len(self._colour_masks), "mask")
            verb = "is an RGB picture" if len(self._colour_masks) == 1 else "are RGB pictures"
            found.append(("colour-mask", first, no_colours(f"{masks} of {self._split} {verb} (first '{first}')")))
        return found

    def _values_error(self, everywhere: Sequence[RawValue]) -> DataError:
        values = [value for value, _ in self.pixels.most_common()]
        listed = list_values({v: f"{self.pixels[v]} px in {_count(self._masks[v], 'mask')}" for v in values})
        holds = "holds" if len(self._files) == 1 else "hold"
        what = "the unknown value" if len(values) == 1 else "the unknown values"
        return DataError(
            f"{_count(len(self._files), 'mask')} of {self._split} {holds} {what} {listed}, first in "
            f"'{self._files[0]}'; {self._reader.known(values)}",
            fix=self._reader.how_to_map(everywhere),
        )


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
