"""Losses of predictions that are not resized to the masks; networks name them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segwright.layers.sharing import batch_share
from segwright.registry import Registry

PixelLoss = Callable[[Tensor, Tensor], Tensor]

AUX_LOSSES: Registry[Tensor] = Registry("auxiliary loss")
"""Functions ``f(prediction, masks, *, pixel_loss, ignore_index) -> scalar`` in float32."""


@AUX_LOSSES.register
def semantic_encoding(prediction: Tensor, masks: Tensor, *, pixel_loss: PixelLoss, ignore_index: int) -> Tensor:
    """Which classes a picture holds, as binary cross-entropy over classes and pictures (EncNet, section 3.2).

    Args:
        prediction: (N, num_classes) logits.
        masks: (N, H, W) class indices.
        pixel_loss: not used.
        ignore_index: of pixels that count for no class; a picture of nothing else adds nothing.
    """
    present = class_presence(masks, prediction.shape[1], ignore_index)
    is_labelled = (masks != ignore_index).flatten(1).any(1)[:, None].to(prediction)
    losses = F.binary_cross_entropy_with_logits(prediction, present.to(prediction), reduction="none")
    return (losses * is_labelled).sum() / batch_share(is_labelled.sum() * prediction.shape[1], least=1)


def class_presence(masks: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(N, num_classes) booleans: whether any pixel of the picture carries the class."""
    valid = torch.where(masks == ignore_index, num_classes, masks).flatten(1)
    present = torch.zeros(masks.shape[0], num_classes + 1, dtype=torch.bool, device=masks.device)
    return present.scatter_(1, valid, True)[:, :num_classes]


@AUX_LOSSES.register
def label_guidance(prediction: Tensor, masks: Tensor, *, pixel_loss: PixelLoss, ignore_index: int) -> Tensor:
    """The pixel loss at the prediction's own size, against masks of that size (ICNet's cascade label guidance).

    Args:
        prediction: (N, num_classes, h, w) logits of a network's branch.
        masks: (N, H, W) class indices.
        pixel_loss: the run's own.
        ignore_index: not used; the pixel loss knows it.
    """
    height, width = prediction.shape[-2:]
    rows, columns = positions(masks.shape[-2], height), positions(masks.shape[-1], width)
    return pixel_loss(prediction, masks[:, rows.to(masks.device)[:, None], columns.to(masks.device)])


def positions(pixels: int, cells: int) -> Tensor:
    """Pixels under the values of a map of ``cells``, whose stride is a power of two.

    Strided convolutions look at every stride-th pixel from the first on. The ratio of the sizes is less than the
    stride where it does not divide: 65 values of 1025 pixels are 16 apart.

    Example:
        >>> positions(33, 3), positions(32, 2)
        (tensor([ 0, 16, 32]), tensor([ 0, 16]))
    """
    stride = 1 << math.ceil(math.log2(max(1, pixels / cells)))
    return (torch.arange(cells) * stride).clamp(max=pixels - 1)
