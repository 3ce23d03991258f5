"""The one definition of how a picture enters a network."""

import numpy as np
from numpy.typing import NDArray

from segwright.errors import DataError, ShapeError
from segwright.info import Preprocessing

_STRIP_VALUES = 1 << 16
"""Values worked on at a time (256 KB): what stays in a core's cache from one step to the next."""


def preprocess(
    image: NDArray[np.uint8 | np.uint16 | np.float32],
    preprocessing: Preprocessing,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """``(value / unit - mean) / std`` per channel, in float32.

    Args:
        image: (H, W, 3) uint8, RGB; for a network of bands (H, W, bands), or a window of it, as stored.
        preprocessing: mean, std, unit and channel order of the network.
        out: (channels, H, W) float32, contiguous, to write into: for pictures of one size the memory need be claimed
            once.

    Returns:
        (channels, H, W) float32, contiguous, channels in the network's order; ``out`` where it was given.

    Raises:
        DataError: a picture of other values than the network of bands was trained on.
        ShapeError: another number of channels, or an ``out`` of another shape, type or memory layout.
    """
    if preprocessing.bands is not None:
        check_values(image, preprocessing)
    shape = (preprocessing.channels, *image.shape[:2])
    images = np.empty(shape, np.float32) if out is None else out
    if images.shape != shape or images.dtype != np.float32 or not images.flags.c_contiguous:
        raise ShapeError(
            f"out must be a contiguous float32 array of shape {shape}, got {images.dtype} {images.shape}",
            fix=f"give np.empty({shape}, np.float32)",
        )
    channels = (2, 1, 0) if preprocessing.channel_order == "BGR" else range(shape[0])
    unit = np.float32(preprocessing.unit)
    rows = max(1, _STRIP_VALUES // max(1, image.shape[1]))
    for start in range(0, shape[1], rows):
        part = slice(start, start + rows)
        for channel, mean, std, values in zip(channels, preprocessing.mean, preprocessing.std, images, strict=True):
            strip = values[part]
            np.copyto(strip, image[part, :, channel])
            strip /= unit
            strip -= np.float32(mean)
            strip /= np.float32(std)
    return images


def check_values(image: NDArray[np.uint8 | np.uint16 | np.float32], preprocessing: Preprocessing) -> None:
    """Refuse a picture that a network of bands was not trained on: its values would mean something else.

    Raises:
        DataError: of another type than the network's unit says.
        ShapeError: of another number of bands.
    """
    wanted = preprocessing.dtype
    if image.ndim != 3 or image.shape[2] != preprocessing.bands:
        raise ShapeError(
            f"the network reads {preprocessing.bands} bands, and got an array of shape {image.shape}",
            fix=f"give (H, W, {preprocessing.bands})",
        )
    if wanted is not None and image.dtype != wanted:
        raise DataError(
            f"the picture holds {image.dtype} values, and the network was trained on {wanted}",
            fix=f"give values of the training pictures' range as {wanted}",
        )


def raw_images(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(1, H, W, 3) uint8, RGB: the picture for networks that normalise inside their graph; not copied if contiguous.

    A quarter of the memory of :func:`preprocess`, and no pass over the pixels.
    """
    return np.ascontiguousarray(image)[None]
