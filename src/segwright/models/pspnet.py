"""PSPNet: Pyramid Scene Parsing Network.

Paper: Zhao, Shi, Qi, Wang, Jia, CVPR 2017, https://arxiv.org/abs/1612.01105
Layers: section 3 and the authors' PyTorch code; no known differences. The published variants of others are named
options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from segwright.backbones import Dilation, OutputStride, create_backbone
from segwright.layers import PyramidPooling
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


class PyramidPoolingDecoder(Decoder):
    """Pyramid pooling on the last map, and a classifier (figure 3).

    Args:
        in_channels: of the last map; each of the four bins has a quarter of it.
        num_classes: channels of the logits.
        width: channels after the fusion; 512 in the paper.
        dropout: probability of dropping a channel before the classifier.
        fusion_kernel, classifier_kernel: sides of the last two convolutions.
        first_bin_norm: whether the bin of one cell has a normalisation, as the others have.
        align_corners: of the bins' resize.

    Shape:
        c2, c3, c4, c5 -> logits at the stride of c5
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 512,
        dropout: float = 0.1,
        fusion_kernel: int = 3,
        classifier_kernel: int = 1,
        first_bin_norm: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(
            in_channels,
            width,
            fusion_kernel=fusion_kernel,
            first_bin_norm=first_bin_norm,
            align_corners=align_corners,
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, classifier_kernel, padding=classifier_kernel // 2)

    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput:
        fused = self.dropout(self.pooling(features[-1]))  # (N, width, H/8, W/8)
        return SegmentationOutput(self.classifier(fused), {})  # (N, num_classes, H/8, W/8)


@register_decoder
def pspnet_decoder(channels: Sequence[int], num_classes: int, *, output_stride: int) -> PyramidPoolingDecoder:
    """PSPNet's decoder on any trunk and at any output stride."""
    return PyramidPoolingDecoder(channels[-1], num_classes)


@dataclass(frozen=True)
class Variant:
    """Where published re-implementations depart from the paper; the defaults are the paper's."""

    dilation: Dilation = "plain"
    kept_dilation: Dilation = "plain"  # at output stride 32
    levels: tuple[int, ...] = (2, 3, 4, 5)
    width_share: int = 0  # width as a share of the last map's channels instead of 512
    dropout: float = 0.1
    fusion_kernel: int = 3
    classifier_kernel: int = 1
    first_bin_norm: bool = True
    has_aux: bool = True


VARIANTS = {
    "paper": Variant(),
    "mmseg": Variant(dilation="mmseg", kept_dilation="mmseg_kept", width_share=4),
    "smp": Variant(
        levels=(2, 3),
        dropout=0.2,
        fusion_kernel=1,
        classifier_kernel=3,
        first_bin_norm=False,
        has_aux=False,
    ),
}


@register_model
def pspnet(
    num_classes: int,
    *,
    backbone: str = "resnet50s",
    output_stride: OutputStride = 8,
    upsampler: Upsampler = "bilinear",
    code_channels: int | None = None,
    align_corners: bool = False,
    variant: Literal["paper", "mmseg", "smp"] = "paper",
) -> EncoderDecoder:
    """PSPNet (Zhao et al., CVPR 2017).

    Args:
        num_classes: channels of the logits.
        backbone: any timm name; the paper's is a ResNet with the deep stem of 64, 64, 128 channels.
        output_stride: of the last map; 8 in the paper.
        upsampler: of the logits to the image's size; ``dupsampling`` for a learned map made from labels.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
        align_corners: of all resizes; the authors' weights, trained on sides of 8k + 1, need True.
        variant: ``paper``, or the departures of the weights that mmsegmentation or segmentation-models-pytorch
            published; the latter stops at c3, which has stride 8 by itself.
    """
    departures = VARIANTS[variant]
    dilation = departures.kept_dilation if output_stride == 32 else departures.dilation
    trunk = create_backbone(backbone, output_stride=output_stride, dilation=dilation, levels=departures.levels)
    decoder = PyramidPoolingDecoder(
        trunk.channels[-1],
        num_classes,
        width=trunk.channels[-1] // departures.width_share if departures.width_share else 512,
        dropout=departures.dropout,
        fusion_kernel=departures.fusion_kernel,
        classifier_kernel=departures.classifier_kernel,
        first_bin_norm=departures.first_bin_norm,
        align_corners=align_corners,
    )
    network = EncoderDecoder(
        trunk,
        decoder,
        num_classes=num_classes,
        aux_head=fcn_aux_head(trunk, num_classes) if departures.has_aux else None,  # 0.4: section 5.2
        align_corners=align_corners,
    )
    return with_upsampler(network, upsampler, code_channels)
