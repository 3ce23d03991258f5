"""The overlap of predicted and labelled regions as a loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.layers.sharing import batch_sum
from segwright.losses.boundary import JOINT_LOSSES
from segwright.types import SegmentationOutput


@JOINT_LOSSES.register
def dice(output: SegmentationOutput, masks: Tensor, *, ignore_index: int) -> Tensor:
    """Soft Dice loss: one minus the mean of the labelled classes' Dice coefficients over the batch.

    Milletari et al., "V-Net", section 3, with the squares of the probabilities; there for two classes, here the mean
    over the classes that the batch's masks hold. Each class weighs the same, however few its pixels.

    Args:
        output: logits (N, C, H, W) at the masks' size.
        masks: (N, H, W) class indices.
        ignore_index: of pixels that do not count.
    """
    valid = masks != ignore_index
    probabilities = output.logits.softmax(dim=1) * valid[:, None]
    labels = F.one_hot(masks.where(valid, 0), output.logits.shape[1]).movedim(-1, 1) * valid[:, None]
    dims = (0, 2, 3)
    common = batch_sum((probabilities * labels).sum(dims))
    counts = batch_sum(labels.sum(dims))
    total = batch_sum(probabilities.square().sum(dims)) + counts
    is_there = counts > 0
    coefficients = (2 * common / total.clamp(min=1e-12)).where(is_there, torch.zeros_like(common))
    return (is_there.sum() - coefficients.sum()) / is_there.sum().clamp(min=1)
