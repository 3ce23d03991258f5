"""Stems for pictures of any number of bands: the convolutions that read the images, widened or narrowed.

Every network is built for three channels, as its paper has it; only its first convolutions know of them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from segwright.errors import ConfigError


def check_in_channels(value: object) -> None:
    """Refuse what is no number of bands.

    Raises:
        ConfigError: not a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"in_channels must be a whole number of at least 1, got {value!r}", fix="give the pictures' number of bands"
        )


def stems(network: nn.Module, in_channels: int) -> dict[str, nn.Conv2d]:
    """The convolutions of a fresh network that read the images, by name.

    They are those of more than one pixel that read as many channels as the images have: no other convolution of a
    network reads so few, but the 1x1 ones of some squeezes.

    Args:
        network: the whole network.
        in_channels: of the images.
    """
    return {
        name: module
        for name, module in convolutions(network).items()
        if (module.in_channels, module.groups) == (in_channels, 1) and max(module.kernel_size) > 1
    }


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """All of a network's, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def widen(network: Any, before: int, after: int) -> None:
    """Let a fresh network read another number of bands.

    The new weights are drawn anew, normally, so that their sum over random bands varies as much as before.

    Args:
        network: a :class:`SegmentationModel`, changed in place.
        before, after: channels of the images.

    Raises:
        ConfigError: its stem is none that is known here.
    """
    found = stems(network, before)
    for conv in found.values():
        old = conv.weight.detach()
        drawn = torch.randn(old.shape[0], after, *old.shape[2:], device=old.device, dtype=old.dtype)
        conv.weight = nn.Parameter(drawn * old.std() * (before / after) ** 0.5)
        conv.in_channels = after
    if not found or not _runs(network, after):
        raise ConfigError(
            f"this network reads pictures of {before} channels only, and in_channels is {after}",
            fix="take another backbone, such as resnet50 or convnext_tiny",
        )


def adapted(weight: Tensor, in_channels: int) -> Tensor:
    """A trained stem's weights for another number of bands, as timm does it.

    For one band they are summed. For several the channels are repeated in turn (R, G, B, R, ...) and scaled by old over
    new count, so that a picture whose bands are all alike gives what it gave.

    Shape:
        (out, old channels, h, w) -> (out, in_channels, h, w)
    """
    before = weight.shape[1]
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, -(-in_channels // before), 1, 1)[:, :in_channels]
    return repeated * (before / in_channels)


def _runs(network: Any, in_channels: int) -> bool:
    """Whether all that reads the images was found: torch refuses other channels than a convolution has."""
    modes = {module: module.training for module in network.modules()}
    images = torch.zeros(1, in_channels, 64, 64, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            network.eval().strided_logits(images)
    except RuntimeError:
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return True
