"""EncNet: Context Encoding for Semantic Segmentation.

Paper: Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal, CVPR 2018, https://arxiv.org/abs/1803.08904
Layers: section 3 and the authors' PyTorch code; where the two disagree, the code that made the published numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segwright.backbones import Dilation, OutputStride, create_backbone
from segwright.layers import BatchNorm2d, ConvBNReLU, resize_as
from segwright.models.encoder_decoder import Decoder, EncoderDecoder, fcn_aux_head, register_decoder
from segwright.models.segmentation_model import register_model
from segwright.types import SegmentationOutput


class EncNetDecoder(Decoder):
    """Context encoding on the last map, and a classifier (figure 2).

    Args:
        channels: of the maps, fine to coarse; only the last three are read.
        num_classes: channels of the logits.
        width: channels after the first convolution; 512 in the paper.
        codewords: of the encoding layer; 32 in the paper.
        kernel_size: of the first convolution; 1 after a joint pyramid upsampling.
        lateral: whether c3 and c4 join the last map before the encoding.
        dropout: probability of dropping a channel before the classifier.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5; aux ``presence`` (N, num_classes): which classes the picture has
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 512,
        codewords: int = 32,
        kernel_size: int = 3,
        lateral: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv5 = ConvBNReLU(channels[-1], width, kernel_size)
        self.laterals = LateralFusion(channels[-3:-1], width) if lateral else None
        self.context = ContextEncoding(width, codewords)
        self.presence = nn.Linear(width, num_classes)  # the semantic encoding loss, section 3.2
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)
        self.aux_weights = {"presence": 0.2}  # alpha, section 4.1
        self.aux_losses = {"presence": "semantic_encoding"}

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        reduced = self.conv5(features[-1])  # (N, width, H/8, W/8)
        if self.laterals is not None:
            reduced = self.laterals(reduced, features[-3:-1])
        weighted, encoded = self.context(reduced)  # (N, width, H/8, W/8), (N, width)
        logits = self.classifier(self.dropout(weighted))  # (N, num_classes, H/8, W/8)
        return SegmentationOutput(logits, {"presence": self.presence(encoded)} if self.training else {})


class LateralFusion(nn.Module):
    """c3 and c4 beside the last map, fused by a 3x3 convolution (an option of the authors' code).

    Shape:
        (N, width, H/8, W/8) and maps of any stride -> (N, width, H/8, W/8)
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(ConvBNReLU(side, width) for side in channels)
        self.fusion = ConvBNReLU((len(channels) + 1) * width, width, 3)

    def forward(self, reduced: Tensor, others: Sequence[Tensor]) -> Tensor:
        maps = [project(features) for project, features in zip(self.projections, others, strict=True)]
        fused: Tensor = self.fusion(torch.cat([reduced, *(resize_as(lateral, reduced) for lateral in maps)], dim=1))
        return fused


class ContextEncoding(nn.Module):
    """Context encoding module: what the picture holds decides which channels count (section 3.1, figure 2).

    Args:
        channels: of the map.
        codewords: of the encoding layer.

    Shape:
        (N, channels, H, W) -> the map with its channels weighted, (N, channels, H, W); the encoding, (N, channels)
    """

    def __init__(self, channels: int, codewords: int = 32) -> None:
        super().__init__()
        self.projection = ConvBNReLU(channels, channels)
        self.encoding = Encoding(channels, codewords)
        self.norm = BatchNorm2d(codewords)  # each codeword is a channel: statistics over pictures and its D values
        self.gate = nn.Linear(channels, channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        residuals = self.encoding(self.projection(features))  # (N, K, channels)
        # Differs: the paper sums over codewords; the authors' code takes the mean.
        encoded = F.relu(self.norm(residuals[..., None])).mean(dim=1)[..., 0]  # (N, channels)
        gamma = torch.sigmoid(self.gate(encoded))[..., None, None]
        # Differs: the paper's result is features * gamma (equation 3); the authors' code keeps the map beside it.
        return F.relu(features + features * gamma), encoded


class Encoding(nn.Module):
    """Encoding layer: residuals to learned codewords, gathered with soft assignment (section 3.1, equation 1).

    With pixels x_i, codewords d_k and smoothing factors s_k: a_ik = softmax over k of s_k |x_i - d_k|^2 and
    e_k = sum over i of a_ik (x_i - d_k). The paper writes exp(-s_k |..|^2); here, as in the authors' code, the sign is
    part of the factor, which begins between -1 and 0: the nearer, the heavier. Both |x - d|^2 and e_k are multiplied
    out, so that nothing of the size pixels x codewords x channels exists. Computes in float32 or better, under
    autocast too: sums over all pixels of a picture are beyond half precision.

    Args:
        channels: D, of the map.
        codewords: K.

    Shape:
        (N, D, H, W) -> (N, K, D)
    """

    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(codewords * channels)
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.smoothing = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, features: Tensor) -> Tensor:
        kind = features.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return self._encode(features)
        return self._encode(features)

    def _encode(self, features: Tensor) -> Tensor:
        precision = torch.promote_types(features.dtype, torch.float32)
        pixels, codewords = features.flatten(2).to(precision), self.codewords.to(precision)  # (N, D, P), (K, D)
        weights = self.assignment(pixels, codewords)  # (N, K, P)
        gathered = weights @ pixels.mT - weights.sum(dim=2, keepdim=True) * codewords  # (N, K, D)
        return gathered.to(self.codewords.dtype)

    def assignment(self, pixels: Tensor, codewords: Tensor) -> Tensor:
        """How much each pixel belongs to each codeword, (N, K, P); the sum over codewords is 1."""
        squares = pixels.square().sum(dim=1, keepdim=True) + codewords.square().sum(dim=1)[:, None]  # (N, K, P)
        distances = squares - 2 * (codewords @ pixels)
        return torch.softmax(self.smoothing.to(pixels.dtype)[:, None] * distances, dim=1)


@register_decoder
def encnet_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> EncNetDecoder:
    """EncNet's decoder on any trunk and at any output stride."""
    return EncNetDecoder(channels, num_classes)


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the authors' code."""

    dilation: Dilation = "contracted"
    aux_weight: float = 0.2  # the authors' training scripts


VARIANTS = {"paper": Variant(), "mmseg": Variant(dilation="mmseg", aux_weight=0.4)}


@register_model
def encnet(
    num_classes: int,
    *,
    backbone: str = "resnet50s",
    output_stride: OutputStride = 8,
    lateral: bool = False,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg"] = "paper",
) -> EncoderDecoder:
    """EncNet (Zhang et al., CVPR 2018).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's is a ResNet with the deep stem of 64, 64, 128 channels.
        output_stride: of the last map; 8 in the paper.
        lateral: whether c3 and c4 join the last map before the encoding; an option of the authors' code.
        align_corners: of the final resize; the authors' weights, and those trained on sides of 8k + 1, need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation published.
    """
    departures = VARIANTS[variant]
    trunk = create_backbone(backbone, output_stride=output_stride, dilation=departures.dilation)
    return EncoderDecoder(
        trunk,
        EncNetDecoder(trunk.channels, num_classes, lateral=lateral),
        num_classes=num_classes,
        aux_head=fcn_aux_head(trunk, num_classes),
        aux_weight=departures.aux_weight,
        align_corners=align_corners,
    )
