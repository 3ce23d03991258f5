"""Maps from inside a trunk, by the names that papers give to a ResNet's and an Xception's convolutions."""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

LEVELS: Mapping[str, int] = {f"c{level}": level for level in range(1, 6)}
"""The maps between a trunk's strides, which every trunk has: cN has stride 2 ** N without dilation."""


class Tap:
    """Keeps what a module inside a trunk gives, until the trunk's forward ends.

    Attributes:
        kept: the module's last output; empty outside of the trunk's forward.
    """

    def __init__(self, module: nn.Module) -> None:
        self.kept: list[Tensor] = []
        module.register_forward_hook(self.keep)  # a method, so that a copy of the trunk keeps in its own tap

    def keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A copy: timm's blocks add the shortcut to this tensor in place, or activate it in place.
        self.kept[:] = [output.clone()]

    def take(self) -> Tensor:
        return self.kept.pop()


def tap_modules(network: nn.Module) -> dict[str, str]:
    """What can be tapped inside a ResNet or an aligned Xception: the paper's name to the module's.

    ``conv1_Z`` is the Z-th convolution of the stem, activated. In a ResNet ``bXuYcZ`` is the Z-th convolution of unit Y
    of block X; in an Xception ``efbXu1cZ`` is the Z-th separable one of block X of the entry flow, and ``mfb1uYcZ`` of
    unit Y of the middle flow. What they give is normalised, but neither activated nor added to the shortcut.
    """
    if hasattr(network, "layer1"):
        return {**dict(_resnet_stem(network)), **dict(_resnet_units(network))}
    return dict(_xception(network)) if is_xception(network) else {}


def is_xception(network: nn.Module) -> bool:
    """Whether it is one of timm's aligned Xceptions."""
    return hasattr(network, "stem_0") and hasattr(getattr(network, "blocks_0", None), "stack")


def _resnet_stem(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Convolution, normalisation and activation in turn, of which the last two stand beside the sequence."""
    stem = getattr(network, "conv1", None)
    if isinstance(stem, nn.Sequential) and hasattr(network, "act1"):
        before = [f"conv1.{place}" for place in range(2, len(stem), 3)]
        yield from ((f"conv1_{number}", module) for number, module in enumerate([*before, "act1"], 1))


def _resnet_units(network: nn.Module) -> Iterator[tuple[str, str]]:
    for module, _ in network.named_modules():
        if match := re.fullmatch(r"layer(\d)\.(\d+)\.bn(\d)", module):
            block, unit, conv = map(int, match.groups())
            yield f"b{block}u{unit + 1}c{conv}", module


def _xception(network: nn.Module) -> Iterator[tuple[str, str]]:
    yield from (("conv1_1", "stem_0"), ("conv1_2", "stem_1"))
    blocks = [(name, part) for name, part in network.named_children() if name.startswith("blocks_")]
    widths: list[tuple[int, int]] = [(part.in_channels, part.out_channels) for _, part in blocks]  # type: ignore[misc]
    wide = next((place for place, (_, after) in enumerate(widths) if after == 728), len(blocks) - 1)
    entry = 3 if wide == 2 else 5  # blocks of the entry flow; Xception-71 has two more
    for place, (name, _) in enumerate(blocks):
        prefix = f"efb{place + 1}u1" if place < entry else f"mfb1u{place - entry + 1}"
        if place < entry or widths[place] == (728, 728):
            yield from ((f"{prefix}c{conv}", f"{name}.stack.conv{conv}") for conv in (1, 2, 3))


@torch.no_grad()
def measure(network: nn.Module, modules: list[str]) -> list[tuple[int, int]]:
    """Channels and stride of what modules give.

    Args:
        network: on the meta device, where a forward costs nothing; it is changed.
        modules: names inside it.
    """
    side = 256  # cells enough at every stride
    taps = [Tap(network.get_submodule(module)) for module in modules]
    network(torch.empty(1, 3, side, side, device="meta"))
    maps = [tap.take() for tap in taps]
    return [(features.shape[1], side // features.shape[-1]) for features in maps]
