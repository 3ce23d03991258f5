"""DUpsampling: Decoders Matter for Semantic Segmentation: Data-Dependent Decoding Enables Flexible Feature Aggregation.

Paper: Tian, He, Shen, Yan, CVPR 2019, https://arxiv.org/abs/1903.02120
Layers: section 3 and figure 2. The paper prints no widths of the decoder; with those of DeepLabv3+, two separable
convolutions after each low-level map, and codes of 64 (ResNet-50) or 128 (Xception-65) channels, the counts of tables
2 and 3 come out to every printed digit, but for the decoder that ran out of memory.
Differs: where the image's sides are no multiples of the output stride, the scores beyond the edge are cut off; the
paper does not say what it does at 513x513.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segwright.backbones import create_backbone
from segwright.backbones.taps import is_xception, tap_modules
from segwright.errors import ConfigError
from segwright.layers import ConvBNReLU, resize_as
from segwright.layers.aspp import ASPP, AtrousSeparableConv
from segwright.layers.dupsampling import default_code_channels
from segwright.models.deeplabv3 import rates_at
from segwright.models.encoder_decoder import Decoder, EncoderDecoder, register_decoder
from segwright.models.segmentation_model import register_model
from segwright.types import SegmentationOutput

DEEP_STEMS = {f"resnet{layers}": f"resnet{layers}s" for layers in (50, 101, 152)}
"""timm's names of the ResNets whose stem is three 3x3 convolutions of 64, 64 and 128 channels."""


class DUpsamplingDecoder(Decoder):
    """Atrous spatial pyramid pooling on the last map, low-level maps brought down to it, and a projection (figure 2).

    Args:
        channels: of the maps it is given.
        num_classes: channels of the projection, until DUpsampling asks for codes.
        output_stride: of the last map; the rates follow from it.
        low_level: places of the maps to fuse among those given, in this order; all but the last by default.
        separable: atrous separable convolutions in the pooling in place of dense 3x3 ones, as in DeepLabv3+.

    Shape:
        maps of any stride -> codes at the stride of the last one
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        output_stride: int,
        *,
        low_level: Sequence[int] | None = None,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.low_level = tuple(range(len(channels) - 1) if low_level is None else low_level)
        self.aspp = ASPP(channels[-1], 256, rates=rates_at(output_stride), separable=separable)
        self.fusions = nn.ModuleList(LowLevelFusion(channels[place]) for place in self.low_level)
        self.classifier = nn.Conv2d(256, num_classes, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        fused = self.aspp(features[-1])  # (N, 256, H/16, W/16), and so until the end
        for fusion, place in zip(self.fusions, self.low_level, strict=True):
            fused = fusion(fused, features[place])
        return SegmentationOutput(self.classifier(fused), {})  # (N, code_channels, H/16, W/16)


class LowLevelFusion(nn.Module):
    """f(concat(downsample(F_i), F_last)) (section 3.3): the low-level map comes to the coarse one, not the reverse.

    Args:
        in_channels: of the low-level map.

    Shape:
        (N, 256, h, w), (N, in_channels, any height, any width) -> (N, 256, h, w)
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(in_channels, 48)
        self.fuse = nn.Sequential(AtrousSeparableConv(256 + 48, 256), AtrousSeparableConv(256, 256))

    def forward(self, last: Tensor, low_level: Tensor) -> Tensor:
        reduced = self.reduce(resize_as(low_level, last))  # (N, 48, h, w)
        fused: Tensor = self.fuse(torch.cat([last, reduced], dim=1))
        return fused


def best_low_level(backbone: str) -> tuple[str, ...]:
    """The maps with which the paper's tables 2 and 3 end, on any depth of their trunks; c2 and c4 on other trunks."""
    with torch.device("meta"):
        network = create_backbone(backbone, levels=(5,)).network
    taps = list(tap_modules(network))
    if is_xception(network):
        return (taps[-1],)
    third = [tap for tap in taps if tap.startswith("b3")]
    return ("conv1_3" if "conv1_3" in taps else "c1", third[-1]) if third else ("c2", "c4")


@register_decoder
def dupsampling_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> DUpsamplingDecoder:
    """The decoder on any trunk or neck of four maps; c2 and c4 are its low-level ones."""
    return DUpsamplingDecoder(channels, num_classes, output_stride, low_level=(0, 2))


@register_model
def dupsampling(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    output_stride: Literal[16, 32] = 16,
    low_level: Sequence[str] | None = None,
    code_channels: int | None = None,
    deep_stem: bool = True,
    temperature: bool = True,
    freeze: bool = False,
    train_on: Literal["labels", "codes"] = "labels",
) -> EncoderDecoder:
    """DUpsampling (Tian et al., CVPR 2019).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's are resnet50, xception65 and xception71.
        output_stride: of the last map, and so the rows and columns of a label patch.
        low_level: maps of the trunk to fuse, one after the other: ``c1`` to ``c5``, and of ResNets and Xceptions any
            convolution by the paper's name, such as ``b1u2c3`` or ``efb2u1c2``; none for (). ``None`` for the paper's
            best: conv1_3 and b3u6c3 (the last of block 3) on a ResNet and mfb1u16c3 (the last of the middle flow) on
            an Xception; c2 and c4 on others.
        code_channels: channels of the map before DUpsampling; ``None`` for the paper's 64, on an Xception 128, or 3 per
            class where that is more.
        deep_stem: ResNets of 50 layers and more begin with three 3x3 convolutions, as the paper's, in place of one of
            7x7; a name that says its own stem, such as resnet50c, is taken as it is.
        temperature: whether the temperature of the softmax is learned; else it is 1.
        freeze: whether the upsampling's weights stay as they were made from labels; else they are trained on.
        train_on: ``labels``, or ``codes`` for the regression of compressed labels (section 3.1).

    Raises:
        ConfigError: a trunk that cannot have these options, or too many code channels.
    """
    name = DEEP_STEMS.get(backbone, backbone) if deep_stem else backbone
    if isinstance(low_level, str):
        raise ConfigError(f"low_level is '{low_level}'", fix=f"give a list of names, such as ['{low_level}']")
    taps = best_low_level(name) if low_level is None else low_level
    trunk = create_backbone(name, output_stride=output_stride, dilation="plain", levels=(5,), taps=taps)
    decoder = DUpsamplingDecoder(trunk.channels, num_classes, output_stride, separable=trunk.is_xception)
    network = EncoderDecoder(trunk, decoder, num_classes=num_classes)
    paper = 128 if trunk.is_xception else 64
    return network.end_in_dupsampling(
        default_code_channels(num_classes, output_stride, paper=paper) if code_channels is None else code_channels,
        temperature=temperature,
        frozen=freeze,
        trains_on_codes=train_on == "codes",
    )
