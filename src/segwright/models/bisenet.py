"""BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation.

Paper: Yu, Wang, Peng, Gao, Yu, Sang, ECCV 2018, https://arxiv.org/abs/1808.00897
Layers: figure 2, and where it shows less, the authors' code: the spatial path's fourth convolution, the 3x3
convolutions of the attention refinement and after each resize, the heads. The published variants of others are named
options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segwright.backbones import Backbone, create_backbone
from segwright.layers import ConvBN, ConvBNReLU, FCNHead, resize_as
from segwright.models.segmentation_model import SegmentationModel, register_model
from segwright.types import SegmentationOutput


@dataclass(frozen=True)
class Variant:
    """Where published versions depart from the authors' first one; the defaults are theirs."""

    heads: Literal["paper", "speed", "by_width"] = "paper"
    width_of_c3: bool = False  # the paths are as wide as the trunk's c3 instead of 128
    nearest: bool = False  # the context path repeats cells instead of interpolating
    fusion_attention: Literal["two_convs", "conv_bn_relu", "conv_bn"] = "two_convs"
    dropout: float = 0.0


VARIANTS = {
    "paper": Variant(),
    "speed": Variant(heads="speed"),
    "mmseg": Variant("by_width", width_of_c3=True, nearest=True, fusion_attention="conv_bn_relu", dropout=0.1),
    "coincheung": Variant("by_width", nearest=True, fusion_attention="conv_bn"),
}


class BiSeNet(SegmentationModel):
    """A shallow path for detail and a deep one for context, on the same image, fused at an eighth of its size.

    Args:
        num_classes: channels of the logits.
        backbone: the context path's trunk; gives c3, c4, c5.
        align_corners: of all resizes.
        variant: which departures to make.

    Shape:
        (N, 3, H, W) -> logits (N, num_classes, H/8, W/8); aux ``context16`` at H/16, ``context8`` at H/8.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: Backbone,
        *,
        align_corners: bool = False,
        variant: Variant = VARIANTS["paper"],
    ) -> None:
        super().__init__()
        self.num_classes, self.align_corners = num_classes, align_corners
        width = backbone.channels[0] if variant.width_of_c3 else 128
        main, aux = head_widths(backbone.channels[-1], width, variant)
        self.spatial_path = nn.Sequential(
            ConvBNReLU(3, width // 2, 7, stride=2),
            ConvBNReLU(width // 2, width // 2, 3, stride=2),
            ConvBNReLU(width // 2, width // 2, 3, stride=2),
            ConvBNReLU(width // 2, width),
        )
        self.backbone = backbone
        self.context_path = ContextPath(
            backbone.channels, width, interpolation="nearest" if variant.nearest else None, align_corners=align_corners
        )
        self.fusion = FeatureFusion(2 * width, attention=variant.fusion_attention)
        self.classifier = FCNHead(2 * width, num_classes, width=main, dropout=variant.dropout)
        self.aux_heads = nn.ModuleDict(
            {
                name: FCNHead(width, num_classes, width=aux, dropout=variant.dropout)
                for name in ("context16", "context8")
            }
        )
        self.aux_weights = {"context16": 1.0, "context8": 1.0}  # alpha of section 3.3

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        detail = self.spatial_path(images)  # (N, 128, H/8, W/8)
        context16, context8 = self.context_path(self.backbone(images))  # (N, 128, H/16, W/16), (N, 128, H/8, W/8)
        fused = self.fusion(detail, context8)  # (N, 256, H/8, W/8)
        aux: dict[str, Tensor] = {}
        if self.training:
            features = {"context16": context16, "context8": context8}
            aux = {name: head(features[name]) for name, head in self.aux_heads.items()}
        return SegmentationOutput(self.classifier(fused), aux)  # (N, num_classes, H/8, W/8)


def head_widths(trunk_channels: int, width: int, variant: Variant) -> tuple[int, int]:
    """Channels inside the main and the auxiliary heads.

    In the authors' code they go by the trunk, told apart here by the channels of its last map (Xception39 256,
    ResNet-18 512, ResNet-101 2048); in others' by the paths' width.
    """
    if variant.heads == "by_width":
        return 2 * width, width // 2
    main = 64 if trunk_channels <= 512 else 256
    return main, 128 if trunk_channels <= 256 or variant.heads == "speed" else 256


class ContextPath(nn.Module):
    """What follows the trunk: global context at its tail, and two refined stages brought to stride 8 (figure 2a).

    An incomplete U-shape: only the last two stages take part.

    Args:
        channels: of c3, c4, c5.
        width: of all that follows; 128 in the paper.
        interpolation: ``nearest``, or ``None`` for bilinear.
        align_corners: of the bilinear resize.

    Shape:
        c3, c4, c5 -> (N, width, H/16, W/16), (N, width, H/8, W/8)
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        *,
        interpolation: Literal["nearest"] | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.interpolation, self.align_corners = interpolation, align_corners
        self.global_context = ConvBNReLU(channels[-1], width)
        self.arm32 = AttentionRefinement(channels[-1], width)
        self.refine32 = ConvBNReLU(width, width, 3)
        self.arm16 = AttentionRefinement(channels[-2], width)
        self.refine16 = ConvBNReLU(width, width, 3)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        c3, c4, c5 = features
        context = self.global_context(F.adaptive_avg_pool2d(c5, 1))  # (N, width, 1, 1)
        context16 = self.refine32(self.resize_as(self.arm32(c5) + context, c4))  # (N, width, H/16, W/16)
        context8 = self.refine16(self.resize_as(self.arm16(c4) + context16, c3))  # (N, width, H/8, W/8)
        return context16, context8

    def resize_as(self, maps: Tensor, partner: Tensor) -> Tensor:
        if self.interpolation == "nearest":
            return F.interpolate(maps, size=(partner.shape[-2], partner.shape[-1]), mode="nearest")
        return resize_as(maps, partner, align_corners=self.align_corners)


