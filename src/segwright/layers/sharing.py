"""One batch in several processes: each holds an equal share of its pictures, and all compute as if they held them all.

What a layer or a loss takes over the pictures of a batch (normalisation's statistics, the number of labelled pixels, a
dropout's random numbers) then does not depend on how many processes share the batch. Gradients are those of the mean
over the processes of what each calls its loss, as ``DistributedDataParallel`` averages them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@dataclass(frozen=True)
class Sharing:
    """This process's place among those that share a batch.

    Args:
        rank: of this process; its pictures come after those of the processes below it.
        world_size: processes, two or more.
        gather: a tensor of one shape in all processes to those of all, (world_size, ...), the same in each.
    """

    rank: int
    world_size: int
    gather: Callable[[Tensor], Tensor]

    def rows(self, own: int) -> slice:
        """Where this process's ``own`` pictures stand in the batch."""
        return slice(self.rank * own, (self.rank + 1) * own)


_current: ContextVar[Sharing | None] = ContextVar("sharing", default=None)


@contextmanager
def sharing_batch(sharing: Sharing | None) -> Iterator[None]:
    """Losses computed inside are those of the shared batch."""
    token = _current.set(sharing)
    try:
        yield
    finally:
        _current.reset(token)


def batch_share(amount: Tensor, *, least: float = 0.0) -> Tensor:
    """What a process divides its sum by, so that the mean over the processes is the mean over the batch.

    Args:
        amount: what this process would divide by if it were alone, such as its number of labelled pixels; no gradient.
        least: below which the amount of the batch is raised.
    """
    sharing = _current.get()
    if sharing is None:
        return amount.clamp(min=least)
    return sharing.gather(amount.detach()).sum(dim=0).clamp(min=least) / sharing.world_size


def batch_sum(own: Tensor) -> Tensor:
    """A sum of this process's, summed over the processes; for losses that are no quotient of two sums."""
    sharing = _current.get()
    if sharing is None:
        return own
    scaled = own * sharing.world_size  # every process sees the whole sum, and the mean of their gradients is taken
    return scaled + (sharing.gather(own.detach()).sum(dim=0) - scaled.detach())


def batch_count(own: int) -> int:
    """A whole number of this process, summed over the processes."""
    sharing = _current.get()
    return own if sharing is None else int(sharing.gather(torch.tensor(own)).sum())


def batch_values(values: Tensor) -> Tensor:
    """(n,) values of this process and of the others, one after the other; n may differ between them; no gradient."""
    sharing = _current.get()
    if sharing is None:
        return values.detach()
    sizes = sharing.gather(torch.tensor(values.numel())).tolist()
    padded = F.pad(values.detach(), (0, max(sizes) - values.numel()))
    return torch.cat([row[:size] for row, size in zip(sharing.gather(padded), sizes, strict=True)])


def batch_draw(like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Random numbers for this process's pictures: its rows of those drawn for the shared batch.

    Args:
        like: (N, ...) of this process.
        draw: fills a tensor in place, such as ``Tensor.exponential_``.
    """
    sharing = _current.get()
    return draw(torch.empty_like(like)) if sharing is None else _draw_rows(sharing, like, draw)


def share_batch(model: nn.Module, sharing: Sharing, *, norms: bool) -> None:
    """Let a network's dropouts, and with ``norms`` its batch normalisations, work on the shared batch; in place.

    The modules stay where they are, with the same tensors; only what they do while training differs.
    """
    for module in model.modules():
        if norms and isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedBatchNormAct if hasattr(module, "act") else SharedBatchNorm2d
        elif type(module) in _SHARED_DROPOUTS:
            module.__class__ = _SHARED_DROPOUTS[type(module)]
        else:
            continue
        vars(module)["sharing"] = sharing


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the shared batch, on any device; made by :func:`share_batch`.

    The processes exchange mean, variance and number of values once per forward, and two sums per backward.
    """

    sharing: Sharing

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        mean, variance, count = self._statistics(input.detach())
        normed: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, mean, variance, count, self.eps, self.sharing.gather
        )
        return normed

    @torch.no_grad()
    def _statistics(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and number of values per channel over all processes; the running ones follow."""
        precise = torch.float32 if input.dtype in (torch.bfloat16, torch.float16) else input.dtype
        unused = torch.zeros(2, input.shape[1], dtype=precise, device=input.device)  # its type is that of the results
        own_mean, own_variance = torch.batch_norm_update_stats(input, unused[0], unused[1], 0.0)
        own_count = own_mean.new_full((1,), input.numel() / input.shape[1])
        parts = self.sharing.gather(torch.cat((own_mean, own_variance, own_count)))  # (world_size, 2 C + 1)
        channels = len(own_mean)
        means, variances, counts = parts[:, :channels], parts[:, channels:-1], parts[:, -1:]
        count = counts.sum()
        mean = (counts * means).sum(dim=0) / count
        variance = (counts * (variances + (means - mean).square())).sum(dim=0) / count
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), momentum)
        return mean, variance, count


class SharedBatchNormAct(SharedBatchNorm2d):
    """timm's normalisation with activation on the shared batch."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        features: Tensor = self.act(self.drop(super().forward(input)))
        return features


class _Normalise(torch.autograd.Function):
    """Normalisation by given statistics of a batch, whose gradient knows that they came from the batch."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        gather: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(input, weight, mean, variance, count)
        ctx.eps, ctx.gather = eps, gather
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean, variance, count = ctx.saved_tensors
        own = torch.ops.aten.native_batch_norm_backward(
            grad, input, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        grad_input, grad_weight, grad_bias = own  # as if the statistics were constants
        weighted, plain = ctx.gather(torch.stack((grad_weight, grad_bias))).sum(dim=0) / count
        scale = (variance + ctx.eps).rsqrt() * (1 if weight is None else weight)
        # What reaches the input through mean and variance: again a map that is linear in the normalised input.
        through = F.batch_norm(input, mean, variance, -scale * weighted, -scale * plain, False, 0.0, ctx.eps)
        if weight is None:
            grad_weight = grad_bias = None
        return grad_input.add_(through), grad_weight, grad_bias, None, None, None, None, None


class SharedDropout(nn.Dropout):
    """Dropout whose pattern is this process's part of that of the shared batch; made by :func:`share_batch`."""

    sharing: Sharing

    def forward(self, input: Tensor) -> Tensor:
        return _drop(input, input, self.p, self.sharing) if self.training and self.p > 0 else input


class SharedDropout2d(nn.Dropout2d):
    """The same of whole channels."""

    sharing: Sharing

    def forward(self, input: Tensor) -> Tensor:
        channels = input.new_empty(*input.shape[:2], *(1 for _ in input.shape[2:]))
        return _drop(input, channels, self.p, self.sharing) if self.training and self.p > 0 else input


_SHARED_DROPOUTS: dict[type[nn.Module], type[nn.Module]] = {nn.Dropout: SharedDropout, nn.Dropout2d: SharedDropout2d}


def _drop(input: Tensor, like: Tensor, probability: float, sharing: Sharing) -> Tensor:
    if probability == 1:
        return input * 0
    kept = _draw_rows(sharing, like, lambda whole: whole.bernoulli_(1 - probability))
    return input * kept.div_(1 - probability)


def _draw_rows(sharing: Sharing, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    whole = torch.empty(sharing.world_size * len(like), *like.shape[1:], dtype=like.dtype, device=like.device)
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        whole = whole.contiguous(memory_format=torch.channels_last)
    return draw(whole)[sharing.rows(len(like))]
