"""The overlap of predicted and labelled regions as a loss."""

from torch import Tensor

from segwright.layers.sharing import batch_sum


def dice(logits: Tensor, masks: Tensor, *, ignore_index: int) -> Tensor:
    """Soft Dice loss: one minus the mean of the labelled classes' Dice coefficients over the batch.

    Milletari et al., "V-Net", section 3, with the squares of the probabilities; there for two classes, here the mean
    over the classes that the batch's masks hold. Each class weighs the same, however few its pixels. Computes in
    float32 and gives 0 with a graph, not NaN, where no pixel is valid.

    Args:
        logits: (N, C, H, W).
        masks: (N, H, W) int64 of class indices and ``ignore_index``.
        ignore_index: of pixels that do not count.
    """
    num_classes, valid = logits.shape[1], masks != ignore_index
    index = masks.where(valid, 0)
    probabilities = logits.float().softmax(dim=1)
    true = probabilities.gather(1, index[:, None])[:, 0] * valid
    common = batch_sum(true.new_zeros(num_classes).index_add(0, index.flatten(), true.flatten()))
    counts = batch_sum(index[valid].bincount(minlength=num_classes).float())
    total = batch_sum((probabilities.square() * valid[:, None]).sum((0, 2, 3))) + counts
    is_there = counts > 0
    coefficients = (2 * common / total.clamp(min=1e-12)).where(is_there, common.new_zeros(()))
    return (is_there.sum() - coefficients.sum()) / is_there.sum().clamp(min=1)
