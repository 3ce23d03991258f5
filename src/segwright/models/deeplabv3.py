"""DeepLabv3: Rethinking Atrous Convolution for Semantic Image Segmentation.

Paper: Chen, Papandreou, Schroff, Adam, 2017, https://arxiv.org/abs/1706.05587
Layers: section 3, figures 3 and 5; no known differences. The published variants of others are named options.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from segwright.backbones import Backbone, Dilation, OutputStride, create_backbone
from segwright.backbones.dilation import block_rates
from segwright.errors import ConfigError
from segwright.layers import ConvBNReLU, FCNHead
from segwright.layers.aspp import ASPP
from segwright.models.encoder_decoder import (
    Decoder,
    EncoderDecoder,
    Upsampler,
    fcn_aux_head,
    register_decoder,
    with_upsampler,
)
from segwright.models.segmentation_model import SegmentationModel, build_model, register_model
from segwright.types import SegmentationOutput


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the paper's."""

    dilation: Dilation = "plain"
    multi_grid: tuple[int, ...] | None = (1, 2, 4)  # section 4.2; where the trunk is a ResNet
    rates: tuple[int, ...] = ()  # at every output stride; none for the paper's
    width_share: int = 0  # width as a share of the last map's channels instead of 256
    merge_kernel: int = 1
    refine: bool = False  # another 3x3 convolution after merging
    merge_dropout: float = 0.0
    dropout: float = 0.0
    aux_weight: float = 0.0  # 0 for no auxiliary head
    aux_block: str = ""  # the trunk's block that the auxiliary head reads, instead of c4
    output_stride: OutputStride = 8  # unless another is asked for


TORCHVISION = Variant("contracted", None, (12, 24, 36), refine=True, merge_dropout=0.5, aux_weight=0.5)

VARIANTS = {
    "paper": Variant(output_stride=16),
    "mmseg": Variant("mmseg", None, width_share=4, merge_kernel=3, dropout=0.1, aux_weight=0.4),
    "smp": Variant("plain", None, (12, 24, 36), refine=True, merge_dropout=0.5),
    "torchvision": TORCHVISION,
    "mobilenet": replace(TORCHVISION, dilation="plain", aux_block="blocks.2.0", output_stride=16),  # torchvision's too
}


