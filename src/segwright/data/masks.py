"""Mask files to class indices: index, palette, 16-bit and RGB PNGs, through one table.

Inside segwright a mask is a (H, W) array of class indices, with ``ignore_index`` at pixels that do not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import DataError
from segwright.info import Colour

IntArray = NDArray[np.integer]
RawValue = int | Colour
"""What a pixel of a mask file holds: a number, or a colour."""

IGNORE = "ignore"
_UNKNOWN = -1
_TABLE_SIZE = 65536
_STRETCHED = {"L;2": 85, "L;4": 17}
"""Grey values of 2 and 4 bits, which Pillow stretches to 0..255, and by what."""
_MOST_LISTED = 10
_COLOUR_MODES = ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA")


class LossyMaskError(DataError):
    """A mask file whose compression alters class values."""


def ignore_index_of(num_classes: int) -> int:
    """The value of ignored pixels inside segwright: 255, or 65535 where 255 is a class."""
    return 255 if num_classes <= 255 else 65535


@dataclass(frozen=True)
class Labels:
    """What the values in a data set's mask files mean.

    Args:
        classes: names; the position is the class index.
        palette: one colour per class, or empty.
        ignore: mask values left out of loss and scores.
        map: raw value, or colour, to class name or ``"ignore"``.
        palette_is_stated: whether the data set gave the palette, so that RGB masks can be read by it.
    """

    classes: tuple[str, ...]
    palette: tuple[Colour, ...] = ()
    ignore: tuple[int, ...] = (255,)
    map: Mapping[int | Colour, str] | None = None
    palette_is_stated: bool = False

    @property
    def ignore_index(self) -> int:
        return ignore_index_of(len(self.classes))

    def index_table(self) -> IntArray:
        """(65536,) int32: raw value to class index, ``ignore_index``, or -1 for an unknown value."""
        table = np.full(_TABLE_SIZE, _UNKNOWN, np.int32)
        table[: len(self.classes)] = np.arange(len(self.classes))
        table[list(self.ignore)] = self.ignore_index
        for raw, name in (self.map or {}).items():
            if isinstance(raw, int):
                table[raw] = self._index(name)
        return table

    def colour_table(self) -> dict[int, int]:
        """24-bit colour to class index or ``ignore_index``; empty when the data set states no colours."""
        colours = dict(zip(self.palette, self.classes, strict=True)) if self.palette_is_stated else {}
        colours.update({raw: name for raw, name in (self.map or {}).items() if isinstance(raw, tuple)})
        return {_pack(colour): self._index(name) for colour, name in colours.items()}

    def _index(self, name: str) -> int:
        return self.ignore_index if name == IGNORE else self.classes.index(name)


class MaskReader:
    """Reads mask files of one data set.

    Args:
        labels: what their values mean.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.dtype = np.uint8 if labels.ignore_index == 255 else np.uint16
        self._table = labels.index_table()
        colours = sorted(labels.colour_table().items())
        self._colours = np.array([colour for colour, _ in colours], np.int64)
        self._colour_classes = np.array([index for _, index in colours], np.int32)

    def read(self, path: Path) -> IntArray:
        """(H, W) class indices.

        Raises:
            DataError: unreadable file, RGB mask without colours, or a value that means nothing.
        """
        return self.decode(read_raw_mask(path), path)

    def decode(self, raw: IntArray, path: Path, whole: IntArray | None = None) -> IntArray:
        """Class indices of raw values (H, W) or colours (H, W, 3), or of any window of them.

        Args:
            raw: what to decode.
            path: the mask file, for errors.
            whole: all raw values of the file, for errors, where ``raw`` is a window of them.

        Raises:
            DataError: as :meth:`read`; names ``path``.
        """
        classes = self._translate(raw, path)
        if (classes == _UNKNOWN).any():
            raise self._unknown_in_file(raw if whole is None else whole, path)
        return classes.astype(self.dtype)

    def unknown_values(self, raw: IntArray, path: Path) -> dict[RawValue, int]:
        """Pixels of each value that means nothing, the most frequent first.

        Args:
            raw: values (H, W) or colours (H, W, 3) of a mask file.
            path: the file, for errors.

        Raises:
            DataError: colours, and the data set says nothing about colours.
        """
        unknown = raw[self._translate(raw, path) == _UNKNOWN]
        return count_values(unknown, is_colour=raw.ndim == 3)

    def meanings(self) -> dict[RawValue, int]:
        """Class index, or ``ignore_index``, by each value and colour that means something."""
        known = np.flatnonzero(self._table != _UNKNOWN)
        meanings: dict[RawValue, int] = dict(zip(known.tolist(), self._table[known].tolist(), strict=True))
        for colour, index in zip(self._colours.tolist(), self._colour_classes.tolist(), strict=True):
            meanings[_unpack(colour)] = index
        return meanings

    def known(self, values: Iterable[RawValue]) -> str:
        """What is known of the kinds of these values: numbers, colours or both."""
        last, ignore = len(self.labels.classes) - 1, ", ".join(map(str, self.labels.ignore)) or "none"
        numbers, colours = f"classes end at {last} and ignore is {ignore}", "the known colours are in palette and map"
        kinds = {isinstance(value, int) for value in values}
        return "; ".join(text for text, is_number in ((numbers, True), (colours, False)) if is_number in kinds)

    def how_to_map(self, values: Sequence[RawValue]) -> str:
        """What to write into data.yaml about unknown values."""
        keys = [str(value) if isinstance(value, int) else f'"{show_value(value)}"' for value in values]
        entries = ", ".join(f"{key}: ignore" for key in keys[:_MOST_LISTED])
        line = f"add '{entries}' to 'map' in data.yaml" if self.labels.map else f"add 'map: {{{entries}}}' to data.yaml"
        others = " and the others likewise" if len(keys) > _MOST_LISTED else ""
        return f"{line}{others}, or the class{'es they mean' if len(keys) > 1 else ' it means'}"

    def _translate(self, raw: IntArray, path: Path) -> IntArray:
        """Class indices, and -1 at unknown values."""
        return self._from_colours(raw, path) if raw.ndim == 3 else self._table[raw]

    def _from_colours(self, raw: IntArray, path: Path) -> IntArray:
        if not len(self._colours):
            raise no_colours(f"mask '{path}' is an RGB picture")
        packed = pack_colours(raw)
        position = np.searchsorted(self._colours, packed).clip(max=len(self._colours) - 1)
        return np.where(self._colours[position] == packed, self._colour_classes[position], _UNKNOWN)

    def _unknown_in_file(self, raw: IntArray, path: Path) -> DataError:
        rows, columns = np.nonzero(self._translate(raw, path) == _UNKNOWN)
        pixels = self.unknown_values(raw, path)
        what = "value" if len(pixels) == 1 else "unknown values"
        listed = list_values({value: f"{count} px" for value, count in pixels.items()})
        return DataError(
            f"mask '{path}' holds {what} {listed}, first at row {rows[0]}, column {columns[0]}; {self.known(pixels)}",
            fix=self.how_to_map(list(pixels)),
        )


