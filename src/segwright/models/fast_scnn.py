"""Fast-SCNN: Fast Semantic Segmentation Network.

Paper: Poudel, Liwicki, Cipolla, BMVC 2019, https://arxiv.org/abs/1902.04502
Layers: table 1; no known differences. The published variants of others are named options.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from segwright.layers import ConvBN, ConvBNReLU, FCNHead, PyramidPooling, SeparableConv, resize_as
from segwright.models.segmentation_model import SegmentationModel, register_model
from segwright.types import SegmentationOutput


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the paper's."""

    stem_padding: int = 1
    depthwise_relu: bool = False  # between the depthwise and the pointwise convolution of a separable one
    pyramid_kernel: int = 1
    fusion_dilation: int = 4  # table 3: the dilation equals the upsampling factor
    fusion_bias: bool = False
    align_corners: bool = False
    aux: tuple[str, ...] = ("detail", "context")


VARIANTS = {
    "paper": Variant(),
    "mmseg": Variant(pyramid_kernel=3, fusion_dilation=1),
    "tramac": Variant(
        stem_padding=0, depthwise_relu=True, fusion_dilation=1, fusion_bias=True, align_corners=True, aux=("detail",)
    ),
}


class FastSCNN(SegmentationModel):
    """Two branches that share their first three layers; 1.1 M parameters at 19 classes.

    Args:
        num_classes: channels of the logits.
        variant: which departures from the paper to make.

    Shape:
        (N, 3, H, W) -> logits (N, num_classes, H/8, W/8); aux ``detail`` at H/8, ``context`` at H/32.
    """

    def __init__(self, num_classes: int, variant: Variant = VARIANTS["paper"]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = variant.align_corners
        self.learning_to_downsample = nn.Sequential(
            ConvBNReLU(3, 32, 3, stride=2, padding=variant.stem_padding),
            SeparableConv(32, 48, stride=2, depthwise_relu=variant.depthwise_relu),
            SeparableConv(48, 64, stride=2, depthwise_relu=variant.depthwise_relu),
        )
        self.global_features = nn.Sequential(
            *bottlenecks(64, 64, blocks=3, stride=2),
            *bottlenecks(64, 96, blocks=3, stride=2),
            *bottlenecks(96, 128, blocks=3, stride=1),
            PyramidPooling(
                128, 128, fusion_kernel=variant.pyramid_kernel, align_corners=variant.align_corners
            ),  # the paper prints no layout; a 1x1 fusion gives its 1.11 M parameters
        )
        self.fusion = FeatureFusion(64, 128, 128, variant)
        self.classifier = nn.Sequential(
            SeparableConv(128, 128, depthwise_relu=variant.depthwise_relu),
            SeparableConv(128, 128, depthwise_relu=variant.depthwise_relu),
            nn.Dropout(0.1),
            nn.Conv2d(128, num_classes, kernel_size=1),
        )
        # The paper leaves the auxiliary heads' layout open; this is the one its re-implementations chose.
        channels = {"detail": 64, "context": 128}
        self.aux_heads = nn.ModuleDict({name: FCNHead(channels[name], num_classes, width=32) for name in variant.aux})
        self.aux_weights = dict.fromkeys(variant.aux, 0.4)  # section 3.4

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        detail = self.learning_to_downsample(at_least_3x3(images))  # (N, 64, H/8, W/8)
        context = self.global_features(detail)  # (N, 128, H/32, W/32)
        fused = self.fusion(detail, context)  # (N, 128, H/8, W/8)
        return SegmentationOutput(self.classifier(fused), self.aux_logits(detail, context))  # (N, classes, H/8, W/8)

    def aux_logits(self, detail: Tensor, context: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return {}
        features = {"detail": detail, "context": context}
        return {name: head(features[name]) for name, head in self.aux_heads.items()}


def at_least_3x3(images: Tensor) -> Tensor:
    """Zero-pad on the right and below so that a 3x3 convolution without padding finds a window."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, max(0, 3 - width), 0, max(0, 3 - height))) if min(height, width) < 3 else images


def bottlenecks(in_channels: int, out_channels: int, *, blocks: int, stride: int) -> list["Bottleneck"]:
    """A group of inverted residual blocks, of which only the first has the stride (table 1)."""
    first = Bottleneck(in_channels, out_channels, stride=stride)
    return [first, *(Bottleneck(out_channels, out_channels, stride=1) for _ in range(blocks - 1))]


class Bottleneck(nn.Module):
    """Inverted residual block of MobileNetV2, expansion 6 (table 2).

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int = 6) -> None:
        super().__init__()
        width = in_channels * expansion
        self.layers = nn.Sequential(
            ConvBNReLU(in_channels, width),
            ConvBNReLU(width, width, 3, stride=stride, groups=width),
            ConvBN(width, out_channels),
        )
        self.has_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.layers(features)
        return features + change if self.has_residual else change


class FeatureFusion(nn.Module):
    """Adds the upsampled context to the detail, each through its own convolution (table 3).

    Shape:
        (N, detail_channels, H/8, W/8), (N, context_channels, H/32, W/32) -> (N, out_channels, H/8, W/8)
    """

    def __init__(self, detail_channels: int, context_channels: int, out_channels: int, variant: Variant) -> None:
        super().__init__()
        self.align_corners = variant.align_corners
        self.context = nn.Sequential(
            ConvBNReLU(
                context_channels, context_channels, 3, dilation=variant.fusion_dilation, groups=context_channels
            ),
            ConvBN(context_channels, out_channels, bias=variant.fusion_bias),
        )
        self.detail = ConvBN(detail_channels, out_channels, bias=variant.fusion_bias)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        upsampled = resize_as(context, detail, align_corners=self.align_corners)
        return F.relu(self.detail(detail) + self.context(upsampled))


@register_model
def fast_scnn(num_classes: int, *, variant: Literal["paper", "mmseg", "tramac"] = "paper") -> FastSCNN:
    """Fast-SCNN (Poudel et al., BMVC 2019).

    Args:
        num_classes: channels of the logits.
        variant: ``paper``, or the departures of the weights that mmsegmentation or Tramac published.
    """
    return FastSCNN(num_classes, VARIANTS[variant])
