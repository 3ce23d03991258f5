"""Atrous spatial pyramid pooling: one map seen at several rates at once, and as a whole."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segwright.layers.conv import Conv2d, ConvBNReLU


class AtrousSeparableConv(nn.Sequential):
    """Depthwise 3x3 convolution with a rate, and a pointwise one (DeepLabv3+, section 3.1).

    Args:
        in_channels, out_channels: as ``nn.Conv2d``.
        dilation: rate of the depthwise convolution.
        depthwise_norm: normalisation and ReLU between the two, as in the paper; some published weights have none.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1, depthwise_norm: bool = True) -> None:
        depthwise = (
            ConvBNReLU(in_channels, in_channels, 3, dilation=dilation, groups=in_channels)
            if depthwise_norm
            else Conv2d(
                in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False
            )
        )
        super().__init__(depthwise, ConvBNReLU(in_channels, out_channels))


class ImagePooling(nn.Sequential):
    """The average over the whole map through a 1x1 convolution, at every position (DeepLabv3, section 3.3).

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), ConvBNReLU(in_channels, out_channels))

    def forward(self, input: Tensor) -> Tensor:
        pooled: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        # One cell resized bilinearly is the same value everywhere.
        return pooled.expand(-1, -1, input.shape[-2], input.shape[-1])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3, section 3.3 and figure 5).

    A 1x1 convolution, a 3x3 convolution per rate and image pooling, side by side on the same map; concatenated in this
    order and merged.

    Args:
        in_channels: channels of the map.
        width: channels of each branch and after merging; 256 in the paper.
        rates: of the 3x3 branches; 6, 12, 18 at output stride 16 and twice as much at 8.
        image_pooling: whether there is that branch.
        separable: depthwise and pointwise convolutions in place of dense ones with a rate.
        depthwise_norm: of the separable convolutions.
        merge_kernel: side of the merging convolution; 0 for the concatenated maps as they are.
        dropout: probability of dropping a value after merging; none in the paper.

    Attributes:
        channels: of the concatenated maps.

    Shape:
        (N, in_channels, H, W) -> (N, width, H, W), or (N, channels, H, W) without merging
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 256,
        *,
        rates: Sequence[int] = (6, 12, 18),
        image_pooling: bool = True,
        separable: bool = False,
        depthwise_norm: bool = True,
        merge_kernel: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvBNReLU(in_channels, width)])
        for rate in rates:
            self.branches.append(
                AtrousSeparableConv(in_channels, width, dilation=rate, depthwise_norm=depthwise_norm)
                if separable
                else ConvBNReLU(in_channels, width, 3, dilation=rate)
            )
        self.image_pooling = ImagePooling(in_channels, width) if image_pooling else None
        self.channels = width * (len(self.branches) + image_pooling)
        self.merge = ConvBNReLU(self.channels, width, merge_kernel) if merge_kernel else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        maps = [branch(features) for branch in self.branches]
        if self.image_pooling is not None:
            maps.append(self.image_pooling(features))
        merged: Tensor = self.dropout(self.merge(torch.cat(maps, dim=1)))
        return merged
