"""From a picture to the network's input and from its scores to a mask, without torch."""

from segwright.runtime.bands import as_bands, as_picture, read_bands, read_picture, rgb_view
from segwright.runtime.compiled import prepare
from segwright.runtime.decide import Decision, mean_argmax, resize_argmax
from segwright.runtime.files import replacing, write_atomically
from segwright.runtime.images import SUFFIXES, Source, as_image, find_images, read_image
from segwright.runtime.masks import class_areas, colourise, mask_dtype, overlay, save_mask
from segwright.runtime.preprocess import preprocess, raw_images

__all__ = [
    "SUFFIXES",
    "Decision",
    "Source",
    "as_bands",
    "as_image",
    "as_picture",
    "class_areas",
    "colourise",
    "find_images",
    "mask_dtype",
    "mean_argmax",
    "overlay",
    "prepare",
    "preprocess",
    "raw_images",
    "read_bands",
    "read_image",
    "read_picture",
    "replacing",
    "resize_argmax",
    "rgb_view",
    "save_mask",
    "write_atomically",
]
