"""Which filters ICNet's progressive compression keeps: those of large l1 norms (``segwright.models.icnet.compress``).

Train at full width, keep 3/4 of each layer's filters, tune, keep 1/2, tune. The compressed network is an ICNet of that
``width``, so that its file loads and trains like any other; ``recipes/icnet_compression.py`` makes all five steps::

    segwright train DATA --model icnet --set model.options.width=1.0 --out runs/full
    save_model(compress(load_model("runs/full"), 0.75), Path("wide.safetensors"))
    segwright train DATA --model icnet --set model.options.width=0.75 --weights wide.safetensors --out runs/wide
    save_model(compress(load_model("runs/wide"), 0.5), Path("half.safetensors"))
    segwright train DATA --model icnet --weights half.safetensors --out runs/half
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segwright.errors import ConfigError


def narrowed(wide: nn.Module, narrow: nn.Module) -> dict[str, Tensor]:
    """The state of ``narrow``: of ``wide``'s tensors the filters of the largest l1 norms, and what reads them."""
    outputs, inputs = kept_filters(wide, narrow)
    return {key: _cut(key, tensor, outputs, inputs) for key, tensor in wide.state_dict().items()}


def check_rate(rate: float, width: float) -> None:
    """Raise ConfigError for a kept share of filters that is not above 0 and below the network's own."""
    if not 0 < rate < width:
        raise ConfigError(
            f"rate must be above 0 and below the network's own width {width}, got {rate}",
            fix="the paper keeps 3/4 of the full-width network's filters, then 1/2",
        )


@dataclass(frozen=True)
class ChannelGroup:
    """Maps whose channels stay or go together, because they are added.

    Args:
        producers: names of the convolutions (with normalisation) whose filters make them.
        consumers: names of the convolutions that read them.
    """

    producers: tuple[str, ...]
    consumers: tuple[str, ...]


def channel_groups(model: nn.Module) -> list[ChannelGroup]:
    """Every filter of the network but the classifiers', each once."""
    blocks_of = {name: list(model.get_submodule(name).children()) for name in _STAGES}
    stages = {name: [f"{name}.{index}" for index in range(len(blocks))] for name, blocks in blocks_of.items()}
    stages["conv3"].insert(0, "conv3_1")
    after = [stages[following][0] for following in _STAGES[1:]]
    readers = [(f"{block}.reduce", f"{block}.projection") for block in after] + [("conv5_4",)]
    groups = [
        ChannelGroup(("stem.0",), ("stem.1",)),
        ChannelGroup(("stem.1",), ("stem.2",)),
        ChannelGroup(("stem.2",), ("conv2.0.reduce", "conv2.0.projection")),
    ]
    for (name, blocks), reader in zip(stages.items(), readers, strict=True):
        groups += [ChannelGroup((f"{block}.reduce",), (f"{block}.conv",)) for block in blocks]
        groups += [ChannelGroup((f"{block}.conv",), (f"{block}.increase",)) for block in blocks]
        sums = (f"{blocks[0]}.projection", *(f"{block}.increase" for block in blocks))
        medium = ("fusion_low.high",) if name == "conv3" else ()
        groups.append(ChannelGroup(sums, (*(f"{block}.reduce" for block in blocks[1:]), *reader, *medium)))
    heads = dict(model.get_submodule("aux_heads").named_children())
    guided = {name: (f"aux_heads.{name}",) if name in heads else () for name in ("low", "medium")}
    return [
        *groups,
        ChannelGroup(("conv5_4",), ("fusion_low.low", *guided["low"])),
        ChannelGroup(("fusion_low.low", "fusion_low.high"), ("fusion_medium.low", *guided["medium"])),
        ChannelGroup(("high_branch.0",), ("high_branch.1",)),
        ChannelGroup(("high_branch.1",), ("high_branch.2",)),
        ChannelGroup(("high_branch.2",), ("fusion_medium.high",)),
        ChannelGroup(("fusion_medium.low", "fusion_medium.high"), ("classifier",)),
    ]


_STAGES = ("conv2", "conv3", "conv4", "conv5")


def kept_filters(wide: nn.Module, narrow: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Indices, rising, of the filters and of the inputs that each convolution of ``wide`` keeps, by its name.

    The norms of convolutions whose maps are added are added too, each divided by its mean, so that all have the same
    say. ``narrow`` says how many filters stay.
    """
    outputs: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    for group in channel_groups(wide):
        norms = torch.stack([l1_norms(wide.get_submodule(name)) for name in group.producers])
        scores = (norms / norms.mean(dim=1, keepdim=True).clamp(min=1e-12)).sum(dim=0)
        count = len(l1_norms(narrow.get_submodule(group.producers[0])))
        kept = scores.topk(count).indices.sort().values
        outputs |= dict.fromkeys(group.producers, kept)
        inputs |= dict.fromkeys(group.consumers, kept)
    return outputs, inputs


def l1_norms(layer: nn.Module) -> Tensor:
    """Sum of the absolute weights of each filter of the layer's one convolution."""
    (conv,) = (part for part in layer.modules() if isinstance(part, nn.Conv2d))
    return conv.weight.detach().abs().sum(dim=(1, 2, 3))


def _cut(key: str, tensor: Tensor, outputs: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
    """The kept part of a tensor of the state dict."""
    module = key.rpartition(".")[0]
    name = module if module in inputs else module.rpartition(".")[0]  # a classifier, or a part of a ConvBN
    if tensor.ndim and name in outputs:
        tensor = tensor[outputs[name]]
    return tensor[:, inputs[name]] if tensor.ndim == 4 and name in inputs else tensor
