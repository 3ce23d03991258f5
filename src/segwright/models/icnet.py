"""ICNet: ICNet for Real-Time Semantic Segmentation on High-Resolution Images.

Paper: Zhao, Qi, Shen, Shi, Jia, ECCV 2018, https://arxiv.org/abs/1704.08545
Layers: the authors' Caffe network, half as wide as PSPNet-50, in whose words the parts are named; sides of 32k + 1 give
its very sizes. The network of that name in mmsegmentation is another one, and a named option.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segwright.backbones import create_backbone
from segwright.errors import ConfigError
from segwright.layers import ConvBN, ConvBNReLU, resize, resize_as
from segwright.layers.pooling import average_windows
from segwright.models.icnet_compression import check_rate, narrowed
from segwright.models.icnet_mmseg import MMSegICNet
from segwright.models.segmentation_model import SegmentationModel, build_model, register_model
from segwright.types import SegmentationOutput


class ICNet(SegmentationModel):
    """Image cascade network: few layers see the full image, many a small map; fused coarse to fine.

    The medium branch (stem to conv3_1, on the image at 1/2) is at once the beginning of the low branch, which goes on
    from its shrunk map: the two share their weights.

    Args:
        num_classes: channels of the logits.
        blocks: bottlenecks of conv2 to conv5.
        width: kept share of the filters of the full-width network; 0.5 in the paper.
        aux: cascade label guidance on the low and medium branch, in training only.

    Shape:
        (N, 3, H, W) -> logits (N, num_classes, H/4, W/4); aux ``low`` at H/16, ``medium`` at H/8.
    """

    align_corners = True  # the authors' Interp layer, and sides of 32k + 1

    def __init__(
        self, num_classes: int, *, blocks: Sequence[int] = (3, 4, 6, 3), width: float = 0.5, aux: bool = True
    ) -> None:
        super().__init__()
        c64, c128, c256, c512, c1024, c2048 = (scaled(64 * 2**power, width) for power in range(6))
        self.num_classes, self.width = num_classes, width
        self.stem = nn.Sequential(
            ConvBNReLU(3, c64, 3, stride=2),
            ConvBNReLU(c64, c64, 3),
            ConvBNReLU(c64, c128, 3),
            nn.MaxPool2d(3, stride=2, padding=1),  # Differs: Caffe rounds up, one row more where H is not 32k + 1
        )
        self.conv2 = bottlenecks(c128, c64, c256, blocks=blocks[0])
        self.conv3_1 = Bottleneck(c256, c128, c512, stride=2, project=True)
        self.conv3 = nn.Sequential(*(Bottleneck(c512, c128, c512) for _ in range(blocks[1] - 1)))  # conv3_2 and on
        self.conv4 = bottlenecks(c512, c256, c1024, blocks=blocks[2], dilation=2)
        self.conv5 = bottlenecks(c1024, c512, c2048, blocks=blocks[3], dilation=4)
        self.pyramid = SumPyramid()
        self.conv5_4 = ConvBNReLU(c2048, c512)
        self.high_branch = nn.Sequential(
            ConvBNReLU(3, c64, 3, stride=2), ConvBNReLU(c64, c64, 3, stride=2), ConvBNReLU(c64, c128, 3, stride=2)
        )
        self.fusion_low = CascadeFeatureFusion(c512, c512, c256)
        self.fusion_medium = CascadeFeatureFusion(c256, c128, c256)
        self.classifier = nn.Conv2d(c256, num_classes, kernel_size=1)
        guided = {"low": c512, "medium": c256} if aux else {}
        self.aux_heads = nn.ModuleDict({name: nn.Conv2d(c, num_classes, 1) for name, c in guided.items()})
        weights = {"low": 0.16, "medium": 0.4}  # lambda of the cascade label guidance; 1.0 for the high branch
        self.aux_weights = {name: weights[name] for name in guided}
        self.aux_losses = dict.fromkeys(("main", *guided), "label_guidance")  # labels downsampled to 1/4, 1/8, 1/16

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        medium = self.conv3_1(self.conv2(self.stem(shrink(images))))  # (N, 256, H/16, W/16)
        conv5 = self.conv5(self.conv4(self.conv3(shrink(medium))))  # (N, 1024, H/32, W/32)
        low = self.conv5_4(self.pyramid(conv5))  # (N, 256, H/32, W/32)
        high = self.high_branch(images)  # (N, 64, H/8, W/8)
        fused, low = self.fusion_low(low, medium)  # (N, 128, H/16, W/16), (N, 256, H/16, W/16)
        fused, medium = self.fusion_medium(fused, high)  # (N, 128, H/8, W/8) twice
        quarter = ((images.shape[-2] + 3) // 4, (images.shape[-1] + 3) // 4)
        logits = self.classifier(resize(fused, quarter, align_corners=True))  # (N, num_classes, H/4, W/4)
        guided = {"low": low, "medium": medium}
        heads = self.aux_heads.items() if self.training else ()
        return SegmentationOutput(logits, {name: head(guided[name]) for name, head in heads})


def scaled(channels: int, width: float) -> int:
    """The kept share of a layer's filters, at least one."""
    return max(1, round(channels * width))


