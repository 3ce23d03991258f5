"""What a network sees of a picture: at several scales, mirrored, whole or in windows; and the mask that follows."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from segwright.inference.network import Network
from segwright.runtime import Decision, mean_argmax, preprocess, resize_argmax
from segwright.runtime.bands import BandArray
from segwright.runtime.bilinear import FloatArray, resize
from segwright.runtime.blend import Blended, blended_argmax
from segwright.runtime.exported import Batch
from segwright.runtime.masks import mask_dtype
from segwright.runtime.tiles import Box

Window = tuple[int, int]
Crop = Callable[[Box, bool], Batch]
"""A part of a picture, mirrored or not, as a batch of one of what the network takes."""


def decide(
    network: Network, image: BandArray, *, scales: Sequence[float], flip: bool, window: Window | None, confidence: bool
) -> Decision:
    """The class of every pixel.

    Args:
        network: that sees the picture.
        image: (H, W, 3) uint8, RGB; or (H, W, bands) as stored.
        scales: relative to the size that the network wants; with several, the probabilities are averaged.
        flip: also average with the mirrored picture's.
        window: (height, width) of a sliding window; None shows the whole picture at once.
        confidence: also give the probability of each pixel's class.

    Raises:
        RunError: the network failed.
    """
    size = (image.shape[0], image.shape[1])
    if network.gives == "mask":
        mask = network.run(batch_of(network, image, Box(0, 0, *size), False))[0]
        return Decision(mask.astype(mask_dtype(network.info.num_classes), copy=False), None)
    views = [
        _view(network, crop, scaled_size, is_mirrored, window)
        for scaled_size, crop in (scaled(network, image, scale) for scale in scales)
        for is_mirrored in ((False, True) if flip else (False,))
    ]
    maps = [view for view in views if isinstance(view, np.ndarray)]
    align_corners = network.align_corners
    if len(maps) < len(views):
        num_classes = network.info.num_classes
        return blended_argmax(views, size, num_classes, align_corners=align_corners, with_confidence=confidence)
    if len(maps) == 1:
        return resize_argmax(maps[0], size, align_corners=align_corners, with_confidence=confidence)
    return mean_argmax(maps, size, align_corners=align_corners, with_confidence=confidence)


def first_batch(network: Network, image: BandArray, window: Window | None) -> Batch:
    """The picture, or its first window, as the network takes it."""
    size, crop = scaled(network, image, 1.0)
    height, width = (min(pair) for pair in zip(window or size, size, strict=True))
    return crop(Box(0, 0, height, width), False)


def scaled(network: Network, image: BandArray, scale: float) -> tuple[tuple[int, int], Crop]:
    """Size of the picture at a scale of what its network wants, and its parts."""
    height, width = network.info.preprocessing.size_of((image.shape[0], image.shape[1]), scale)
    if (height, width) == image.shape[:2]:
        return (height, width), partial(batch_of, network, image)  # part by part: no whole picture in float32
    images = resize(preprocess(image, network.info.preprocessing), (height, width))
    return (height, width), partial(_crop_images, images)


def batch_of(network: Network, image: BandArray, box: Box, is_mirrored: bool) -> Batch:
    """A part of the picture as decoded, as the network takes it."""
    pixels = image[box.place]
    pixels = np.ascontiguousarray(pixels[:, ::-1] if is_mirrored else pixels)
    return pixels[None] if network.takes == "pixels" else preprocess(pixels, network.info.preprocessing)[None]


def _crop_images(images: FloatArray, box: Box, is_mirrored: bool) -> Batch:
    """A part of the picture (channels, H, W) as preprocessed."""
    part = images[:, *box.place]
    return np.ascontiguousarray(part[..., ::-1] if is_mirrored else part)[None]


def _view(
    network: Network, crop: Crop, size: tuple[int, int], is_mirrored: bool, window: Window | None
) -> FloatArray | Blended:
    """Logits of the picture at one scale, mirrored back where it was mirrored."""

    def logits_of(box: Box) -> FloatArray:
        logits: FloatArray = np.asarray(network.run(crop(box, is_mirrored)), np.float32)[0]
        return logits[..., ::-1] if is_mirrored else logits

    if window is None or (window[0] >= size[0] and window[1] >= size[1]):
        return logits_of(Box(0, 0, *size))
    return Blended(size, window, logits_of, align_corners=network.align_corners)
