"""WideResNet-38 (A2) in its dilated form, which timm lacks.

Paper: Wu, Shen, van den Hengel, Wider or Deeper, 2016, https://arxiv.org/abs/1611.10080; the layers are those of
Gated-SCNN's trunk.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segwright.layers import BatchNorm2d
from segwright.layers.conv import Conv2d


class WideResNet38(nn.Module):
    """A trunk of few, wide, pre-activated blocks that ends at stride 8.

    Attributes:
        channels, strides: of its maps, fine to coarse; the first has the images' own size.

    Shape:
        (N, 3, H, W) -> mod1 (N, 64, H, W), mod2 (N, 128, H/2, W/2), mod3 (N, 256, H/4, W/4), mod4 (N, 512, H/8, W/8),
        mod7 (N, 4096, H/8, W/8); sides are rounded up
    """

    name = "wide_resnet38"
    output_stride = 8
    channels = (64, 128, 256, 512, 4096)
    strides = (1, 2, 4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.mod1 = Conv2d(3, 64, 3, padding=1, bias=False)
        self.mod2 = stage(64, (128, 128), blocks=3)
        self.mod3 = stage(128, (256, 256), blocks=3)
        self.mod4 = stage(256, (512, 512), blocks=6, stride=2)
        self.mod5 = stage(512, (512, 1024), blocks=3, dilation=2)
        self.mod6 = stage(1024, (512, 1024, 2048), blocks=1, dilation=4, dropout=0.3)
        self.mod7 = stage(2048, (1024, 2048, 4096), blocks=1, dilation=4, dropout=0.5)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.mod1(images)  # (N, 64, H, W)
        half = self.mod2(F.max_pool2d(first, 3, stride=2, padding=1))  # (N, 128, H/2, W/2)
        quarter = self.mod3(F.max_pool2d(half, 3, stride=2, padding=1))  # (N, 256, H/4, W/4)
        eighth = self.mod4(quarter)  # (N, 512, H/8, W/8)
        return [first, half, quarter, eighth, self.mod7(self.mod6(self.mod5(eighth)))]  # (N, 4096, H/8, W/8)


def stage(
    in_channels: int,
    widths: Sequence[int],
    *,
    blocks: int,
    stride: int = 1,
    dilation: int = 1,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Blocks of equal width, of which the first has the stride."""
    first = PreActivatedBlock(in_channels, widths, stride=stride, dilation=dilation, dropout=dropout)
    rest = (PreActivatedBlock(widths[-1], widths, dilation=dilation, dropout=dropout) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class PreActivatedBlock(nn.Module):
    """Residual block whose convolutions follow their normalisation and ReLU.

    Args:
        in_channels: of its input.
        widths: channels after each convolution: two of 3x3, or three of 1x1, 3x3 and 1x1.
        stride: of the first convolution.
        dilation: of the 3x3 convolutions.
        dropout: probability of dropping a channel before the last convolution.

    Shape:
        (N, in_channels, H, W) -> (N, widths[-1], H/stride, W/stride)
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], *, stride: int = 1, dilation: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        inputs = (in_channels, *widths[:-1])
        self.norms = nn.ModuleList(BatchNorm2d(channels) for channels in inputs)
        self.convs = nn.ModuleList(
            conv(channels, width, kernel, stride=stride if index == 0 else 1, dilation=dilation)
            for index, (channels, width, kernel) in enumerate(zip(inputs, widths, kernels, strict=True))
        )
        self.dropout = nn.Dropout2d(dropout)
        is_same = stride == 1 and in_channels == widths[-1]
        self.projection = None if is_same else conv(in_channels, widths[-1], 1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        last = len(self.convs) - 1
        change = shortcut = features
        for index, (norm, layer) in enumerate(zip(self.norms, self.convs, strict=True)):
            activated = F.relu(norm(change), inplace=True)
            if index == 0 and self.projection is not None:
                shortcut = self.projection(activated)  # it reads the activated input
            change = layer(self.dropout(activated) if index == last else activated)
        return change + shortcut


def conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1) -> Conv2d:
    """Convolution without bias and with "same" padding at stride 1; a 1x1 one has no dilation."""
    rate = dilation if kernel_size > 1 else 1
    padding = rate * (kernel_size // 2)
    return Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, dilation=rate, bias=False)
