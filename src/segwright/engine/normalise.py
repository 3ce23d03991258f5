"""The first step on the device: from pixels to what a network takes."""

import torch
from torch import Tensor, nn

from segwright.info import Preprocessing


class Normalise(nn.Module):
    """uint8 RGB images to the network's input: (value / 255 - mean) / std, channels last in memory."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.is_bgr = preprocessing.channel_order == "BGR"
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.is_bgr else images
        normalised = torch.addcmul(self.shift, ordered.float(), self.scale)
        return normalised.contiguous(memory_format=torch.channels_last)
