"""Convolution, normalisation and activation, in the orders the papers use."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv2d(nn.Conv2d):
    """Convolution whose gradient is right in bf16 on the CPU too.

    oneDNN's bf16 kernel for the weight gradient of a dilated depthwise convolution in channels-last order reads
    memory that nobody wrote (seen with torch 2.13 on AVX-512 BF16; ``benchmarks/depthwise_gradient.py`` shows it), and
    training then ends in NaN. Under CPU autocast such a convolution computes in float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        is_dilated_depthwise = self.groups > 1 and max(self.dilation) > 1
        if is_dilated_depthwise and input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that survives one value per channel.

    A batch of 1 whose map is 1x1 has no variance; PyTorch raises there. Ours uses the running statistics for that
    step and leaves them as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class ConvBN(nn.Sequential):
    """Convolution with "same" padding at stride 1, then batch normalisation; no activation.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups: as ``nn.Conv2d``.
        padding: ``None`` for ``dilation * (kernel_size - 1) / 2`` on each side.
        bias: the papers have none before a normalisation; some published weights do.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: int | None = None,
        bias: bool = False,
    ) -> None:
        same = dilation * (kernel_size - 1) // 2
        super().__init__(
            Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=same if padding is None else padding,
                dilation=dilation,
                groups=groups,
                bias=bias,
            ),
            BatchNorm2d(out_channels),
        )


class ConvBNReLU(ConvBN):
    """:class:`ConvBN` followed by ReLU; takes the same arguments."""

    def forward(self, input: Tensor) -> Tensor:
        features: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return F.relu(features, inplace=True)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with batch normalisation, ReLU at the end.

    Args:
        in_channels, out_channels, stride: as ``nn.Conv2d``.
        depthwise_relu: also a ReLU between the two; Fast-SCNN (section 3.2.1) leaves it out.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, depthwise_relu: bool = False) -> None:
        depthwise = ConvBNReLU if depthwise_relu else ConvBN
        super().__init__(
            depthwise(in_channels, in_channels, 3, stride=stride, groups=in_channels),
            ConvBNReLU(in_channels, out_channels),
        )
