"""Mask files to class indices: index, palette, 16-bit and RGB PNGs, through one table.

Inside segwright a mask is a (H, W) array of class indices, with ``ignore_index`` at pixels that do not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import DataError
from segwright.info import Colour

IntArray = NDArray[np.integer]

IGNORE = "ignore"
_UNKNOWN = -1
_TABLE_SIZE = 65536
_STRETCHED = {"L;2": 85, "L;4": 17}
"""Grey values of 2 and 4 bits, which Pillow stretches to 0..255, and by what."""
_COLOUR_MODES = ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA")


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

    def decode(self, raw: IntArray, path: Path) -> IntArray:
        """Class indices of raw values (H, W) or colours (H, W, 3), or of any window of them.

        Raises:
            DataError: as :meth:`read`; names ``path``.
        """
        classes = self._from_colours(raw, path) if raw.ndim == 3 else self._table[raw]
        if (classes == _UNKNOWN).any():
            self._refuse_unknown(raw, classes, path)
        return classes.astype(self.dtype)

    def _from_colours(self, raw: IntArray, path: Path) -> IntArray:
        if not len(self._colours):
            raise DataError(
                f"mask '{path}' is an RGB picture, and the data set says nothing about colours",
                fix="add the colours to data.yaml, as 'palette: {road: [128, 64, 128]}' or "
                "'map: {\"128,64,128\": road}'",
            )
        packed = raw.astype(np.int64) @ np.array([65536, 256, 1])
        position = np.searchsorted(self._colours, packed).clip(max=len(self._colours) - 1)
        return np.where(self._colours[position] == packed, self._colour_classes[position], _UNKNOWN)

    def _refuse_unknown(self, raw: IntArray, classes: IntArray, path: Path) -> None:
        rows, columns = np.nonzero(classes == _UNKNOWN)
        values, counts = np.unique(raw[rows, columns], axis=0, return_counts=True)
        worst = counts.argmax()
        is_colour = raw.ndim == 3
        shown = ",".join(map(str, values[worst])) if is_colour else str(values[worst])
        key = f'"{shown}"' if is_colour else shown
        others = f" and {len(values) - 1} other unknown values" if len(values) > 1 else ""
        last, ignore = len(self.labels.classes) - 1, ", ".join(map(str, self.labels.ignore)) or "none"
        lossy = "the mask is a lossy JPEG: save it as PNG; or " if path.suffix.lower() in (".jpg", ".jpeg") else ""
        known = "its colours are in palette and map" if is_colour else f"classes end at {last} and ignore is {ignore}"
        raise DataError(
            f"mask '{path}' holds value {shown} ({counts[worst]} px, first at row {rows[0]}, column {columns[0]})"
            f"{others}; {known}",
            fix=f"{lossy}add 'map: {{{key}: ignore}}' to data.yaml, or the class it means in place of ignore",
        )


def read_raw_mask(path: Path) -> IntArray:
    """(H, W) raw values of an index, palette, 1-bit or 16-bit mask, or (H, W, 3) colours.

    Raises:
        DataError: missing, unreadable or truncated file, or a picture of another kind.
    """
    try:
        with Image.open(path) as picture:
            stretch = _STRETCHED.get(str(picture.tile[0].args) if picture.tile else "", 1)  # tile is gone once decoded
            if picture.mode in _COLOUR_MODES:
                return np.asarray(picture.convert("RGB"))
            values: IntArray = np.asarray(picture)
    except FileNotFoundError as reason:
        raise DataError(f"mask '{path}' does not exist", fix="add it, or remove its picture") from reason
    except Exception as reason:  # damaged files make Pillow's decoders raise anything, SyntaxError included
        raise unreadable_mask(path, reason) from reason
    if values.dtype.kind == "f":
        raise DataError(f"mask '{path}' holds decimal numbers (mode {picture.mode})", fix="save it as an index PNG")
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.min(initial=0) < 0 or values.max(initial=0) >= _TABLE_SIZE:
        raise DataError(f"mask '{path}' holds values outside 0..65535", fix="save it as an 8-bit or 16-bit index PNG")
    return values // stretch if stretch > 1 else values


def unreadable_mask(path: Path, reason: Exception) -> DataError:
    """The error for a mask file that is missing, truncated or no picture."""
    return DataError(f"mask '{path}' cannot be read ({reason})", fix="copy the file again or remove the pair")


def count_pixels(mask: IntArray, num_classes: int) -> Sequence[int]:
    """Pixels of each class index in a decoded mask."""
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes].tolist()  # type: ignore[no-any-return]


def _pack(colour: Colour) -> int:
    return (colour[0] << 16) + (colour[1] << 8) + colour[2]