def read_raw_mask(path: Path) -> IntArray:
    """(H, W) raw values of an index, palette, 1-bit or 16-bit mask, or (H, W, 3) colours.

    Raises:
        LossyMaskError: a JPEG or a lossy WebP.
        DataError: missing, unreadable or truncated file, or a picture of another kind.
    """
    try:
        with Image.open(path) as picture:
            if picture.format == "WEBP":
                with path.open("rb") as file:
                    return raw_values(picture, path, is_lossy=is_lossy_webp(file))
            return raw_values(picture, path)
    except DataError:
        raise
    except FileNotFoundError as reason:
        raise DataError(f"mask '{path}' does not exist", fix="add it, or remove its picture") from reason
    except Exception as reason:  # damaged files make Pillow's decoders raise anything, SyntaxError included
        raise unreadable_mask(path, reason) from reason


def raw_values(picture: Image.Image, path: object, *, is_lossy: bool = False) -> IntArray:
    """As :func:`read_raw_mask`, of a picture that is open and not yet decoded.

    Args:
        picture: the mask.
        path: its file, for errors.
        is_lossy: of a WebP: whether it is a lossy one.
    """
    if is_lossy or picture.format in ("JPEG", "MPO"):
        kind = "a lossy WebP" if is_lossy else "a JPEG"
        text = f"mask '{path}' is {kind}, which smears class values"
        raise LossyMaskError(text, fix="export it as PNG from the labelling tool")
    stretch = stretch_of(picture)
    if picture.mode in _COLOUR_MODES:
        return np.asarray(picture.convert("RGB"))
    values: IntArray = np.asarray(picture)
    if values.dtype.kind == "f":
        raise DataError(f"mask '{path}' holds decimal numbers (mode {picture.mode})", fix="save it as an index PNG")
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.min(initial=0) < 0 or values.max(initial=0) >= _TABLE_SIZE:
        raise DataError(f"mask '{path}' holds values outside 0..65535", fix="save it as an 8-bit or 16-bit index PNG")
    return values // stretch if stretch > 1 else values


