"""Tables of classes: names and colours from the files that tools write, and masks looked up in them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segwright.data.formats.pairs import grey_of
from segwright.data.formats.reading import IntArray, Notes, Options, counted, ignored_names, refuse_bad_names
from segwright.data.masks import ignore_index_of, read_raw_mask
from segwright.errors import ConfigError, DataError
from segwright.info import Colour

COLOUR_FILES = ("class_dict.csv", "labelmap.txt", "label_colors.txt", "colormap.txt", "palette.txt", "classes.csv")
NAME_FILES = ("classes.txt", "labels.txt", "class_names.txt", "names.txt", "label_names.txt")
_NUMBERED = "_classes.csv"

_MOST_BYTES = 1 << 20  # a table of 65535 classes is smaller


class Classes(NamedTuple):
    """Names by mask value, and colours where a file has them."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    source: str


def find_classes(root: Path, options: Options) -> Classes | None:
    """The table of classes: ``--palette``, ``--classes``, or a file of a known name in ``root``; ``None`` without.

    Raises:
        DataError: a table that cannot be read, a name or a colour that stands twice.
    """
    if options.palette is not None:
        return read_colours(options.palette)
    if options.classes:
        return Classes(options.classes, (), "--classes")
    for name in COLOUR_FILES:
        if (root / name).is_file():
            return read_colours(root / name)
    for name in NAME_FILES:
        if (root / name).is_file():
            return _read_names(root / name)
    return _read_numbered(root)


def read_colours(path: Path) -> Classes:
    """Names and colours, a class a line: ``road,128,64,128``, ``128 64 128 road`` or ``road:128,64,128::``.

    Raises:
        DataError: a line that is neither (the first may be a heading), or a name or a colour that stands twice.
    """
    names: list[str] = []
    colours: list[Colour] = []
    for number, line in _lines(path):
        found = _name_and_colour(line)
        if found is None and number == 1:
            continue
        if found is None or max(found[1]) > 255:
            raise DataError(f"'{path}' line {number} is no class with a colour", fix="write 'road,128,64,128'")
        names.append(found[0])
        colours.append(found[1])
    if not names:
        raise DataError(f"'{path}' holds no class with a colour", fix="write a line 'road,128,64,128' for each class")
    refuse_bad_names(names, path)
    for colour, count in Counter(colours).items():
        if count > 1:
            raise DataError(f"'{path}' gives the colour {colour} to two classes", fix="give each class its own colour")
    return Classes(tuple(names), tuple(colours), str(path))


def _name_and_colour(line: str) -> tuple[str, Colour] | None:
    """The name and the three numbers behind it, or before it; a number before both is the class's index."""
    words = [word.strip(" \"'[]()") for word in re.split(r"[,;:\t]", line)]
    words = [part for word in words for part in (word.split() if re.fullmatch(r"[\d\s]+", word) else [word])]
    if len(words) == 1:
        words = line.split()
        last = next((i for i in range(len(words), 0, -1) if not words[i - 1].isdecimal()), 0)
        first = next((i for i, word in enumerate(words) if not word.isdecimal()), 0)
        words = [*words[:first], " ".join(words[first:last]), *words[last:]]
    name = next((i for i, word in enumerate(words) if word and not word.isdecimal()), None)
    if name is None:
        return None
    before, behind = words[:name], words[name + 1 :]
    numbers = behind[:3] if len(behind) >= 3 and all(map(str.isdecimal, behind[:3])) else before[-3:]
    if len(numbers) != 3 or any(len(number) > 3 for number in numbers):
        return None
    red, green, blue = map(int, numbers)
    return words[name], (red, green, blue)


def _read_names(path: Path) -> Classes:
    """Names, a class a line, or with colours behind them."""
    lines = [line for _, line in _lines(path)]
    if lines and all(map(_name_and_colour, lines)):
        return read_colours(path)
    names = [re.sub(r"^\d+\s*[:,]\s*", "", line).strip() for line in lines]
    refuse_bad_names(names, path)
    return Classes(tuple(names), (), str(path))


def _read_numbered(root: Path) -> Classes | None:
    """Roboflow's _classes.csv of mask values and names, in the folder of each split."""
    found: Classes | None = None
    for path in [root / _NUMBERED, *sorted(root.glob(f"*/{_NUMBERED}"))]:
        lines = [line for _, line in _lines(path)] if path.is_file() else []
        if not lines or not lines[0].lower().startswith("pixel value"):  # the same name serves for labels of pictures
            continue
        rows = [line.partition(",")[::2] for line in lines[1:]]
        if [value.strip() for value, _ in rows] != [str(number) for number in range(len(rows))]:
            raise DataError(f"'{path}' does not number its classes from 0 without gaps", fix="name them by --classes")
        names = tuple(name.strip() for _, name in rows)
        refuse_bad_names(names, path)
        if found is not None and found.names != names:
            raise DataError(f"'{found.source}' and '{path}' name other classes", fix="name them by --classes")
        found = found or Classes(names, (), str(path))
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines, without empty ones and comments."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"'{path}' is too long for a table of classes", fix="give the right file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise DataError(f"'{path}' cannot be read ({reason.strerror})", fix="give the path of a text file") from reason
    except UnicodeDecodeError as reason:
        raise DataError(f"'{path}' is no UTF-8 text", fix="save it as UTF-8") from reason
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]