class AttentionRefinement(nn.Module):
    """Attention refinement module: each channel times a weight from its global average (figure 2b).

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, out_channels, 3)
        self.attention = ConvBN(out_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        reduced: Tensor = self.conv(features)  # (N, out_channels, H, W)
        weights: Tensor = self.attention(F.adaptive_avg_pool2d(reduced, 1)).sigmoid()  # (N, out_channels, 1, 1)
        return reduced * weights


class FeatureFusion(nn.Module):
    """Feature fusion module: both paths concatenated, and its channels weighted once more and added (figure 2c).

    Args:
        channels: of both paths together.
        attention: ``two_convs`` without normalisation, as in the authors' code; others have one with it.

    Shape:
        two maps of channels / 2 -> (N, channels, H, W)
    """

    def __init__(self, channels: int, *, attention: Literal["two_convs", "conv_bn_relu", "conv_bn"]) -> None:
        super().__init__()
        self.conv = ConvBNReLU(channels, channels)
        self.attention: nn.Sequential
        if attention == "two_convs":
            self.attention = nn.Sequential(
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1, bias=False),
            )
        else:
            self.attention = (ConvBN if attention == "conv_bn" else ConvBNReLU)(channels, channels)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        fused: Tensor = self.conv(torch.cat([detail, context], dim=1))  # (N, channels, H/8, W/8)
        weights: Tensor = self.attention(F.adaptive_avg_pool2d(fused, 1)).sigmoid()  # (N, channels, 1, 1)
        return fused + fused * weights


@register_model
def bisenet(
    num_classes: int,
    *,
    backbone: str = "xception39",
    align_corners: bool = False,
    variant: Literal["paper", "speed", "mmseg", "coincheung"] = "paper",
) -> BiSeNet:
    """BiSeNet (Yu et al., ECCV 2018).

    Args:
        num_classes: channels of the logits.
        backbone: the paper's ``xception39``, ``resnet18`` or ``resnet101s``, or any timm name that gives maps of
            strides 8, 16 and 32.
        align_corners: of all resizes; the authors' weights need True.
        variant: ``paper``; ``speed``, the authors' faster trained version; or the departures of the weights that
            mmsegmentation or CoinCheung published.
    """
    trunk = create_backbone(backbone, levels=(3, 4, 5))
    return BiSeNet(num_classes, trunk, align_corners=align_corners, variant=VARIANTS[variant])
