"""A picture file: whether it can be read in full, and what matters about it beside its pixels."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from segwright.data.checks.damage import damaged, open_picture, wrong_suffix
from segwright.data.checks.files import Limits, What
from segwright.data.checks.problem import BadFileError, Problem, warning
from segwright.errors import SegmentationError
from segwright.runtime.bands import read_bands
from segwright.runtime.images import is_cut
from segwright.runtime.stored import LYING, stored_as
from segwright.runtime.windowed import raster_facts

_ORIENTATION = 0x0112
_EXIF = frozenset(("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"))
"""What Pillow calls the places in a file where the orientation may stand."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BEYOND_PILLOW = (*_TIFF, b"\x93NUMPY")
"""First bytes of TIFFs and arrays, which may have bands that Pillow does not know."""

KINDS = {
    "RGB": "colour",
    "L": "grey",
    "1": "black and white",
    "P": "colour from a palette",
    "RGBA": "colour with alpha",
    "LA": "grey with alpha",
    "PA": "colour from a palette with alpha",
    "CMYK": "CMYK",
    "YCbCr": "colour",
    "LAB": "LAB",
    "HSV": "HSV",
}
"""Modes of Pillow that are read as 8-bit RGB, and their names."""


class Picture(NamedTuple):
    """What is known of a picture that can be read.

    Args:
        size: (height, width) as shown: the EXIF orientation applied.
        orientation: EXIF's, 1 to 8.
        kind: its channels, in words.
        fits_rgb: whether it is read as 8-bit RGB; others only by networks of their bands.
        problems: warnings about it.
    """

    size: tuple[int, int]
    orientation: int
    kind: str
    fits_rgb: bool
    problems: tuple[Problem, ...]

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) before the orientation is applied."""
        height, width = self.size
        return (width, height) if self.orientation in LYING else (height, width)


def read_picture(content: bytes, path: str, limits: Limits) -> Picture:
    """Decode a picture to its end.

    A JPEG is decoded at an eighth of its size: every bit is still read, the arithmetic on pixels is left out.

    Args:
        content: of the file.
        path: the file.
        limits: by its header, before anything is decoded.

    Raises:
        BadFileError: it cannot be read, or is too large.
    """
    try:
        picture = open_picture(content, path, "picture")
    except BadFileError:
        if content.startswith(_BEYOND_PILLOW):
            return _read_bands(path, limits)
        raise
    limits.check_pixels(picture.size, "picture", path)
    width, height = picture.size
    if picture.mode not in KINDS or (picture.format != "JPEG" and is_cut(picture)):
        return _read_bands(path, limits, picture)
    try:
        if picture.format == "JPEG":
            picture.draft(None, (1, 1))
        picture.load()
        orientation = orientation_of(picture)
    except Exception as reason:  # damaged files make Pillow's decoders raise anything
        raise damaged(content, path, "picture", reason) from reason
    size = (width, height) if orientation in LYING else (height, width)
    return Picture(size, orientation, KINDS[picture.mode], True, warnings_about(picture, path, "picture"))


def orientation_of(picture: Image.Image) -> int:
    """EXIF's orientation of a decoded picture, 1 where there is none; looks for it only where it may stand."""
    if picture.format not in ("TIFF", "MPO") and _EXIF.isdisjoint(picture.info):
        return 1
    orientation = picture.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def coordinate_system(content: bytes, path: str) -> str | None:
    """Of a TIFF that says in which it lies, such as ``EPSG:32632``; ``None`` too where rasterio is not installed."""
    if not content.startswith(_TIFF) or not has_rasterio():
        return None
    try:
        return raster_facts(Path(path)).crs if stored_as(Path(path)).is_placed else None
    except SegmentationError:  # such pictures are told where they are read
        return None


@cache
def has_rasterio() -> bool:
    """Whether coordinate systems can be compared."""
    return find_spec("rasterio") is not None


def warnings_about(picture: Image.Image, path: str, what: What) -> tuple[Problem, ...]:
    """Of a picture that can be read: its name says another type, or it has several frames."""
    found = [] if (problem := wrong_suffix(picture, path, what)) is None else [problem]
    # The further frames of an MPO file are previews that phones and cameras hide in their photographs.
    frames = 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)
    if frames > 1:
        message = f"{what} '{path}' has {frames} frames or pages, of which only the first is read"
        found.append(warning("several-frames", path, message, "save the others as pictures of their own"))
    return tuple(found)


def _read_bands(path: str, limits: Limits, picture: Image.Image | None = None) -> Picture:
    """A picture that is no 8-bit RGB, as a network of its bands would read it; ``picture`` where Pillow opens it."""
    try:
        stored = stored_as(Path(path))
        limits.check_pixels((stored.size[1], stored.size[0]), "picture", path)
        read_bands(path, stored.bands)
        problems = () if picture is None else warnings_about(picture, path, "picture")
    except BadFileError:
        raise
    except SegmentationError as reason:
        code = "not-finite" if "NaN" in reason.message else "unreadable-picture"
        raise BadFileError(code, reason.message, fix=reason.fix) from reason
    return Picture(stored.size, stored.orientation, str(stored), stored.fits_rgb, problems)
