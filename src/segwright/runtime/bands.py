"""Pictures of any number of bands as they are stored, for networks that do not read 8-bit RGB."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segwright.errors import DataError, ShapeError
from segwright.runtime.images import Source, as_image, is_cut, opened_picture, read_image, reading, refuse_size
from segwright.runtime.raster import opened_raster
from segwright.runtime.stored import Stored, band_type, stored_as

UInt8Array = NDArray[np.uint8]
BandArray = NDArray[np.uint8 | np.uint16 | np.float32]
"""(H, W, bands)."""

_SHOWN_SHARE = (2.0, 98.0)
"""Percentiles of a band that become black and white where it is shown."""
_SEEN_PIXELS = 1 << 18
_USUAL_BANDS = 16
"""Of more bands, so many count as one more picture towards the limit of pixels."""
_TURNS = {3: 2, 6: 3, 8: 1, 5: 3, 7: 1}
"""Quarter turns to the left by EXIF orientation; 5 and 7 are mirrored besides, as are 2 and 4."""

logger = logging.getLogger(__name__)


def read_picture(path: str | Path, bands: int | None = None) -> BandArray:
    """A picture as a network reads it: 8-bit RGB by :func:`read_image`'s rules, or by :func:`read_bands` as stored.

    Args:
        path: the file.
        bands: that the network reads; ``None`` for RGB.
    """
    return read_image(path) if bands is None else read_bands(path, bands)


def as_picture(source: Source, bands: int | None = None) -> BandArray:
    """As :func:`read_picture`, from a path, a PIL image or an array."""
    if bands is None:
        return as_image(source)
    if isinstance(source, str | Path):
        return read_bands(source, bands)
    if isinstance(source, Image.Image):
        with reading("the picture"):
            if is_cut(source):
                raise DataError(f"the picture would be cut to 8 bits (mode {source.mode})", fix="give its path")
            return as_bands(_of_pillow(source), bands, "the picture")
    if not isinstance(source, np.ndarray):
        raise DataError(
            f"a picture cannot be made of {type(source).__name__}", fix="give a path, a PIL image or an array"
        )
    return as_bands(source, bands, "the picture")


def read_bands(path: str | Path, bands: int) -> BandArray:
    """The stored values of a picture, in the file's order of bands; EXIF orientation applied; may be read-only.

    Grey is 1 band, RGB 3; grey with alpha is 2, RGB with alpha and CMYK are 4; a palette is looked up (3). TIFFs and
    arrays (.npy; (H, W) or (H, W, bands)) have any number of bands. Of several pages the first is read, with a warning.
    Unsigned integers of up to 8 bits are uint8 (1-bit values 0 or 255), of up to 16 bits uint16; signed or larger
    integers and all floating-point numbers become float32. TIFFs of several bands beyond 8 bits, and colour PNGs of 16
    bits, are read by rasterio.

    Args:
        path: the file.
        bands: that are wanted.

    Returns:
        (H, W, bands) uint8, uint16 or float32.

    Raises:
        DataError: a file that cannot be read, of another number of bands, of complex numbers, with NaN or infinity, or
            of more than ``PIL.Image.MAX_IMAGE_PIXELS`` (of more than 16 bands, fewer in proportion); names the file.
        MissingExtraError: it needs rasterio, which is not installed.
    """
    path = Path(path)
    name = f"picture '{path}'"
    stored = stored_as(path)
    if stored.bands != bands:
        raise _other_count(name, stored.bands, bands)
    refuse_size(stored.size, name, -(-bands // _USUAL_BANDS))
    if stored.has_pages:
        logger.warning("%s has several pages; the first is read", name)
    with reading(name):
        return as_bands(_decode(path, stored), bands, name)


def as_bands(pixels: NDArray[Any], bands: int, name: str) -> BandArray:
    """An array, or a part of a picture, by the rules of :func:`read_bands`.

    Args:
        pixels: (H, W, bands), or (H, W) for one band.
        bands: that are wanted.
        name: for messages.

    Raises:
        ShapeError: an array of another shape.
        DataError: another number of bands, values that are no numbers, NaN or infinity.
    """
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise ShapeError(f"{name} is an array of shape {pixels.shape}", fix=f"give (H, W, {bands})")
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.shape[2] != bands:
        is_planar = pixels.shape[0] == bands
        raise _other_count(name, pixels.shape[2], bands, ": put the bands last, np.moveaxis(array, 0, -1)" * is_planar)
    try:
        dtype = band_type(pixels.dtype)
    except DataError as reason:
        raise DataError(f"{name} {reason.message}", fix=reason.fix) from reason
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused
        values: BandArray = pixels.astype(dtype, copy=False)
    if dtype == "float32" and not (finite := np.isfinite(values)).all():
        count = values.size - int(finite.sum())
        what = "value that is" if count == 1 else "values that are"
        raise DataError(
            f"{name} holds {count} {what} NaN or infinite", fix="fill them, with the band's mean for example"
        )
    return values


def rgb_view(picture: BandArray) -> UInt8Array:
    """How a picture is shown: (H, W, 3) uint8.

    The first three bands, of less than three the first as grey. 8-bit values as they are; of others the range from the
    2nd to the 98th percentile of each band becomes 0 to 255.
    """
    shown = picture[..., :3] if picture.shape[2] >= 3 else picture[..., :1].repeat(3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    step = max(1, round((shown.shape[0] * shown.shape[1] / _SEEN_PIXELS) ** 0.5))
    low, high = np.percentile(shown[::step, ::step].astype(np.float32), _SHOWN_SHARE, axis=(0, 1))
    stretched = (shown - low.astype(np.float32)) * (255 / np.maximum(high - low, 1e-12)).astype(np.float32)
    view: UInt8Array = stretched.clip(0, 255).astype(np.uint8)
    return view


def _decode(path: Path, stored: Stored) -> NDArray[Any]:
    if stored.reader == "numpy":
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array
    if stored.reader == "pillow":
        with opened_picture(path, f"picture '{path}'") as picture:
            return _of_pillow(picture)
    with opened_raster(path) as dataset:
        return _turned(np.moveaxis(dataset.read(), 0, -1), stored.orientation)


def _of_pillow(picture: Image.Image) -> NDArray[Any]:
    """The values of a picture that Pillow does not cut."""
    shown = ImageOps.exif_transpose(picture)
    if shown.mode in ("P", "PA"):
        shown = shown.convert("RGBA").convert("RGB")  # Pillow would warn about transparent palettes on the straight way
    return np.asarray(shown.convert("L") if shown.mode == "1" else shown)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W, bands) as EXIF's orientation wants it shown."""
    pixels = np.rot90(pixels, _TURNS.get(orientation, 0))
    if orientation in (2, 5, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels[::-1] if orientation == 4 else pixels)


def _other_count(name: str, found: int, wanted: int, hint: str = "") -> DataError:
    bands = {1: "1 band"}
    given, needed = bands.get(found, f"{found} bands"), bands.get(wanted, f"{wanted} bands")
    return DataError(
        f"{name} has {given}, and {wanted} {'is' if wanted == 1 else 'are'} wanted{hint}",
        fix=f"give pictures of {needed}, or a network that was trained on {found} (--set data.bands={found})",
    )
