"""FCN: Fully Convolutional Networks for Semantic Segmentation.

Paper: Long, Shelhamer, Darrell, CVPR 2015, https://arxiv.org/abs/1411.4038
Layers: the dilated form on a ResNet that later papers compare with, as torchvision publishes it.
Differs: the paper's own network is a VGG-16 whose scores at strides 32, 16 and 8 are added up (section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from segwright.backbones import Dilation, OutputStride, create_backbone
from segwright.layers import ConvBNReLU, FCNHead
from segwright.models.encoder_decoder import Decoder, EncoderDecoder, Upsampler, register_decoder, with_upsampler
from segwright.models.segmentation_model import register_model
from segwright.types import SegmentationOutput


class FCNDecoder(Decoder):
    """3x3 convolutions on the last map, and a classifier.

    Args:
        in_channels: of the last map.
        num_classes: channels of the logits.
        width: channels of the convolutions.
        convs: how many there are.
        dilation: of each.
        concat_input: whether a further 3x3 convolution sees the map again beside their result.
        dropout: probability of dropping a channel before the classifier.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int,
        convs: int = 1,
        dilation: int = 1,
        concat_input: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sides = [in_channels, *[width] * convs]
        self.convs = nn.Sequential(
            *(ConvBNReLU(before, after, 3, dilation=dilation) for before, after in pairwise(sides))
        )
        self.fusion = ConvBNReLU(in_channels + width, width, 3) if concat_input else None
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        changed = self.convs(features[-1])  # (N, width, H/8, W/8)
        if self.fusion is not None:
            changed = self.fusion(torch.cat([features[-1], changed], dim=1))
        return SegmentationOutput(self.classifier(self.dropout(changed)), {})  # (N, num_classes, H/8, W/8)


@register_decoder
def fcn_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> FCNDecoder:
    """One convolution of a quarter of the trunk's channels, on any trunk and at any output stride."""
    return FCNDecoder(channels[-1], num_classes, width=max(1, channels[-1] // 4))


@dataclass(frozen=True)
class Variant:
    """The forms that were published; both are a quarter of the trunk's channels wide."""

    dilation: Dilation = "contracted"
    convs: int = 1
    concat_input: bool = False
    aux_weight: float = 0.5  # torchvision, references/segmentation/train.py


VARIANTS = {
    "torchvision": Variant(),
    "mmseg": Variant(dilation="mmseg", convs=2, concat_input=True, aux_weight=0.4),
}


@register_model
def fcn(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    output_stride: OutputStride = 8,
    head_dilation: int = 1,
    upsampler: Upsampler = "bilinear",
    code_channels: int | None = None,
    align_corners: bool = False,
    variant: Literal["torchvision", "mmseg"] = "torchvision",
) -> EncoderDecoder:
    """FCN (Long et al., CVPR 2015) on a dilated trunk.

    Args:
        num_classes: channels of the logits.
        backbone: any timm name.
        output_stride: of the last map.
        head_dilation: of the 3x3 convolutions after the trunk, auxiliary ones included; 6 in mmsegmentation's FCN-D6.
        upsampler: of the logits to the image's size; ``dupsampling`` for a learned map made from labels.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
        align_corners: of the final resize; weights trained on sides of 8k + 1 need True.
        variant: ``torchvision`` has one convolution before the classifier, ``mmseg`` two, and then one that sees the
            trunk's map again.
    """
    form = VARIANTS[variant]
    trunk = create_backbone(backbone, output_stride=output_stride, dilation=form.dilation)
    narrow, wide = (max(1, channels // 4) for channels in trunk.channels[-2:])
    decoder = FCNDecoder(
        trunk.channels[-1],
        num_classes,
        width=wide,
        convs=form.convs,
        dilation=head_dilation,
        concat_input=form.concat_input,
    )
    network = EncoderDecoder(
        trunk,
        decoder,
        num_classes=num_classes,
        aux_head=FCNHead(trunk.channels[-2], num_classes, width=narrow, dilation=head_dilation),
        aux_weight=form.aux_weight,
        align_corners=align_corners,
    )
    return with_upsampler(network, upsampler, code_channels)
