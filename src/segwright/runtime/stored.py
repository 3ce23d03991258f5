"""How a picture file stores its pixels: size, bands and kind of numbers, by its head alone."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from segwright.errors import DataError

BandType = Literal["uint8", "uint16", "float32"]
"""What stored values are read as."""

LYING = (5, 6, 7, 8)
"""EXIF orientations that are shown with height and width exchanged."""

_ORIENTATION = 0x0112
_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BANDS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Bands by PNG's colour type; a palette (3) is looked up."""
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""First bytes of a TIFF -> byte order; with a plus sign it is a BigTIFF."""
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of a TIFF's fields that hold whole numbers."""
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _SUBFILE, _EXTRA, _FORMAT = 256, 257, 258, 262, 277, 254, 338, 339
_PALETTE = 3
_TIFF_COLOURS = {0: 1, 1: 1, 2: 3, _PALETTE: 1, 5: 4, 6: 3, 8: 3}
"""Bands that a TIFF's photometric interpretation means; others are alpha or undeclared."""
_PILLOWS_NUMBERS = {(1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (2, 16), (2, 32), (3, 32)}
"""Sample format (without sign, with sign, floating point) and bits of single bands that Pillow reads as they are."""
_MOST_VALUES, _MOST_CHUNKS = 4096, 1 << 20
"""Entries and values that are looked at, so that no damaged file keeps anybody busy."""
_PLACE = (33550, 33922, 34264, 34735, 50844)
"""Tags of a georeferenced TIFF: scale, tie points, transformation, keys, rational polynomials; one is enough."""

_MODE_BANDS = {"1": 1, "L": 1, "LA": 2, "P": 3, "PA": 3, "RGB": 3, "YCbCr": 3}
"""Bands by Pillow's mode, in the formats of up to 8 bits; 4 in all others."""


@dataclass(frozen=True)
class Stored:
    """How a file stores a picture.

    Args:
        size: (height, width) as shown.
        bands: channels of a pixel; 3 where a palette is looked up.
        dtype: what its values are read as: unsigned integers of up to 8 or 16 bits, or anything else as float32.
        orientation: EXIF's, 1 to 8.
        fits_rgb: whether it is read as 8-bit RGB, without losing anything but alpha; arrays are not.
        reader: what decodes it in full: ``pillow``, ``numpy`` or ``rasterio``.
        has_pages: whether other pictures follow it in the file.
        is_placed: whether a TIFF says where on earth it lies.
    """

    size: tuple[int, int]
    bands: int
    dtype: BandType
    orientation: int = 1
    fits_rgb: bool = True
    reader: Literal["pillow", "numpy", "rasterio"] = "pillow"
    has_pages: bool = False
    is_placed: bool = False

    def __str__(self) -> str:
        kind = {"uint8": "8 bits", "uint16": "16 bits", "float32": "float32"}[self.dtype]
        return f"{self.bands} {'band' if self.bands == 1 else 'bands'} of {kind}"


def stored_as(path: Path) -> Stored:
    """Look at a file's head.

    Raises:
        DataError: no such file, a folder, no picture, damaged, or of complex numbers; names the file.
    """
    if not path.is_file():
        problem = "is a folder, not a picture" if path.is_dir() else "does not exist"
        raise DataError(f"picture '{path}' {problem}", fix="check the path")
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start[:4] in _TIFF:
                return _of_tiff(file, _TIFF[start[:4]], is_big=start[2] == 43 or start[3] == 43)
            if start == _PNG:
                return _of_png(file)
            if start.startswith(_NPY):
                return _of_npy(file)
        return _of_other(path)
    except DataError as reason:
        raise DataError(f"picture '{path}' {reason.message}", fix=reason.fix) from reason
    except Exception as reason:  # damaged heads make decoders raise anything
        raise DataError(
            f"picture '{path}' cannot be read ({' '.join(str(reason).split())})", fix="copy it again or save it anew"
        ) from reason


def _of_tiff(file: BinaryIO, order: str, *, is_big: bool) -> Stored:
    file.seek(8 if is_big else 4)
    place = _number(file, order + ("Q" if is_big else "I"))
    tags, following = _directory(file, place, order, is_big)
    size, bands = (tags[_HEIGHT][0], tags[_WIDTH][0]), tags.get(_SAMPLES, (1,))[0]
    if min(*size, bands) < 1:
        raise DataError("has no pixel", fix="save it anew")
    dtype, bits = _tiff_type(tags), tags.get(_BITS, (1,))[0]
    colours, orientation = _TIFF_COLOURS.get(tags.get(_PHOTOMETRIC, (1,))[0]), tags.get(_ORIENTATION, (1,))[0]
    is_palette = tags.get(_PHOTOMETRIC, (1,))[0] == _PALETTE
    if is_palette and (bands, dtype) != (1, "uint8"):
        raise DataError("has a palette beside other bands, or one of more than 8 bits", fix="save it without a palette")
    extra = tags.get(_EXTRA, ())[: bands - (colours or 0)]
    is_plain = bands == colours or (bands - 1 == colours and extra in ((1,), (2,)))
    has_pages = bool(following) and not _directory(file, following, order, is_big)[0].get(_SUBFILE, (0,))[0] & 0b101
    reader: Literal["pillow", "rasterio"] = "rasterio"
    if bands == 1:
        reader = "pillow" if (tags.get(_FORMAT, (1,))[0], bits) in _PILLOWS_NUMBERS else "rasterio"
    elif dtype == "uint8" and bits == 8 and (bands == colours or extra == (2,) or (bands, extra) == (4, (0,))):
        reader = "pillow"
    size = size[::-1] if orientation in LYING else size
    is_rgb = is_plain and dtype == "uint8"
    is_placed = any(tag in tags for tag in _PLACE)
    return Stored(size, 3 if is_palette else bands, dtype, orientation, is_rgb, reader, has_pages, is_placed)


def _tiff_type(tags: dict[int, tuple[int, ...]]) -> BandType:
    kind, bits = tags.get(_FORMAT, (1,))[0], max(tags.get(_BITS, (1,)))
    if kind in (5, 6):
        raise DataError("holds complex numbers", fix="save magnitude and phase as bands of their own")
    if kind in (2, 3) or bits > 16:
        return "float32"
    return "uint8" if bits <= 8 else "uint16"


def _directory(file: BinaryIO, place: int, order: str, is_big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """The whole numbers in a TIFF's directory by tag, and where the next directory is; 0 behind the last."""
    count_format, entry_bytes, inline = (order + "Q", 20, 8) if is_big else (order + "H", 12, 4)
    file.seek(place)
    count = _number(file, count_format)
    entries = file.read(min(count, _MOST_VALUES) * entry_bytes)
    following = _number(file, order + ("Q" if is_big else "I"))
    tags: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(entries) - entry_bytes + 1, entry_bytes):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if is_big else "HHI"), entries, start)
        if tag in _PLACE:
            tags[tag] = ()
        if kind not in _TIFF_NUMBERS or not 0 < length <= _MOST_VALUES:
            continue
        numbers = f"{order}{length}{_TIFF_NUMBERS[kind]}"
        held = entries[start + entry_bytes - inline : start + entry_bytes]
        if struct.calcsize(numbers) > inline:
            file.seek(struct.unpack(order + ("Q" if is_big else "I"), held)[0])
            held = file.read(struct.calcsize(numbers))
        tags[tag] = struct.unpack_from(numbers, held)
    return tags, following


