"""What a format's reader hands to the converter: classes, pictures, and masks, drawn when they are asked for."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.data.masks import ignore_index_of
from segwright.errors import ConfigError, DataError, did_you_mean
from segwright.info import Colour

IntArray = NDArray[np.integer]
Size = tuple[int, int]
"""(height, width) in pixels."""

BACKGROUND = "background"
_BACKGROUNDS = ("background", "_background_")
_IGNORED = ("ignore", "__ignore__", "void", "unlabeled", "unlabelled")
"""Class names, in lower case, that say that nobody knows what is there."""

MOST_BYTES = 2_000_000_000
_MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485


def counted(number: int, noun: str) -> str:
    """``1 picture``, ``2 pictures``, ``2 classes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


@dataclass(frozen=True)
class Options:
    """What a user may say about a data set.

    Args:
        classes: names by mask value, or of all labels in the order that is wanted.
        palette: file with class names and colours.
        levels: grey levels of the classes, in order.
        ignore: names or values of classes that are left out of loss and scores; ``None`` for names like ``void``.
        background: name of the class of pixels without a shape, or ``"ignore"``.
        overlap: ``"area"`` draws larger shapes first, ``"order"`` keeps the source's order; ``None`` for the format's
            own rule.
        coarse: read coarse labels where a format has both.
        ignore_outside: folder of field-of-view masks; pixels that are 0 there are ignored.
        max_pixels: of a picture.
        max_bytes: of a JSON or XML file.
    """

    classes: tuple[str, ...] = ()
    palette: Path | None = None
    levels: tuple[int, ...] = ()
    ignore: tuple[str, ...] | None = None
    background: str = BACKGROUND
    overlap: str | None = None
    coarse: bool = False
    ignore_outside: Path | None = None
    max_pixels: int = _MOST_PIXELS
    max_bytes: int = MOST_BYTES

    def check(self) -> None:
        """Look at the values.

        Raises:
            ConfigError: one that nobody can use.
        """
        if not 1 <= self.max_pixels <= _MOST_PIXELS:
            raise ConfigError(
                f"--max-pixels must lie in 1..{_MOST_PIXELS}, got {self.max_pixels}",
                fix="cut larger pictures into parts, or set SEGWRIGHT_MAX_PIXELS=N, which every command obeys",
            )
        if self.max_bytes < 1:
            raise ConfigError(f"--max-bytes must be 1 or above, got {self.max_bytes}", fix="leave it out for 2 GB")
        if self.levels and (
            len(set(self.levels)) < max(2, len(self.levels)) or not all(0 <= level < 65536 for level in self.levels)
        ):
            raise ConfigError(
                f"--levels takes two or more grey levels, got {list(self.levels)}", fix="write for example 0,127,254"
            )
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ConfigError(f"--classes names '{twice}' twice", fix="give each class its own name")
        if self.overlap not in (None, "area", "order"):
            raise ConfigError(f"--overlap must be area or order, got '{self.overlap}'", fix="give one of the two")
        if self.levels and self.classes and len(self.levels) != len(self.classes):
            raise ConfigError(
                f"{len(self.levels)} levels and {counted(len(self.classes), 'class')} were given",
                fix="give a name for each level",
            )
        if not self.background.strip():
            raise ConfigError("--background is empty", fix="give a name, or 'ignore'")


class Notes:
    """What is to be told about a conversion: sentences, and counts of what was left out or changed.

    ``drawn`` counts the shapes that have been drawn so far.
    """

    def __init__(self) -> None:
        self.drawn = 0
        self._said: list[str] = []
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def say(self, sentence: str) -> None:
        """Tell a fact, once."""
        if sentence not in self._said:
            self._said.append(sentence)

    def count(self, what: str, where: object, number: int = 1) -> None:
        """Count ``number`` more of ``what``, found in ``where``."""
        self._counts[what] += number
        place = str(where)
        self._first.setdefault(what, place if place.startswith("'") else f"'{place}'")

    def overlap(self, options: Options, default: str) -> str:
        """Which shapes lie on top, told."""
        chosen = options.overlap or default
        said = {
            "area": "larger shapes are drawn first, so that smaller ones lie on top (--overlap order: as in the file)",
            "order": "later shapes lie on top (--overlap area: smaller ones do)",
        }
        self.say(said[chosen])
        return chosen

    def sentences(self) -> tuple[str, ...]:
        """All that is to be told."""
        counted = (f"{what}: {number}, first in {self._first[what]}" for what, number in self._counts.items())
        return (*self._said, *counted)


class Sample(NamedTuple):
    """A picture and how to draw its mask.

    Args:
        stem: path of the picture without suffix, below the split's folder; safe to write.
        split: train, val or test; ``None`` where the source does not say.
        image: the file, or what reads the bytes of a picture inside of the label file.
        draw: the mask for a picture of (height, width), as class indices; a mask file gives its own size.
        where: the file that labels it, for messages.
        size: (height, width) of the picture that the labels were made on, where the source says it.
    """

    stem: str
    split: str | None
    image: Path | Callable[[], bytes]
    draw: Callable[[Size], IntArray]
    where: str
    size: Size | None = None


