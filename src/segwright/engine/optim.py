"""Parameter groups, the optimizer, the poly schedule with warm-up, and the moving average of the weights."""

import copy
from collections.abc import Collection, Iterator

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from segwright.config import TrainSettings
from segwright.errors import ConfigError
from segwright.layers.dupsampling import DUpsample


def decay_kind(module: nn.Module, parameter_name: str) -> str:
    """What a parameter is to the decay rule: ``norm``, ``bias``, ``depthwise`` or ``weight``."""
    if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
        return "norm"
    if parameter_name == "bias":
        return "bias"
    is_depthwise = isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels
    return "depthwise" if is_depthwise else "weight"


def parameter_groups(
    model: nn.Module, weight_decay: float, no_decay: Collection[str], *, head_lr_factor: float = 1.0
) -> list[dict[str, object]]:
    """Groups with and without weight decay; where the head has a rate of its own, first the trunk's, then the head's.

    Frozen parameters are in no group.

    Args:
        model: the network; its trunk is called ``backbone``.
        weight_decay: of the groups that have one.
        no_decay: kinds of parameters (:func:`decay_kind`) without decay, as DUpsampling's always are.
        head_lr_factor: of the learning rate outside the trunk, kept in each group as ``lr_factor``.
    """
    trunk = {id(parameter) for parameter in trunk_parameters(model)}
    members: dict[tuple[float, float], list[nn.Parameter]] = {
        (factor, decay): [] for factor in (1.0, head_lr_factor) for decay in (weight_decay, 0.0)
    }
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_free = isinstance(module, DUpsample) or decay_kind(module, name) in no_decay
            factor = 1.0 if id(parameter) in trunk else head_lr_factor
            if parameter.requires_grad:
                members[factor, 0.0 if is_free else weight_decay].append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_factor": factor}
        for (factor, decay), parameters in members.items()
        if parameters
    ]


def trunk_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those of the network's ``backbone``; none where it has no such part."""
    trunk = getattr(model, "backbone", None)
    return list(trunk.parameters()) if isinstance(trunk, nn.Module) else []


def check_head_rate(settings: TrainSettings, model: nn.Module) -> None:
    """Refuse a rate of the head's own before any file is read.

    Raises:
        ConfigError: the network has no trunk that the head could differ from.
    """
    if settings.head_lr_factor != 1 and not trunk_parameters(model):
        raise ConfigError(
            f"train.head_lr_factor is {settings.head_lr_factor:g}, but the network has no trunk: it is all head",
            fix="leave it out, and set train.lr",
        )


def build_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizer:
    """SGD with momentum, or AdamW, over :func:`parameter_groups`."""
    factor = settings.head_lr_factor
    groups = parameter_groups(model, settings.weight_decay, settings.no_decay, head_lr_factor=factor)
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999))


def learning_rate(step: int, iters: int, settings: TrainSettings) -> float:
    """Poly schedule ``lr * (1 - step / iters) ** power`` (DeepLabv3, section 4.1) under a linear warm-up.

    A function of the step alone, so that a resumed run has nothing to restore.
    """
    poly = (1 - min(step, iters) / iters) ** settings.power
    warmup = min(1.0, (step + 1) / (settings.warmup_iters + 1))
    return float(settings.lr * poly * warmup)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group the rate times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


class WeightAverage:
    """Exponential moving average of a network's weights and running statistics.

    The decay rises with the number of updates, as min(decay, (1 + n) / (10 + n)), so that the first steps of a run
    do not linger.

    Args:
        model: the network; the average starts as a copy of it.
        decay: of the average, 0..1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model``; ``step`` counts the updates before this one."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, values = [], []
        for average, value in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value.detach())
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, weight)


class RunningStatistics:
    """A network's running statistics as they were before a step, to undo what a batch with NaN has done to them.

    A step can be left out by not calling the optimizer; the running statistics have moved by then, and one NaN would
    stay in them, and in their average, for ever.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._own = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._kept = [buffer.clone() for buffer in self._own]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember them as they are now."""
        if self._own:
            torch._foreach_copy_(self._kept, self._own)

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what was remembered last."""
        if self._own:
            torch._foreach_copy_(self._own, self._kept)


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()
