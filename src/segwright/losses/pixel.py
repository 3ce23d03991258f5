"""Losses between logits and masks of the same height and width.

All compute in float32 and give 0 with a graph, not NaN, where no pixel is valid. "The batch" is that of all processes
which share it (:mod:`segwright.layers.sharing`).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.layers.sharing import batch_count, batch_share, batch_values
from segwright.registry import Registry

LOSSES: Registry[Tensor] = Registry("loss")


@LOSSES.register
def cross_entropy(
    logits: Tensor,
    masks: Tensor,
    *,
    ignore_index: int = 255,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Pixel cross-entropy: the mean over valid pixels.

    Args:
        logits: (N, C, H, W).
        masks: (N, H, W) int64 of class indices and ``ignore_index``.
        ignore_index: value of pixels that do not count.
        weight: (C,) factor per class; the mean is then weighted, as in ``torch.nn.functional.cross_entropy``.
        label_smoothing: share of the target spread evenly over all classes, 0..1.
    """
    losses = pixel_losses(logits, masks, ignore_index, weight, label_smoothing)
    return losses.sum() / batch_share(_pixel_weights(masks, ignore_index, weight).sum(), least=1e-12)


@LOSSES.register
def ohem_cross_entropy(
    logits: Tensor,
    masks: Tensor,
    *,
    ignore_index: int = 255,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    threshold: float = 0.7,
    min_kept: int | None = None,
) -> Tensor:
    """Online hard example mining by probability (BiSeNet; the form of TorchSeg and Tramac).

    Keeps the valid pixels whose probability of the true class is at most ``max(threshold, p_K)``, where ``p_K`` is
    the K-th smallest of them, and averages their cross-entropy.

    Args:
        logits, masks, ignore_index, weight, label_smoothing: as :func:`cross_entropy`.
        threshold: probability up to which a pixel is hard, 0..1.
        min_kept: K; ``None`` for 1/16 of all pixels of the batch. With K above the number of valid pixels all count.
    """
    valid = masks != ignore_index
    kept = batch_count(masks.numel()) // 16 if min_kept is None else min_kept
    with torch.no_grad():
        index = torch.where(valid, masks, 0)[:, None]
        probability = logits.float().softmax(dim=1).gather(1, index)[:, 0][valid]
        if kept > batch_count(probability.numel()):
            threshold = 1.0
        elif batch_count(int((probability <= threshold).sum())) < kept:
            threshold = -float(_largest(-probability, kept))
        hard = valid.clone()
        hard[valid] = probability <= threshold
    hard_masks = torch.where(hard, masks, ignore_index)
    return cross_entropy(logits, hard_masks, ignore_index=ignore_index, weight=weight, label_smoothing=label_smoothing)


@LOSSES.register
def ohem_cross_entropy_by_loss(
    logits: Tensor,
    masks: Tensor,
    *,
    ignore_index: int = 255,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    threshold: float = 0.7,
    min_kept: int | None = None,
) -> Tensor:
    """Online hard example mining by loss (the form of CoinCheung's BiSeNet).

    Keeps the losses above ``-ln(threshold)``, or the K largest where fewer than K are, and averages them.

    Args:
        logits, masks, ignore_index, weight, label_smoothing: as :func:`cross_entropy`.
        threshold: probability below which a pixel is hard, 0..1.
        min_kept: K; ``None`` for 1/16 of the valid pixels.
    """
    valid = masks != ignore_index
    losses = pixel_losses(logits, masks, ignore_index, weight, label_smoothing)[valid]
    count = batch_count(losses.numel())
    kept = min(count, max(1, count // 16 if min_kept is None else min_kept))
    is_hard = losses > -math.log(threshold)
    if batch_count(int(is_hard.sum())) >= kept:
        return losses[is_hard].sum() / batch_share(is_hard.sum(), least=1)
    limit = _largest(losses.detach(), kept)
    above, equal = ~(losses <= limit), losses == limit  # what is not a number stays in the sum
    ties = (kept - batch_count(int(above.sum()))) / max(1, batch_count(int(equal.sum())))  # the share that counts
    amount = batch_share(above.sum() + ties * equal.sum(), least=1)
    return (losses[above].sum() + ties * losses[equal].sum()) / amount


def _largest(values: Tensor, kept: int) -> Tensor:
    """The ``kept``-th largest of all processes' values."""
    candidates = batch_values(values.topk(min(kept, values.numel()), sorted=False).values)
    return candidates.kthvalue(candidates.numel() - kept + 1).values


def pixel_losses(
    logits: Tensor, masks: Tensor, ignore_index: int, weight: Tensor | None, label_smoothing: float
) -> Tensor:
    """(N, H, W) cross-entropy, 0 at ignored pixels."""
    return F.cross_entropy(
        logits.float(),
        masks,
        weight=weight,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
    )


def _pixel_weights(masks: Tensor, ignore_index: int, weight: Tensor | None) -> Tensor:
    """(N, H, W) float32: what each pixel counts in the mean."""
    valid = masks != ignore_index
    return valid.float() if weight is None else torch.where(valid, weight[torch.where(valid, masks, 0)], 0.0)