@dataclass(frozen=True)
class Reading:
    """A data set as a format's reader understood it.

    Args:
        understood: one sentence for people.
        classes: names; the position is the class index.
        samples: pictures and masks; nothing is drawn yet.
        notes: filled further while masks are drawn.
        palette: a colour for each class, or empty.
    """

    understood: str
    classes: tuple[str, ...]
    samples: Sequence[Sample]
    notes: Notes = field(default_factory=Notes)
    palette: tuple[Colour, ...] = ()


class LabelTable(NamedTuple):
    """Which class index a label's name means.

    Args:
        classes: names; the position is the class index.
        value: class index of each label; ``ignore_index`` for labels that are ignored.
        unlabelled: the index of pixels without a shape.
    """

    classes: tuple[str, ...]
    value: dict[str, int]
    unlabelled: int


def label_table(names: Sequence[str], options: Options, notes: Notes, where: object) -> LabelTable:
    """Classes for labelled shapes: pixels without a shape become class 0, or are ignored.

    Args:
        names: labels in the source's order.
        options: of the user; ``classes`` chooses the order, ``ignore`` what is left out.
        notes: gets what was decided.
        where: the file that names the labels.

    Raises:
        DataError: an empty name, or one that stands twice.
        ConfigError: ``classes`` or ``ignore`` name a label that is not there.
    """
    names = [name.strip() for name in names]
    refuse_bad_names(names, where)
    _tell_near_names(names, notes)
    ignored = ignored_names(names, options, notes)
    kept = _in_order([name for name in names if name not in ignored], options)
    first = next((name for name in kept if name.lower() in _BACKGROUNDS), None)
    if options.background == "ignore":
        notes.say("pixels without a shape are ignored")
        classes = tuple(kept)
    elif first is not None:
        notes.say(f"label '{first}' serves as class 0, and so do pixels without a shape")
        classes = (first, *(name for name in kept if name != first))
    else:
        if options.background in kept:
            raise ConfigError(f"--background '{options.background}' is a label as well", fix="give another name")
        notes.say(f"class 0 '{options.background}' is added for pixels without a shape")
        classes = (options.background, *kept)
    if not classes:
        raise DataError(f"'{where}' names no class", fix="label something, or give --background NAME")
    ignore_index = ignore_index_of(len(classes))
    index = {name: position for position, name in enumerate(classes)} | dict.fromkeys(ignored, ignore_index)
    return LabelTable(classes, index, ignore_index if options.background == "ignore" else 0)


def _tell_near_names(names: Sequence[str], notes: Notes) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            notes.say(f"labels '{other}' and '{name}' differ in capitals only and stay two classes")


def refuse_bad_names(names: Sequence[str], where: object) -> None:
    """Raise where a name is empty or stands twice.

    Raises:
        DataError: the first such name.
    """
    for name, count in Counter(names).items():
        if not name or not name.isprintable():
            raise DataError(f"'{where}' has a class without a printable name", fix="give each class a name")
        if count > 1:
            raise DataError(f"class name '{name}' stands twice in '{where}'", fix="give each class its own name")


def ignored_names(names: Sequence[str], options: Options, notes: Notes) -> list[str]:
    """The names among ``names`` that are left out of loss and scores.

    Raises:
        ConfigError: ``options.ignore`` names one that is not there.
    """
    if options.ignore is None:
        ignored = [name for name in names if name.lower() in _IGNORED]
    else:
        wanted = [name for name in options.ignore if not name.isdigit() and name != "none"]
        for name in wanted:
            refuse_unknown(name, names, "--ignore")
        ignored = [name for name in names if name in wanted]
    for name in ignored:
        notes.say(f"'{name}' is ignored in loss and scores" + (" (--ignore none keeps it)" * (options.ignore is None)))
    return ignored


def refuse_unknown(name: str, names: Sequence[str], option: str) -> None:
    """Raise where an option names no label.

    Raises:
        ConfigError: it does; the nearest label is suggested.
    """
    if name not in names:
        raise ConfigError(
            f"{option} names '{name}', which is no label of the data{did_you_mean(name, names)}",
            fix=f"labels: {', '.join(names[:30])}",
        )


def _in_order(names: list[str], options: Options) -> list[str]:
    """``names`` as the user wants them; all must be in the list, which may also hold classes without a shape."""
    if not options.classes:
        return names
    missing = [name for name in names if name not in options.classes]
    if missing:
        raise ConfigError(
            f"--classes leaves out the label '{missing[0]}'", fix=f"name all of: {', '.join(names)}; or --ignore it"
        )
    return [name for name in options.classes if name != options.background or name in names]