class Decoder:
    """Mask files to class indices, by value and by colour.

    Args:
        names: by mask value.
        options: ``ignore`` names classes or values that are left out.
        notes: get what is ignored.
        colours: of the names, where RGB masks are to be read.
        ignored_values: that mean nothing, besides 255 where it is no class.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: Options,
        notes: Notes,
        colours: Sequence[Colour] = (),
        ignored_values: Sequence[int] = (),
    ) -> None:
        ignored = set(ignored_names(names, options, notes))
        values = {int(value) for value in options.ignore or () if value.isdigit()} | set(ignored_values)
        ignored |= {name for value, name in enumerate(names) if value in values}
        kept = [name for name in names if name not in ignored]
        if not kept:
            raise ConfigError("every class is ignored", fix="take names out of --ignore")
        self.classes = tuple(kept)
        self.palette = tuple(colours[names.index(name)] for name in kept) if colours else ()
        self._ignore_index = ignore_index_of(len(kept))
        indices = [self._ignore_index if name in ignored else kept.index(name) for name in names]
        self._table = np.full(65536, -1, np.int32)
        self._table[255] = self._ignore_index
        self._table[[value for value in values if value < 65536]] = self._ignore_index
        self._table[: len(names)] = indices
        self._colours = {int(_packed(np.array(c))): i for c, i in zip(colours, indices, strict=False)}
        self._names = dict(zip(self._colours, names, strict=False))

    def __call__(self, path: Path) -> IntArray:
        """(H, W) class indices of a mask file.

        Raises:
            DataError: unreadable, or a value or a colour that is no class.
        """
        raw = read_raw_mask(path)
        if raw.ndim == 3 and self._colours:
            return self._by_colour(raw, path)
        if raw.ndim == 3:
            raw = grey_of(raw)
        if raw.ndim == 3:
            raise no_table(path)
        return self.of_values(raw, path)

    def of_values(self, raw: IntArray, path: Path) -> IntArray:
        """Class indices of the values in a mask file.

        Raises:
            DataError: a value that is no class.
        """
        found = self._table[raw]
        if (found < 0).any():
            values, counts = np.unique(raw[found < 0], return_counts=True)
            listed = ", ".join(f"{v} ({c} px)" for v, c in zip(values[:10].tolist(), counts.tolist(), strict=False))
            raise DataError(
                f"mask '{path}' holds {listed}; the {len(self.classes)} classes end at {len(self.classes) - 1}",
                fix=f"name more classes with --classes, or give --ignore {values[0]}",
            )
        return found

    def translate(self, values: IntArray) -> IntArray:
        """Class indices of values that all are known."""
        found: IntArray = self._table[values]
        return found

    def _by_colour(self, raw: IntArray, path: Path) -> IntArray:
        packed = _packed(raw)
        colours, where = np.unique(packed, return_inverse=True)
        indices = np.array([self._colours.get(int(colour), -1) for colour in colours], np.int32)
        found: IntArray = indices[where].reshape(packed.shape)
        if (found < 0).any():
            values, counts = np.unique(packed[found < 0], return_counts=True)
            worst = int(values[counts.argmax()])
            raise DataError(
                f"mask '{path}' holds {counted(len(values), 'colour')} of no class, first {_shown(worst)} "
                f"({counts.max()} px); nearest is {self._nearest(worst)}",
                fix="add the colour to the table, or save the masks without smoothing",
            )
        return found

    def _nearest(self, colour: int) -> str:
        known = np.array([_unpacked(value) for value in self._colours])
        nearest = list(self._colours)[int(np.abs(known - np.array(_unpacked(colour))).sum(axis=1).argmin())]
        return f"'{self._names[nearest]}' {_shown(nearest)}"


def no_table(path: object) -> DataError:
    """The error for colours that no table explains."""
    return DataError(
        f"mask '{path}' is an RGB picture, and no table says what its colours mean",
        fix="give --palette FILE with lines like 'road,128,64,128', or put it there as class_dict.csv",
    )


def _packed(colours: IntArray) -> IntArray:
    """(..., 3) colours as (...) 24-bit numbers."""
    wide = colours.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _unpacked(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _shown(colour: int) -> str:
    return ",".join(map(str, _unpacked(colour)))
