"""The one definition of how a picture enters a network."""

import numpy as np
from numpy.typing import NDArray

from segwright.info import Preprocessing


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """``(value / 255 - mean) / std`` per channel, in float32.

    Args:
        image: (H, W, 3) uint8, RGB.
        preprocessing: mean, std and channel order of the network.

    Returns:
        (3, H, W) float32, contiguous, channels in the network's order.
    """
    # A channel has 256 values: the formula runs over those, and one pass looks the pixels up.
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    channels = (2, 1, 0) if preprocessing.channel_order == "BGR" else (0, 1, 2)
    images = np.empty((3, *image.shape[:2]), np.float32)
    for channel, mean, std, out in zip(channels, preprocessing.mean, preprocessing.std, images, strict=True):
        table = (values - np.float32(mean)) / np.float32(std)
        np.take(table, image[..., channel], out=out, mode="clip")  # mode: "raise" would buffer the output
    return images
