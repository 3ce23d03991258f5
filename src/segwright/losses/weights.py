"""Class weights from pixel counts, for data whose classes are of very different size."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor


def class_weights(counts: Sequence[int], rule: Literal["median_frequency", "log"]) -> Tensor:
    """One factor per class, larger for rarer classes.

    Args:
        counts: pixels of each class in the training masks; a class without pixels gets 1.
        rule: ``median_frequency`` is median share / share (SegNet, section 4); ``log`` is 1 / ln(1.02 + share)
            (ENet, section 5.2), which stays within a factor of about 35. Both are scaled to mean 1 over the pixels.

    Returns:
        (C,) float32.
    """
    pixels = torch.tensor(counts, dtype=torch.float64)
    share = pixels / pixels.sum().clamp(min=1)
    present = share > 0
    weights = torch.ones_like(share)
    if present.any():
        weights[present] = {
            "median_frequency": share[present].median() / share[present],
            "log": 1 / torch.log(1.02 + share[present]),
        }[rule]
        weights[present] /= (weights * share)[present].sum()
    return weights.float()