class ASPPDecoder(Decoder):
    """Atrous spatial pyramid pooling on the last map, and a classifier (figure 5).

    Args:
        in_channels: of the last map.
        num_classes: channels of the logits.
        output_stride: of the last map; the rates follow from it.
        variant: which departures from the paper to make.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5
    """

    def __init__(
        self, in_channels: int, num_classes: int, output_stride: int, variant: Variant = VARIANTS["paper"]
    ) -> None:
        super().__init__()
        width = in_channels // variant.width_share if variant.width_share else 256
        self.aspp = ASPP(
            in_channels,
            width,
            rates=variant.rates or rates_at(output_stride),
            merge_kernel=variant.merge_kernel,
            dropout=variant.merge_dropout,
        )
        self.refine = ConvBNReLU(width, width, 3) if variant.refine else nn.Identity()
        self.dropout = nn.Dropout2d(variant.dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        merged = self.refine(self.aspp(features[-1]))  # (N, 256, H/16, W/16)
        return SegmentationOutput(self.classifier(self.dropout(merged)), {})  # (N, num_classes, H/16, W/16)


def rates_at(output_stride: int) -> tuple[int, ...]:
    """6, 12, 18 at output stride 16; doubled at 8 (section 4.3), halved at 32."""
    return tuple(rate * 16 // output_stride for rate in (6, 12, 18))


class CascadeDecoder(Decoder):
    """Copies of a ResNet's last block ("block4") in a row, each with twice the rate, and a classifier (figure 3b).

    Args:
        trunk: the ResNet; its last residual unit is copied, not shared.
        num_classes: channels of the logits.
        blocks: how many; 3 in the paper ("block5" to "block7").
        multi_grid: unit rates of the units of each block, by which its rate is multiplied.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5
    """

    def __init__(self, trunk: Backbone, num_classes: int, *, blocks: int, multi_grid: Sequence[int]) -> None:
        super().__init__()
        unit = list(trunk.network.get_submodule("layer4").children())[-1]
        self.blocks = nn.Sequential()
        for number in range(5, 5 + blocks):
            rate = max(1, 2 ** (number + 1) // trunk.output_stride)  # block5 would have stride 64 without it
            rates = block_rates(3, rate, "plain", multi_grid)
            self.blocks.append(nn.Sequential(*(fresh_copy(unit, unit_rate) for unit_rate in rates)))
        self.classifier = nn.Conv2d(trunk.channels[-1], num_classes, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        return SegmentationOutput(self.classifier(self.blocks(features[-1])), {})  # (N, num_classes, H/16, W/16)


def fresh_copy(unit: nn.Module, rate: int) -> nn.Module:
    """A residual unit like ``unit``, with fresh weights and this rate in its spatial convolutions."""
    fresh = copy.deepcopy(unit)
    for part in fresh.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")  # as timm's ResNets begin
            if max(part.kernel_size) > 1:
                part.dilation = (rate, rate)
                part.padding = tuple(rate * (side - 1) // 2 for side in part.kernel_size)
    return fresh


class BlockAuxHead(FCNHead):
    """An auxiliary head on what a block inside a stage gives, which is none of the trunk's maps.

    Args:
        block: the block; while training, its last output is kept until this head reads it.
        in_channels: of the block's output; the head is a quarter as wide.
        num_classes: channels of the logits.
    """

    def __init__(self, block: nn.Module, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, width=in_channels // 4)
        self.seen: list[Tensor] = []
        block.register_forward_hook(self.keep)  # a method, so that a copy of the network keeps in its own head

    def keep(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self.training:
            self.seen[:] = [output]

    def forward(self, input: Tensor) -> Tensor:
        logits: Tensor = super().forward(self.seen.pop())  # type: ignore[no-untyped-call]
        return logits


def aux_head_of(variant: Variant, trunk: Backbone, num_classes: int) -> FCNHead | None:
    """The auxiliary head of the variants; the paper has none."""
    if variant.aux_block:
        return BlockAuxHead(trunk.network.get_submodule(variant.aux_block), trunk.channels[1], num_classes)
    return fcn_aux_head(trunk, num_classes) if variant.aux_weight else None


@register_decoder
def deeplabv3_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> ASPPDecoder:
    """DeepLabv3's decoder on any trunk and at any output stride."""
    return ASPPDecoder(channels[-1], num_classes, output_stride)


@register_model
def deeplabv3(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    output_stride: OutputStride | None = None,
    multi_grid: Sequence[int] | None = None,
    head: Literal["aspp", "cascade"] = "aspp",
    cascade_blocks: int = 3,
    upsampler: Upsampler = "bilinear",
    code_channels: int | None = None,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg", "smp", "torchvision"] = "paper",
) -> EncoderDecoder:
    """DeepLabv3 (Chen et al., 2017).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's are ResNets.
        output_stride: of the last map; ``None`` for the 16 at which the paper trains and torchvision's MobileNetV3
            works, and for 8 in the other variants. The paper evaluates the same weights at 8.
        multi_grid: unit rates of the last stage of a ResNet; ``None`` for the paper's, 1, 2, 4 with ASPP and 1, 2, 1
            in the cascade, and for ones in the variants.
        head: ``aspp``, or ``cascade``, the paper's other network, which goes on with blocks of ever higher rates.
        cascade_blocks: how many blocks the cascade adds.
        upsampler: of the logits to the image's size; ``dupsampling`` for a learned map made from labels.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
        align_corners: of the final resize; some published weights need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation, segmentation-models-pytorch or
            torchvision published, the latter on a ResNet or on ``mobilenetv3_large_torchvision``.

    Raises:
        ConfigError: a trunk that cannot have these options, or a cascade that there is not.
    """
    is_mobilenet = variant == "torchvision" and backbone == "mobilenetv3_large_torchvision"
    departures, is_cascade, grid = VARIANTS["mobilenet" if is_mobilenet else variant], head == "cascade", (1, 2, 1)
    default = grid if is_cascade else departures.multi_grid
    stride = departures.output_stride if output_stride is None else output_stride
    trunk = create_backbone(
        backbone,
        output_stride=stride,
        dilation=departures.dilation,
        multi_grid=multi_grid,
        default_multi_grid=default,
    )
    if is_cascade and (cascade_blocks < 0 or variant != "paper" or not trunk.is_resnet):
        raise ConfigError(
            f"no cascade of {cascade_blocks} blocks on backbone '{backbone}' in variant '{variant}'",
            fix="the cascade takes 0 blocks or more, on a ResNet, in variant 'paper'",
        )
    network = EncoderDecoder(
        trunk,
        CascadeDecoder(trunk, num_classes, blocks=cascade_blocks, multi_grid=multi_grid or grid)
        if is_cascade
        else ASPPDecoder(trunk.channels[-1], num_classes, stride, departures),
        num_classes=num_classes,
        aux_head=aux_head_of(departures, trunk, num_classes),
        aux_weight=departures.aux_weight,
        align_corners=align_corners,
    )
    return with_upsampler(network, upsampler, code_channels)


def at_output_stride(model: SegmentationModel, output_stride: OutputStride) -> SegmentationModel:
    """A copy with the same weights at another output stride: the paper trains at 16 and evaluates at 8.

    Raises:
        ConfigError: the network has no such option, its trunk not this stride, or it ends in DUpsampling.
    """
    if getattr(model, "upsampler", None) is not None:
        raise ConfigError("label codes are those of one output stride", fix="train a network of the other one")
    options, like = {**model.info.options, "output_stride": output_stride}, next(model.parameters())
    other = build_model(model.info.name, model.num_classes, options)
    other.load_state_dict(model.state_dict())
    other.info = replace(model.info, options=options)
    return other.to(like.device, like.dtype).train(model.training)
