"""Xception39: the small Xception that BiSeNet is built on, which timm lacks.

Paper: named in Yu et al., "BiSeNet", ECCV 2018, https://arxiv.org/abs/1808.00897; layers as in the authors' code.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segwright.backbones.timm_library import timm
from segwright.layers import ConvBN, ConvBNReLU
from segwright.layers.conv import Conv2d

STAGES = ((4, 16), (8, 32), (4, 64))
"""Blocks and middle width of the stages at strides 8, 16 and 32; each gives four times its middle width."""


class Xception39(nn.Module):
    """A strided convolution, a pool, and three stages of residual blocks of separable convolutions.

    299,448 parameters; 0.186 billion multiply-adds at 360x640.

    Args:
        levels: which maps; level n has stride 2 ** n, from 1 to 5.

    Shape:
        (N, 3, H, W) -> a list of maps of 8, 8, 64, 128, 256 channels at strides 2, 4, 8, 16, 32
    """

    def __init__(self, levels: Sequence[int] = (2, 3, 4, 5)) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.conv1 = ConvBNReLU(3, 8, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        in_channels, maps = 8, [("conv1", 8), ("maxpool", 8)]
        for number, (blocks, width) in enumerate(STAGES):
            first = XceptionBlock(in_channels, width, stride=2)
            in_channels = 4 * width
            self.stages.append(
                nn.Sequential(first, *(XceptionBlock(in_channels, width, stride=1) for _ in range(blocks - 1)))
            )
            maps.append((f"stages.{number}", in_channels))
        rows = [
            {"module": name, "num_chs": channels, "reduction": 2 ** (index + 1)}
            for index, (name, channels) in enumerate(maps)
        ]
        self.feature_info = timm.models.FeatureInfo(rows, tuple(level - 1 for level in self.levels))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.conv1(images)]  # (N, 8, H/2, W/2)
        maps.append(self.maxpool(maps[0]))  # (N, 8, H/4, W/4)
        for stage in self.stages:
            maps.append(stage(maps[-1]))  # (N, 64, H/8, W/8), (N, 128, H/16, W/16), (N, 256, H/32, W/32)
        return [maps[level - 1] for level in self.levels]


class XceptionBlock(nn.Module):
    """Three separable convolutions beside a shortcut, which is one more of them where the stride is 2.

    Args:
        in_channels: of the map it reads.
        width: channels in the middle; a quarter of those it gives.
        stride: of the first convolution and of the shortcut.

    Shape:
        (N, in_channels, H, W) -> (N, 4 * width, H/stride, W/stride)
    """

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            separable(in_channels, width, stride=stride),
            separable(width, width),
            separable(width, 4 * width, relu=False),
        )
        self.shortcut = nn.Identity() if stride == 1 else separable(in_channels, 4 * width, stride=stride, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.branch(features) + self.shortcut(features), inplace=True)


def separable(in_channels: int, out_channels: int, *, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Depthwise 3x3 convolution with neither normalisation nor activation, then a pointwise one with both."""
    depthwise = Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, (ConvBNReLU if relu else ConvBN)(in_channels, out_channels))
