"""The two records that travel between the floors."""

from typing import NamedTuple

from torch import Tensor


class SegmentationOutput(NamedTuple):
    """What every network returns, in training and in evaluation.

    Args:
        logits: (N, num_classes, H, W), before softmax.
        aux: named extra predictions at any stride, paired with losses and weights by name; empty in evaluation.
    """

    logits: Tensor
    aux: dict[str, Tensor]


class Sample(NamedTuple):
    """One picture of a data set as the loader hands it on.

    Args:
        image: (3, H, W) uint8, RGB; of bands as stored (bands, H, W), uint8 or float32.
        mask: (H, W) uint8 (int32 above 255 classes) of class indices and ``ignore_index``.
        name: the picture's path, for messages.
    """

    image: Tensor
    mask: Tensor
    name: str