def _number(file: BinaryIO, format: str) -> int:
    return int(struct.unpack(format, file.read(struct.calcsize(format)))[0])


def _of_png(file: BinaryIO) -> Stored:
    _, width, height, depth, colour = struct.unpack(">8s2I2B", file.read(18))
    bands, orientation = _PNG_BANDS[colour], _png_orientation(file)
    size = (width, height) if orientation in LYING else (height, width)
    if depth <= 8:
        return Stored(size, bands, "uint8", orientation)
    # Pillow cuts colours of 16 bits to 8.
    return Stored(size, bands, "uint16", orientation, False, "pillow" if colour == 0 else "rasterio")


def _png_orientation(file: BinaryIO) -> int:
    """EXIF orientation in a PNG, whose chunks follow one another as length, name, content and checksum."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, 8)
        length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"IEND")
        if name == b"IEND":
            break
        if name == b"eXIf":
            exif = Image.Exif()
            exif.load(file.read(min(length, 1 << 16)))
            return int(exif.get(_ORIENTATION, 1))
        place += length + 12
    return 1


def _at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _of_npy(file: BinaryIO) -> Stored:
    file.seek(0)
    version: Any = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if len(shape) not in (2, 3) or 0 in shape:
        raise DataError(f"is an array of shape {shape}", fix="save (H, W) or (H, W, bands)")
    kind = band_type(dtype)
    bands = shape[2] if len(shape) == 3 else 1
    return Stored((shape[0], shape[1]), bands, kind, fits_rgb=False, reader="numpy")


def band_type(dtype: "np.dtype[Any]") -> BandType:
    """What an array's numbers are read as.

    Raises:
        DataError: truth values, complex numbers, or no numbers at all.
    """
    if dtype.kind not in "uif":
        raise DataError(f"holds values of type {dtype}", fix="save unsigned integers or floating-point numbers")
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return "uint8" if dtype.itemsize == 1 else "uint16"
    return "float32"


def _of_other(path: Path) -> Stored:
    with Image.open(path) as picture:
        orientation = picture.getexif().get(_ORIENTATION, 1)
        size = (picture.width, picture.height) if orientation in LYING else (picture.height, picture.width)
        return Stored(size, _MODE_BANDS.get(picture.mode, 4), "uint8", orientation)
