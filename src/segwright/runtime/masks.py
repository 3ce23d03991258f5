"""Predicted masks: coloured, laid over their picture, saved, measured."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import ConfigError, DataError, ShapeError
from segwright.info import Colour
from segwright.runtime.compiled import compiled
from segwright.runtime.files import replacing

UInt8Array = NDArray[np.uint8]
MaskArray = NDArray[np.uint8 | np.uint16]
"""(H, W) class indices, uint8 up to 256 classes, uint16 above."""

_BLEND_SAVES = 2e-9
"""Seconds per pixel that the compiled loop saves."""


def mask_dtype(num_classes: int) -> type[np.uint8] | type[np.uint16]:
    """The type of masks with this many classes."""
    return np.uint8 if num_classes <= 256 else np.uint16


def colourise(mask: MaskArray, palette: Sequence[Colour]) -> UInt8Array:
    """(H, W, 3) uint8, RGB: each pixel in its class's colour; black where the palette has none (ignored pixels).

    Raises:
        DataError: a mask that is neither uint8 nor uint16.
    """
    return np.array(_coloured(mask, _colour_table(palette, _levels(mask))))


def overlay(image: UInt8Array, mask: MaskArray, palette: Sequence[Colour], alpha: float = 0.5) -> UInt8Array:
    """The picture with the mask's colours laid over it: ``image + alpha * (colour - image)``, cut to whole numbers.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) class indices.
        palette: one RGB colour per class.
        alpha: share of the colour, 0 (picture alone) to 1 (colours alone).

    Raises:
        ConfigError: ``alpha`` outside 0..1.
        ShapeError: picture and mask of different size.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha must lie in 0..1, got {alpha}", fix="0 shows the picture, 1 the colours")
    if image.shape[:2] != mask.shape:
        raise ShapeError(
            f"the picture is {image.shape[:2]} and the mask {mask.shape} (height, width)",
            fix="give the picture that the mask was predicted from",
        )
    table = _colour_table(palette, _levels(mask))
    if mask.dtype == np.uint8 and (loop := compiled("blend", mask.size * _BLEND_SAVES)):
        rows = np.ascontiguousarray(image).reshape(len(image), -1)
        blended = np.empty_like(rows)
        loop(rows, np.ascontiguousarray(mask), table, np.float32(alpha), blended)
        return blended.reshape(image.shape)
    return np.asarray(Image.blend(Image.fromarray(image), _coloured(mask, table), alpha))


def save_mask(path: str | Path, mask: MaskArray, palette: Sequence[Colour]) -> None:
    """Write an index PNG, whole or not at all: 8-bit with the palette in it, or 16-bit grey for uint16 masks.

    Raises:
        ConfigError: a name that does not end in .png.
        DataError: a mask that is neither uint8 nor uint16.
        RunError: the file could not be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConfigError(
            f"a mask is saved as PNG, got '{path}'", fix=f"name it {path.stem}.png: lossy formats smear class indices"
        )
    levels = _levels(mask)
    picture = Image.fromarray(mask)
    if levels == 256:
        # All 256 entries: with fewer, Pillow would store fewer bits per pixel and cut off ignored pixels' 255.
        picture.putpalette(_colour_table(palette, levels).tobytes())
    # Cheap to predict again, so not flushed. Runs of one class compress as well at level 1, in half the time.
    with replacing(path, durable=False) as temporary:
        picture.save(temporary, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)


def class_areas(mask: MaskArray, classes: Sequence[str]) -> dict[str, float]:
    """Share of all pixels (0..1) of every class; the shares sum to 1 when every pixel has a class."""
    pixels = np.bincount(mask.ravel(), minlength=len(classes))
    return {name: int(count) / mask.size for name, count in zip(classes, pixels, strict=False)}


def _levels(mask: MaskArray) -> int:
    """How many values the mask's type has."""
    if mask.dtype not in (np.uint8, np.uint16):
        raise DataError(f"a mask must be uint8 or uint16, got {mask.dtype}", fix="convert it: mask.astype(np.uint8)")
    return 256 if mask.dtype == np.uint8 else 65536


def _coloured(mask: MaskArray, table: UInt8Array) -> Image.Image:
    if mask.dtype == np.uint16:
        return Image.fromarray(table.take(mask, axis=0))
    picture = Image.fromarray(mask)
    picture.putpalette(table.tobytes())
    return picture.convert("RGB")  # looked up by Pillow in a fraction of NumPy's time


def _colour_table(palette: Sequence[Colour], levels: int) -> UInt8Array:
    table = np.zeros((levels, 3), np.uint8)
    table[: len(palette)] = np.array(palette, np.uint8).reshape(-1, 3)[:levels]
    return table
