"""Learning from a network's class probabilities."""

import torch
from torch import Tensor
from torch.nn import functional as F


def distillation(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of a network's class probabilities from its teacher's, the mean over positions.

    Hinton et al., "Distilling the Knowledge in a Neural Network", section 2: both logits are divided by the
    temperature and the loss multiplied by its square; taken of every position as in Liu et al., "Structured Knowledge
    Distillation for Semantic Segmentation", section 3.1.

    Args:
        logits: (N, C, H, W) of the network that learns.
        teacher: (N, C, H, W) of the teacher; no gradient goes there.
        temperature: above 1 the smaller probabilities count more.
    """
    with torch.autocast(logits.device.type, enabled=False):
        learned = F.log_softmax(logits.float() / temperature, dim=1)
        shown = F.log_softmax(teacher.detach().float() / temperature, dim=1)
        divergence = F.kl_div(learned, shown, reduction="none", log_target=True).sum(dim=1)
        return divergence.mean() * temperature**2
