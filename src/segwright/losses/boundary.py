"""Losses of class boundaries: those that a network predicts beside its logits, and those that its logits imply.

All follow Gated-SCNN (Takikawa et al., ICCV 2019, section 3.3), compute in float32 and give 0 with a graph where no
pixel is valid.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.layers import resize
from segwright.layers.sharing import batch_draw, batch_share
from segwright.losses.auxiliary import AUX_LOSSES, PixelLoss
from segwright.losses.pixel import LOSSES, cross_entropy, pixel_losses
from segwright.registry import Registry
from segwright.types import SegmentationOutput

JOINT_LOSSES: Registry[Tensor] = Registry("joint loss")
"""Functions ``f(output, masks, *, ignore_index) -> scalar`` in float32 of logits (at the masks' size) and ``aux``."""

UNLABELLED = 255
"""Value of :func:`edge_labels` where there is no mask."""

_REACH = 4
"""Pixels that the smoothing of a class map reaches, as in the ports of the released code."""
_SHARE_OF_EDGE = 0.01
"""Of the strength of a step between two labels, above which a pixel belongs to a boundary."""


@AUX_LOSSES.register
def balanced_edges(prediction: Tensor, masks: Tensor, *, pixel_loss: PixelLoss, ignore_index: int) -> Tensor:
    """Binary cross-entropy of class boundaries, in which edge pixels and all others together weigh the same.

    Args:
        prediction: (N, 1, H, W) logits of "a class boundary is here". The released code takes a probability for a
            logit here, so that its gradient vanishes.
        masks: (N, H, W) class indices.
        pixel_loss: not used.
        ignore_index: of pixels that do not count.
    """
    labels = edge_labels(masks, ignore_index=ignore_index)[:, None]
    is_edge, is_plain = labels == 1, labels == 0
    edges, plain = batch_share(is_edge.sum()), batch_share(is_plain.sum())
    pixels = batch_share(is_edge.sum() + is_plain.sum(), least=1)
    weights = (is_edge * plain + is_plain * edges) / pixels
    logits = resize(prediction.float(), (masks.shape[-2], masks.shape[-1]))
    losses = F.binary_cross_entropy_with_logits(logits, is_edge.to(logits), reduction="none")
    return (weights * losses).sum() / pixels


def edge_labels(masks: Tensor, *, radius: int = 2, ignore_index: int = 255) -> Tensor:
    """Which pixels have another class within ``radius`` of them.

    The union over classes of "the distance transform inside or outside the class is at most ``radius``", by comparing
    each pixel with those of a disk around it.

    Differs: the released code leaves out class 0 and what touches it, gives edges to the picture's own border and
    none between ignored pixels and class 0; ours takes all classes, and neither the picture's border nor that of
    ignored pixels is an edge.

    Args:
        masks: (N, H, W) class indices.
        radius: in pixels; 2 in the released code.
        ignore_index: of pixels without a class.

    Returns:
        (N, H, W) uint8: 1 edge, 0 none, 255 ignored.
    """
    height, width = masks.shape[-2:]
    is_valid = masks != ignore_index
    edges = torch.zeros_like(is_valid)
    disk = [(down, across) for down in range(radius + 1) for across in range(-radius, radius + 1)]
    for down, across in disk:
        is_upper_half = down > 0 or across > 0  # the other half compares the same pairs
        if not is_upper_half or down**2 + across**2 > radius**2 or down >= height or abs(across) >= width:
            continue
        left, right = max(-across, 0), max(across, 0)
        here = (..., slice(0, height - down), slice(left, width - right))
        there = (..., slice(down, height), slice(right, width - left))
        differ = (masks[here] != masks[there]) & is_valid[here] & is_valid[there]
        edges[here] |= differ
        edges[there] |= differ
    return torch.where(is_valid, edges.byte(), UNLABELLED)


@JOINT_LOSSES.register
def dual_task_to(
    output: SegmentationOutput,
    masks: Tensor,
    *,
    ignore_index: int = 255,
    temperature: float = 1.0,
    noise: bool = True,
) -> Tensor:
    """Boundaries that the logits imply against those of the masks (equations 5 and 6).

    The argmax of the class map is replaced by a Gumbel-softmax, which has a gradient.

    Args:
        output: logits of the masks' height and width.
        masks: (N, H, W) class indices.
        ignore_index: of pixels that neither count nor influence their neighbours.
        temperature: of the Gumbel-softmax; 1 in the paper, 0.5 in the released code.
        noise: whether it draws, as in the paper.
    """
    logits = output.logits.float()
    is_valid = (masks != ignore_index)[:, None]
    if noise:
        # Plus a draw of Gumbel's distribution.
        logits = logits - batch_draw(logits, lambda drawn: drawn.exponential_()).log()
    classes = torch.where(is_valid[:, 0], masks, 0)
    truth = torch.zeros_like(logits).scatter_(1, classes[:, None], 1.0)
    predicted = boundary_strength((logits / temperature).softmax(dim=1), is_valid)
    wanted = boundary_strength(truth, is_valid)
    difference = (predicted - wanted).abs()
    parts = [
        (difference * where).sum() / batch_share(where.sum(), least=1)
        for where in ((strength > _SHARE_OF_EDGE) & is_valid for strength in (predicted, wanted))
    ]
    return torch.stack(parts).mean()


def boundary_strength(maps: Tensor, is_valid: Tensor) -> Tensor:
    """The paper's zeta: how steeply smoothed class maps rise or fall, per class.

    Differs: the released code returns from its filters before they filter, and so compares the maps themselves; it
    also divides by the largest value of the batch, ours by that of a straight step between two labels, so that a
    picture's loss does not depend on its neighbours in the batch.

    Args:
        maps: (N, K, H, W) probabilities of the classes.
        is_valid: (N, 1, H, W); the others are left out of the smoothing, as is what lies beyond the picture, so that
            no border shows.

    Returns:
        (N, K, H, W), 0 where nothing changes, 1 at a straight step from 0 to 1.
    """
    weights = is_valid.to(maps)
    smooth = triangle_filter(maps * weights) / triangle_filter(weights).clamp(min=1e-6)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    step = (2 * _REACH + 1) / (_REACH + 1) ** 2  # the two middle weights of the filter
    # The tiny term keeps the root's slope finite where nothing changes.
    return (across.square() + down.square() + 1e-12).sqrt() / step


def triangle_filter(maps: Tensor) -> Tensor:
    """Weights 1, 2, ..., 5, ..., 2, 1 along both axes, zeros beyond the picture; sums to 1 inside."""
    channels = maps.shape[1]
    ramp = torch.arange(1.0, _REACH + 2, device=maps.device, dtype=maps.dtype)
    weights = torch.cat((ramp, ramp[:-1].flip(0))) / (_REACH + 1) ** 2
    rows, columns = weights.view(1, 1, -1, 1), weights.view(1, 1, 1, -1)
    across = F.conv2d(maps, columns.expand(channels, 1, 1, -1), padding=(0, _REACH), groups=channels)
    return F.conv2d(across, rows.expand(channels, 1, -1, 1), padding=(_REACH, 0), groups=channels)


@JOINT_LOSSES.register
def dual_task_from(
    output: SegmentationOutput, masks: Tensor, *, ignore_index: int = 255, threshold: float = 0.8
) -> Tensor:
    """Pixel cross-entropy where the network says that there is a class boundary (equation 7).

    Args:
        output: logits of the masks' height and width; ``aux["edges"]`` (N, 1, H, W) logits.
        masks: (N, H, W) class indices.
        ignore_index: of pixels that do not count.
        threshold: probability of a boundary above which a pixel counts; 0.8 in the paper.
    """
    edges = resize(output.aux["edges"].detach().float(), (masks.shape[-2], masks.shape[-1]))
    is_boundary = edges[:, 0].sigmoid() > threshold
    return cross_entropy(output.logits, torch.where(is_boundary, masks, ignore_index), ignore_index=ignore_index)


@LOSSES.register
def image_weighted_cross_entropy(
    logits: Tensor,
    masks: Tensor,
    *,
    ignore_index: int = 255,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Pixel cross-entropy in which, per image, a class weighs the more the fewer of its pixels there are.

    A class that takes the share s of an image weighs 2 - s. The released Gated-SCNN trains its logits so.

    Differs: the released code sums over the images, so that the loss grows with the batch; ours is their mean.

    Args:
        logits, masks, ignore_index, weight, label_smoothing: as :func:`segwright.losses.cross_entropy`.
    """
    is_valid = masks != ignore_index
    classes = torch.where(is_valid, masks, 0)
    counts = torch.zeros(masks.shape[0], logits.shape[1], device=masks.device)
    counts.scatter_add_(1, classes.flatten(1), is_valid.flatten(1).float())
    per_class = 2 - counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    per_class = per_class if weight is None else per_class * weight
    weights = per_class.gather(1, classes.flatten(1)).view_as(masks) * is_valid
    losses = pixel_losses(logits, masks, ignore_index, None, label_smoothing)
    per_image = (weights * losses).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1).clamp(min=1e-12)
    return per_image.sum() / batch_share(is_valid.flatten(1).any(dim=1).sum(), least=1)
