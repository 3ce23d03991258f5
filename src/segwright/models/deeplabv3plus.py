"""DeepLabv3+: Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation.

Paper: Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018, https://arxiv.org/abs/1802.02611
Layers: section 3 and figure 2; on a ResNet as the paper's, on timm's xception65 without the multi-grid of its last
unit. The published variants of others are named options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from segwright.backbones import Dilation, OutputStride, create_backbone
from segwright.layers import ConvBNReLU, resize_as
from segwright.layers.aspp import ASPP, AtrousSeparableConv
from segwright.models.deeplabv3 import rates_at
from segwright.models.encoder_decoder import Decoder, EncoderDecoder, fcn_aux_head, register_decoder
from segwright.models.segmentation_model import register_model
from segwright.types import SegmentationOutput


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the paper's."""

    dilation: Dilation = "plain"
    multi_grid: tuple[int, ...] | None = (1, 2, 4)  # as in DeepLabv3; where the trunk is a ResNet
    rates: tuple[int, ...] = ()  # at every output stride; none for the paper's
    width_share: int = 0  # width as a share of c5's channels instead of 256
    low_level_share: float = 0.0  # channels of the reduced c2 as a share of c2's instead of 48
    merge_kernel: int = 1
    refine: bool = False  # another 3x3 convolution after merging
    fusion_convs: int = 2
    depthwise_norm: bool = True
    merge_dropout: float = 0.0
    dropout: float = 0.0
    has_aux: bool = False
    output_stride: OutputStride = 16  # unless another is asked for


VARIANTS = {
    "paper": Variant(),
    "mmseg": Variant(
        "mmseg", None, width_share=4, low_level_share=3 / 16, merge_kernel=3, dropout=0.1, has_aux=True, output_stride=8
    ),
    "smp": Variant("plain", None, (12, 24, 36), refine=True, fusion_convs=1, depthwise_norm=False, merge_dropout=0.5),
}


class DeepLabV3PlusDecoder(Decoder):
    """Atrous spatial pyramid pooling, brought to the resolution of c2 and fused with it (figure 2).

    Args:
        channels: of c2 and of the last map; what lies between is not looked at.
        num_classes: channels of the logits.
        output_stride: of the last map; the rates follow from it.
        separable: atrous separable convolutions (section 3.1) in place of dense 3x3 ones.
        image_pooling: whether there is that branch.
        align_corners: of the resize to c2.
        variant: which departures from the paper to make.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c2
    """

    level = 0

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        output_stride: int,
        *,
        separable: bool = True,
        image_pooling: bool = True,
        align_corners: bool = False,
        variant: Variant = VARIANTS["paper"],
    ) -> None:
        super().__init__()

        def conv(in_channels: int) -> nn.Module:
            if separable:
                return AtrousSeparableConv(in_channels, width, depthwise_norm=variant.depthwise_norm)
            return ConvBNReLU(in_channels, width, 3)

        self.align_corners = align_corners
        width = channels[-1] // variant.width_share if variant.width_share else 256
        low_level = round(channels[0] * variant.low_level_share) if variant.low_level_share else 48
        self.aspp = ASPP(
            channels[-1],
            width,
            rates=variant.rates or rates_at(output_stride),
            image_pooling=image_pooling,
            separable=separable,
            depthwise_norm=variant.depthwise_norm,
            merge_kernel=variant.merge_kernel,
            dropout=variant.merge_dropout,
        )
        self.refine = conv(width) if variant.refine else nn.Identity()
        self.low_level = ConvBNReLU(channels[0], low_level)
        self.fusion = nn.Sequential(conv(width + low_level), *(conv(width) for _ in range(variant.fusion_convs - 1)))
        self.dropout = nn.Dropout2d(variant.dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        encoded = self.refine(self.aspp(features[-1]))  # (N, 256, H/16, W/16)
        low_level = self.low_level(features[0])  # (N, 48, H/4, W/4)
        encoded = resize_as(encoded, low_level, align_corners=self.align_corners)
        fused = self.fusion(torch.cat([encoded, low_level], dim=1))  # (N, 256, H/4, W/4)
        return SegmentationOutput(self.classifier(self.dropout(fused)), {})  # (N, num_classes, H/4, W/4)


@register_decoder
def deeplabv3plus_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> DeepLabV3PlusDecoder:
    """DeepLabv3+'s decoder on any trunk and at any output stride."""
    return DeepLabV3PlusDecoder(channels, num_classes, output_stride)


@register_model
def deeplabv3plus(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    output_stride: OutputStride | None = None,
    separable: bool = True,
    image_pooling: bool = True,
    multi_grid: Sequence[int] | None = None,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg", "smp"] = "paper",
) -> EncoderDecoder:
    """DeepLabv3+ (Chen et al., ECCV 2018).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's are ResNets and Xceptions, such as xception65.
        output_stride: of the last map; ``None`` for the 16 at which the paper trains, and for 8 in variant ``mmseg``.
            The paper evaluates the same weights at 16 or 8.
        separable: atrous separable convolutions in pooling and decoder; False for dense ones, four times as many
            parameters there.
        image_pooling: whether the pooling has its image-level branch; for Cityscapes the paper leaves it out.
        multi_grid: unit rates of the last stage of a ResNet; ``None`` for the paper's 1, 2, 4, and for ones in the
            variants.
        align_corners: of both resizes; some published weights need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation or segmentation-models-pytorch
            published.

    Raises:
        ConfigError: a trunk that cannot have these options.
    """
    departures = VARIANTS[variant]
    stride = departures.output_stride if output_stride is None else output_stride
    trunk = create_backbone(
        backbone,
        output_stride=stride,
        dilation=departures.dilation,
        multi_grid=multi_grid,
        default_multi_grid=departures.multi_grid,
    )
    decoder = DeepLabV3PlusDecoder(
        trunk.channels,
        num_classes,
        stride,
        separable=separable,
        image_pooling=image_pooling,
        align_corners=align_corners,
        variant=departures,
    )
    return EncoderDecoder(
        trunk,
        decoder,
        num_classes=num_classes,
        aux_head=fcn_aux_head(trunk, num_classes) if departures.has_aux else None,
        align_corners=align_corners,
    )