def shrink(maps: Tensor) -> Tensor:
    """Half the size: at odd sides exactly each second row and column."""
    return resize(maps, ((maps.shape[-2] + 1) // 2, (maps.shape[-1] + 1) // 2), align_corners=True)


def bottlenecks(
    in_channels: int, width: int, out_channels: int, *, blocks: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """A stage, whose first block has the projection."""
    first = Bottleneck(in_channels, width, out_channels, stride=stride, dilation=dilation, project=True)
    rest = (Bottleneck(out_channels, width, out_channels, dilation=dilation) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class Bottleneck(nn.Module):
    """Residual block with the stride on the 1x1 ``reduce``, as in Caffe, not on the 3x3.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(in_channels, width, stride=stride)
        self.conv = ConvBNReLU(width, width, 3, dilation=dilation)
        self.increase = ConvBN(width, out_channels)
        self.projection = ConvBN(in_channels, out_channels, stride=stride) if project else None

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.projection is None else self.projection(features)
        return F.relu(shortcut + self.increase(self.conv(self.reduce(features))), inplace=True)


class SumPyramid(nn.Module):
    """Pyramid pooling without convolutions: the averages are added to the map, not concatenated.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    bins = (1, 2, 3, 6)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        total = features
        for side in self.bins:
            pooled = average_windows(features, self.window(height, side), self.window(width, side))
            total = total + resize_as(pooled, features, align_corners=True)  # (N, C, side, side) -> (N, C, H, W)
        return total

    def window(self, size: int, cells: int) -> tuple[int, int]:
        """Kernel and stride that cover ``size`` values from end to end by ``cells`` windows, or as many as there are.

        The strides are rounded down, so that neighbours may overlap, and a coarser grid moves by two windows of the
        finer one: at 33x65 the authors' literal kernels, at multiples of 6 the pooling of PSPNet.

        Example:
            >>> [SumPyramid().window(65, cells) for cells in (2, 3, 6)]
            [(33, 32), (25, 20), (15, 10)]
        """
        # sym_min and sym_max are min and max, for a size too that is known only when an exported program runs.
        smallest, largest = torch.sym_min, torch.sym_max
        stride: int = largest(2 * (size // (2 * cells)) if 2 * cells in self.bins else size // cells, 1)  # type: ignore[no-untyped-call]
        return size - (smallest(cells, size) - 1) * stride, stride  # type: ignore[no-untyped-call]


class CascadeFeatureFusion(nn.Module):
    """Cascade feature fusion: upsample the coarse map, convolve it with dilation 2, add the fine map's projection.

    Args:
        low_channels, high_channels: of the coarse and the fine map.
        out_channels: of the fused map.

    Shape:
        (N, low_channels, h, w), (N, high_channels, H, W) -> (N, out_channels, H, W), and the upsampled coarse map
    """

    def __init__(self, low_channels: int, high_channels: int, out_channels: int) -> None:
        super().__init__()
        self.low = ConvBN(low_channels, out_channels, 3, dilation=2)
        self.high = ConvBN(high_channels, out_channels)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        upsampled = resize_as(low, high, align_corners=True)
        return F.relu(self.low(upsampled) + self.high(high), inplace=True), upsampled


BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
"""Bottlenecks of conv2 to conv5."""


@register_model
def icnet(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    width: float = 0.5,
    aux: bool = True,
    variant: Literal["paper", "mmseg"] = "paper",
) -> ICNet | MMSegICNet:
    """ICNet (Zhao et al., ECCV 2018).

    Args:
        num_classes: channels of the logits.
        backbone: the depth of the paper's own trunk; with variant mmseg any ResNet of timm.
        width: kept share of the filters of the full-width network, 0 to 1; 0.5 in the paper.
        aux: label guidance of the low and medium branch, with weights 0.16 and 0.4.
        variant: ``paper``, or the network whose weights mmsegmentation published.

    Raises:
        ConfigError: a backbone or width that the variant cannot have.
    """
    if variant == "mmseg":
        if width != 0.5:
            raise ConfigError(f"width is {width}, but variant mmseg is as wide as its backbone", fix="leave width out")
        return MMSegICNet(num_classes, create_backbone(backbone, output_stride=8, dilation="mmseg"), aux=aux)
    if backbone not in BLOCKS:
        raise ConfigError(
            f"the paper's icnet has its own trunk, as deep as {', '.join(BLOCKS)}; got backbone '{backbone}'",
            fix="pick one of these, or set variant=mmseg for the network on any ResNet of timm",
        )
    if not 0 < width <= 1:
        raise ConfigError(f"width must be above 0 and at most 1, got {width}", fix="take 0.5 (the paper), 0.75 or 1.0")
    return ICNet(num_classes, blocks=BLOCKS[backbone], width=width, aux=aux)


def compress(model: SegmentationModel, rate: float) -> ICNet:
    """A narrower copy that keeps the filters of the largest l1 norms (the paper's progressive compression).

    It computes what the wide network would with the other filters, their biases included, set to zero.

    Args:
        model: ICNet of the paper's layers; stays as it is.
        rate: kept share of the filters of the full-width network: 3/4, then after some training 1/2.

    Raises:
        ConfigError: another network, or a rate that is not above 0 and below the network's own.
    """
    if not isinstance(model, ICNet):
        raise ConfigError(f"compress takes the paper's ICNet, got {type(model).__name__}", fix="see models show icnet")
    check_rate(rate, model.width)
    narrow = build_model(model.info.name, model.num_classes, {**model.info.options, "width": rate})
    assert isinstance(narrow, ICNet)
    narrow.to(model.classifier.weight.device, model.classifier.weight.dtype).load_state_dict(narrowed(model, narrow))
    history = {**model.info.provenance, "compressed": f"from width {model.width} to {rate} by l1 norms"}
    narrow.info = replace(model.info, options=narrow.info.options, provenance=history, scores={})
    return narrow.train(model.training)
