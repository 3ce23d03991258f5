"""The one definition of how a picture enters a network."""

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ShapeError
from segwright.info import Preprocessing

_STRIP_VALUES = 1 << 16
"""Values worked on at a time (256 KB): what stays in a core's cache from one step to the next."""


def preprocess(
    image: NDArray[np.uint8], preprocessing: Preprocessing, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``(value / 255 - mean) / std`` per channel, in float32.

    Args:
        image: (H, W, 3) uint8, RGB.
        preprocessing: mean, std and channel order of the network.
        out: (3, H, W) float32, contiguous, to write into: for pictures of one size the memory need be claimed once.

    Returns:
        (3, H, W) float32, contiguous, channels in the network's order; ``out`` where it was given.

    Raises:
        ShapeError: an ``out`` of another shape, type or memory layout.
    """
    shape = (3, *image.shape[:2])
    images = np.empty(shape, np.float32) if out is None else out
    if images.shape != shape or images.dtype != np.float32 or not images.flags.c_contiguous:
        raise ShapeError(
            f"out must be a contiguous float32 array of shape {shape}, got {images.dtype} {images.shape}",
            fix=f"give np.empty({shape}, np.float32)",
        )
    channels = (2, 1, 0) if preprocessing.channel_order == "BGR" else (0, 1, 2)
    rows = max(1, _STRIP_VALUES // max(1, image.shape[1]))
    for start in range(0, shape[1], rows):
        part = slice(start, start + rows)
        for channel, mean, std, values in zip(channels, preprocessing.mean, preprocessing.std, images, strict=True):
            strip = values[part]
            np.copyto(strip, image[part, :, channel])
            strip /= np.float32(255)
            strip -= np.float32(mean)
            strip /= np.float32(std)
    return images


def raw_images(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(1, H, W, 3) uint8, RGB: the picture for networks that normalise inside their graph; not copied if contiguous.

    A quarter of the memory of :func:`preprocess`, and no pass over the pixels.
    """
    return np.ascontiguousarray(image)[None]
