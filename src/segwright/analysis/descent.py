"""P and W by stochastic gradient descent from a random start."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segwright.analysis.patches import LabelPatches

STEPS = 3000
_BATCH = 256  # patches
_LR = 1e-2


def descend(
    patches: LabelPatches, code_channels: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> tuple[Tensor, Tensor, float]:
    """P (code_channels, N), W (N, code_channels), and the share of E|v|^2 that they keep.

    Both are free. Adam, with a learning rate that falls as a cosine; the squared error of a batch of patches, over the
    pixels with a class. Constant and mixed patches come in their shares.

    Args:
        patches: to draw from.
        code_channels: length of a code.
        seed: of the start and of the batches.
        progress: called with steps done and in all.
    """
    random = np.random.default_rng(seed)
    length = patches.num_classes * patches.ratio**2
    projection, reconstruction = (
        torch.from_numpy(random.normal(0, 1 / math.sqrt(length), shape).astype(np.float32)).requires_grad_()
        for shape in ((code_channels, length), (length, code_channels))
    )
    optimizer = torch.optim.Adam([projection, reconstruction], lr=_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = _errors(projection, reconstruction, _draw(patches, random), patches).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress:
            progress(step + 1, STEPS)
    projection, reconstruction = projection.detach(), reconstruction.detach()
    return projection, reconstruction, _energy(projection, reconstruction, patches)


def _draw(patches: LabelPatches, random: np.random.Generator) -> Tensor:
    """(_BATCH, r * r) classes of patches, each patch as likely as any other."""
    number = random.integers(patches.count, size=_BATCH)  # the constant ones come first, class by class
    ends = patches.constant.cumsum()
    constant = np.searchsorted(ends, number[number < ends[-1]], side="right")
    drawn = np.empty((_BATCH, patches.ratio**2), np.int64)
    drawn[: len(constant)] = constant[:, None]
    if len(constant) < _BATCH:
        drawn[len(constant) :] = patches.mixed[random.integers(len(patches.mixed), size=_BATCH - len(constant))]
    return torch.from_numpy(drawn)


def _errors(projection: Tensor, reconstruction: Tensor, rows: Tensor, patches: LabelPatches) -> Tensor:
    """(n,) squared errors of W P v for (n, r * r) classes, over the pixels with a class."""
    is_class = rows != patches.void
    index = rows.masked_fill(~is_class, patches.num_classes)
    vectors = rows.new_zeros((len(rows), patches.num_classes + 1, rows.shape[1]), dtype=torch.float32)
    vectors = vectors.scatter_(1, index[:, None], 1)[:, :-1]  # (n, C, r * r)
    again = F.linear(F.linear(vectors.flatten(1), projection), reconstruction).view_as(vectors)
    return ((again - vectors) * is_class[:, None]).square().sum((1, 2))


@torch.no_grad()
def _energy(projection: Tensor, reconstruction: Tensor, patches: LabelPatches) -> float:
    constants = torch.arange(patches.num_classes)[:, None].expand(-1, patches.ratio**2)
    error = (
        _errors(projection, reconstruction, constants, patches).double() @ torch.from_numpy(patches.constant).double()
    )
    observed = float(patches.ratio**2 * patches.constant.sum())
    for rows in np.array_split(patches.mixed, -(-len(patches.mixed) // _BATCH) or 1):
        errors = _errors(projection, reconstruction, torch.from_numpy(rows.astype(np.int64)), patches)
        error += patches.weight * errors.double().sum()
        observed += patches.weight * int((rows != patches.void).sum())
    return 1 - float(error) / observed
