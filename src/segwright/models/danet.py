"""DANet: Dual Attention Network for Scene Segmentation.

Paper: Fu, Liu, Tian, Li, Bao, Fang, Lu, CVPR 2019, https://arxiv.org/abs/1809.02983
Layers: section 3 and the authors' code, whose channel attention differs from the paper's formula and is the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from segwright.backbones import Dilation, OutputStride, create_backbone
from segwright.layers import ConvBNReLU
from segwright.layers.attention import at_least_float32, attend, without_autocast
from segwright.models.encoder_decoder import (
    Decoder,
    EncoderDecoder,
    Upsampler,
    fcn_aux_head,
    register_decoder,
    with_upsampler,
)
from segwright.models.segmentation_model import register_model
from segwright.types import SegmentationOutput

ChannelWeights = Literal["official", "plain"]


class DualAttentionDecoder(Decoder):
    """Position and channel attention side by side, and a classifier of their sum (figure 2).

    Args:
        in_channels: of the last map; each branch has a quarter of it, 512 in the paper.
        num_classes: channels of the logits.
        channel_attention: as in :class:`ChannelAttention`.
        dropout: probability of dropping a channel before a classifier.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5; aux ``position`` and ``channel``, of one branch each, there too
    """

    aux_weights: Mapping[str, float] = {"position": 1.0, "channel": 1.0}

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        channel_attention: ChannelWeights = "official",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        width = max(1, in_channels // 4)
        self.position = nn.Sequential(
            ConvBNReLU(in_channels, width, 3), PositionAttention(width), ConvBNReLU(width, width, 3)
        )
        self.channel = nn.Sequential(
            ConvBNReLU(in_channels, width, 3), ChannelAttention(channel_attention), ConvBNReLU(width, width, 3)
        )
        heads = (nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, kernel_size=1)) for _ in range(3))
        self.classifier, self.position_classifier, self.channel_classifier = heads

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        position = self.position(features[-1])  # (N, 512, H/8, W/8)
        channel = self.channel(features[-1])  # (N, 512, H/8, W/8)
        logits = self.classifier(position + channel)  # (N, num_classes, H/8, W/8)
        if not self.training:
            return SegmentationOutput(logits, {})
        aux = {"position": self.position_classifier(position), "channel": self.channel_classifier(channel)}
        return SegmentationOutput(logits, aux)


class PositionAttention(nn.Module):
    """Position attention module (section 3.2): to each position a mean of all, weighted by likeness to it.

    Queries and keys have an eighth of the channels; their products are not divided by a root of that number. The mean
    enters with the learned factor ``gamma``, 0 at first, when the module is the identity and its convolutions get no
    gradient.

    Shape:
        (N, channels, H, W) -> the same; memory grows with H * W, not with its square: :func:`attend`
    """

    def __init__(self, channels: int, *, reduction: int = 8) -> None:
        super().__init__()
        width = max(1, channels // reduction)
        self.query = nn.Conv2d(channels, width, kernel_size=1)
        self.key = nn.Conv2d(channels, width, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        queries = self.query(features).flatten(2).transpose(1, 2)  # (N, P, C/8)
        keys = self.key(features).flatten(2).transpose(1, 2)  # (N, P, C/8)
        values = self.value(features).flatten(2).transpose(1, 2)  # (N, P, C)
        context = attend(queries, keys, values).transpose(1, 2).reshape(features.shape)  # (N, C, H, W)
        return self.gamma * context + features


class ChannelAttention(nn.Module):
    """Channel attention module (section 3.3): to each channel a mean of all, weighted by the products of their maps.

    It has no convolutions; the mean enters with the learned factor ``beta``, 0 at first. The products, sums over all
    positions that float16 could not hold, are float32.

    Args:
        weights: ``official``, more weight for channels of a smaller product, as in the authors' code; ``plain``, more
            for those of a larger one, as the paper writes it.

    Shape:
        (N, C, H, W) -> the same
    """

    def __init__(self, weights: ChannelWeights = "official") -> None:
        super().__init__()
        # Differs: the paper takes the softmax of the energies; the authors' code subtracts them from each row's largest
        # first, and the published weights, mmsegmentation's too, were trained that way.
        self.sign = -1 if weights == "official" else 1
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        with without_autocast(features.device):
            context = (self.weights(features).to(features.dtype) @ features.flatten(2)).view_as(features)
        return self.beta * context + features

    def weights(self, features: Tensor) -> Tensor:
        """(N, C, C): row j holds the share of each channel in channel j's mean."""
        maps = at_least_float32(features.flatten(2))  # (N, C, P)
        energies = maps @ maps.transpose(1, 2)  # (N, C, C)
        # A row's constant does not change its softmax, so that the largest minus the energy is the energy's negative.
        return (self.sign * energies).softmax(dim=-1)


@register_decoder
def danet_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> DualAttentionDecoder:
    """DANet's decoder on any trunk and at any output stride."""
    return DualAttentionDecoder(channels[-1], num_classes)


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the authors'."""

    dilation: Dilation = "contracted"
    has_multi_grid: bool = True
    has_aux: bool = False


VARIANTS = {"paper": Variant(), "mmseg": Variant(dilation="mmseg", has_multi_grid=False, has_aux=True)}


@register_model
def danet(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    output_stride: OutputStride = 8,
    multi_grid: bool = True,
    channel_attention: ChannelWeights = "official",
    upsampler: Upsampler = "bilinear",
    code_channels: int | None = None,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg"] = "paper",
) -> EncoderDecoder:
    """DANet (Fu et al., CVPR 2019).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's are ResNets with a 7x7 stem.
        output_stride: of the last map; 8 in the paper.
        multi_grid: unit rates 1, 2, 4 in the last stage of a ResNet (table 2); variant ``mmseg`` has none.
        channel_attention: ``official``, the authors' code, in which channels that are less alike weigh more, or
            ``plain``, the paper's formula.
        upsampler: of the logits to the image's size; ``dupsampling`` for a learned map made from labels.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
        align_corners: of the final resize; the authors' weights need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation published: an auxiliary head on c4.
    """
    departures = VARIANTS[variant]
    default_grid = (1, 2, 4) if multi_grid and departures.has_multi_grid else None
    trunk = create_backbone(
        backbone, output_stride=output_stride, dilation=departures.dilation, default_multi_grid=default_grid
    )
    network = EncoderDecoder(
        trunk,
        DualAttentionDecoder(trunk.channels[-1], num_classes, channel_attention=channel_attention),
        num_classes=num_classes,
        aux_head=fcn_aux_head(trunk, num_classes) if departures.has_aux else None,
        align_corners=align_corners,
    )
    return with_upsampler(network, upsampler, code_channels)