def stretch_of(picture: Image.Image) -> int:
    """By what Pillow will multiply the values of a picture that is not yet decoded; 1 in most."""
    tile = getattr(picture, "tile", None)  # gone once the picture is decoded
    return _STRETCHED.get(str(tile[0].args) if tile else "", 1)


def is_lossy_webp(file: BinaryIO) -> bool:
    """Whether the first picture in the file is a chunk "VP8 " (lossy) and not "VP8L"."""
    file.seek(12)
    while len(header := file.read(8)) == 8 and header[:4] not in (b"VP8 ", b"VP8L"):
        size = int.from_bytes(header[4:], "little")
        file.seek(size + size % 2, 1)
    return header[:4] == b"VP8 "


def no_colours(what: str) -> DataError:
    """The error for RGB masks of a data set without colours."""
    return DataError(
        f"{what}, and the data set says nothing about colours",
        fix="add the colours to data.yaml, as 'palette: {road: [128, 64, 128]}' or 'map: {\"128,64,128\": road}'",
    )


def unreadable_mask(path: Path, reason: Exception) -> DataError:
    """The error for a mask file that is missing, truncated or no picture."""
    return DataError(f"mask '{path}' cannot be read ({reason})", fix="copy the file again or remove the pair")


def count_values(raw: IntArray, *, is_colour: bool) -> dict[RawValue, int]:
    """Pixels by value, or by colour in the last axis; the most frequent first."""
    values, counts = np.unique(pack_colours(raw) if is_colour else raw, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent = zip(values[order].tolist(), counts[order].tolist(), strict=True)
    return {_unpack(value) if is_colour else value: count for value, count in frequent}


def count_pixels(mask: IntArray, num_classes: int) -> Sequence[int]:
    """Pixels of each class index in a decoded mask."""
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes].tolist()  # type: ignore[no-any-return]


def list_values(facts: Mapping[RawValue, str]) -> str:
    """The first ten values, each with its fact in brackets, and how many others there are."""
    listed = ", ".join(f"{show_value(value)} ({fact})" for value, fact in list(facts.items())[:_MOST_LISTED])
    return f"{listed} and {len(facts) - _MOST_LISTED} others" if len(facts) > _MOST_LISTED else listed


def show_value(value: RawValue) -> str:
    """A number, or a colour as ``128,64,128``."""
    return str(value) if isinstance(value, int) else ",".join(map(str, value))


def pack_colours(colours: IntArray) -> IntArray:
    """(..., 3) colours as (...) 24-bit numbers."""
    packed: IntArray = colours.astype(np.int64) @ np.array([65536, 256, 1])
    return packed


def _unpack(packed: int) -> Colour:
    return packed >> 16, packed >> 8 & 255, packed & 255


def _pack(colour: Colour) -> int:
    return (colour[0] << 16) + (colour[1] << 8) + colour[2]
