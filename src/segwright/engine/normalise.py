"""From pixels to what a network takes: which numbers, and the first step on the device."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from segwright.config import DataSettings
from segwright.info import Preprocessing


class Normalise(nn.Module):
    """Stored values to the network's input: (value / unit - mean) / std, channels last in memory."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.is_bgr = preprocessing.channel_order == "BGR"
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (preprocessing.unit * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.is_bgr else images
        normalised = torch.addcmul(self.shift, ordered.float(), self.scale)
        return normalised.contiguous(memory_format=torch.channels_last)


def preprocessing_of(settings: DataSettings, own: Preprocessing) -> Preprocessing:
    """How the run's pictures enter its network.

    Args:
        settings: of the data.
        own: what the network or its weights say.
    """
    step = -1 if own.channel_order == "BGR" and settings.bands is None else 1
    mean, std = (numbers and numbers[::step] for numbers in (settings.mean, settings.std))
    given = replace(own, mean=mean or own.mean, std=std or own.std)
    if settings.bands is None:
        return given
    return replace(given, channel_order="RGB", bands=settings.bands, unit=settings.unit or own.unit)
