"""FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic Segmentation.

Paper: Wu, Zhang, Huang, Liang, Yu, 2019, https://arxiv.org/abs/1903.11816
Layers: section 3 and the authors' PyTorch code; no known differences. The published variants of others are named
options.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from segwright.backbones import Dilation, create_backbone
from segwright.layers import ConvBN, ConvBNReLU, resize_as
from segwright.models.deeplabv3 import VARIANTS as ASPP_VARIANTS
from segwright.models.deeplabv3 import ASPPDecoder
from segwright.models.deeplabv3 import Variant as ASPPVariant
from segwright.models.encnet import EncNetDecoder
from segwright.models.encoder_decoder import (
    Decoder,
    EncoderDecoder,
    Neck,
    Upsampler,
    fcn_aux_head,
    register_neck,
    with_upsampler,
)
from segwright.models.fcn import FCNDecoder
from segwright.models.pspnet import PyramidPoolingDecoder
from segwright.models.segmentation_model import register_model


class JPU(Neck):
    """Joint pyramid upsampling (section 3.3, figure 4).

    Gives a strided trunk the stride-8 map that dilation would have given, at a fraction of the computation.

    Why it can (section 3.2): a convolution of dilation 2 splits a map by the parity of its positions, convolves the
    parts, and interleaves them; one of stride 2 convolves the map and drops the odd positions. So the dilated trunk
    computes y_d from y_m = {y_m^0, y_m^1} by the layers that make the strided one's y_s from y_m^0 alone. Joint
    upsampling finds the h that minimises |y_s - h(y_m^0)|, and y_d is approximated by h(y_m). Here h is learned: the
    branch without dilation relates y_m^0 to the rest of y_m, those with dilations 2, 4 and 8 map it to y_s.

    Args:
        channels: of c2, c3, c4, c5; the last three, at strides 8, 16 and 32, are joined.
        width: channels of each map before they are joined, and of each branch; 512 in the paper.
        dilations: of the branches; 1, 2, 4, 8 in the paper.
        align_corners: of the resize to stride 8; the authors' weights need True.

    Shape:
        c2, c3, c4, c5 -> c2, c3, c4 as they are, and (N, 4 * width, H/8, W/8)
    """

    output_stride = 8

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int = 512,
        dilations: Sequence[int] = (1, 2, 4, 8),
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.channels = (*channels[:-1], len(dilations) * width)
        self.projections = nn.ModuleList(ConvBNReLU(side, width, 3) for side in channels[-3:])
        joined = 3 * width
        self.branches = nn.ModuleList(
            nn.Sequential(ConvBN(joined, joined, 3, dilation=dilation, groups=joined), ConvBNReLU(joined, width))
            for dilation in dilations
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        maps = [project(level) for project, level in zip(self.projections, features[-3:], strict=True)]
        aligned = [resize_as(level, maps[0], align_corners=self.align_corners) for level in maps]
        joined = torch.cat(aligned, dim=1)  # (N, 3 * width, H/8, W/8)
        joint = torch.cat([branch(joined) for branch in self.branches], dim=1)  # (N, 4 * width, H/8, W/8)
        return [*features[:-1], joint]


@register_neck
def jpu_neck(channels: Sequence[int]) -> JPU:
    """The paper's width and dilations on any trunk of output stride 32."""
    return JPU(channels)


_AUTHORS_ASPP = replace(ASPP_VARIANTS["torchvision"], dropout=0.1)


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the paper's."""

    dilation: Dilation = "contracted"  # none at output stride 32
    encoding_kernel: int = 1  # of the convolution before the encoding
    encoding_aux_weight: float = 0.2  # the authors' training scripts; 0.4 with the other decoders
    aspp: ASPPVariant = _AUTHORS_ASPP


VARIANTS = {
    "paper": Variant(),
    "mmseg": Variant("mmseg_kept", encoding_kernel=3, encoding_aux_weight=0.4, aspp=ASPP_VARIANTS["mmseg"]),
}


@register_model
def fastfcn(
    num_classes: int,
    *,
    backbone: str = "resnet50s",
    decoder: Literal["encnet", "deeplabv3", "pspnet", "fcn"] = "encnet",
    upsampler: Upsampler = "bilinear",
    code_channels: int | None = None,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg"] = "paper",
) -> EncoderDecoder:
    """FastFCN (Wu et al., 2019): a strided trunk, joint pyramid upsampling, and another paper's decoder.

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's is a ResNet with the deep stem of 64, 64, 128 channels.
        decoder: ``encnet`` made the paper's best numbers; ``deeplabv3`` and ``pspnet`` are compared with it.
        upsampler: of the logits to the image's size; ``dupsampling`` for a learned map made from labels.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
        align_corners: of all resizes; the authors' weights need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation published: its trunk keeps the
            dilations of a dilated one although it is strided.
    """
    departures = VARIANTS[variant]
    trunk = create_backbone(backbone, output_stride=32, dilation=departures.dilation)
    neck = JPU(trunk.channels, align_corners=align_corners)
    network = EncoderDecoder(
        trunk,
        _decoder(decoder, neck.channels, num_classes, departures, align_corners),
        num_classes=num_classes,
        neck=neck,
        aux_head=fcn_aux_head(trunk, num_classes),
        aux_weight=departures.encoding_aux_weight if decoder == "encnet" else 0.4,
        align_corners=align_corners,
    )
    return with_upsampler(network, upsampler, code_channels)


def _decoder(name: str, channels: Sequence[int], num_classes: int, departures: Variant, align_corners: bool) -> Decoder:
    """The named paper's decoder as the authors' code has it on a JPU."""
    joint = channels[-1]
    if name == "encnet":
        return EncNetDecoder(channels, num_classes, kernel_size=departures.encoding_kernel)
    if name == "pspnet":
        return PyramidPoolingDecoder(joint, num_classes, align_corners=align_corners)
    if name == "fcn":
        return FCNDecoder(joint, num_classes, width=joint // 4)
    return ASPPDecoder(joint, num_classes, JPU.output_stride, departures.aspp)
