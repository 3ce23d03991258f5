"""The composition: a backbone, perhaps a neck, and a decoder, for the papers whose news is one of the latter two.

Each paper's file registers its decoder or neck by name, so that any can be mixed with any backbone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segwright.backbones import Backbone, OutputStride, create_backbone
from segwright.errors import ConfigError
from segwright.layers import FCNHead
from segwright.models.segmentation_model import SegmentationModel, register_model
from segwright.registry import Registry
from segwright.types import SegmentationOutput


class Decoder(nn.Module, ABC):
    """What turns a pyramid of maps into logits.

    Attributes:
        aux_weights: the paper's loss weight of each extra prediction that the decoder gives while training.
        aux_losses: the loss of each extra prediction that is not the run's pixel loss.

    Shape:
        maps of the backbone or neck, fine to coarse -> logits at the paper's stride; ``aux`` filled while training
    """

    aux_weights: Mapping[str, float] = {}
    aux_losses: Mapping[str, str] = {}

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> SegmentationOutput: ...


class Neck(nn.Module, ABC):
    """What turns a pyramid of maps into a better one, of as many maps.

    Attributes:
        channels: of its maps, fine to coarse.
        output_stride: of the last one.

    Shape:
        c2, c3, c4, c5 -> as many maps with ``channels``, the last one at ``output_stride``
    """

    channels: tuple[int, ...]
    output_stride: int

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> list[Tensor]: ...


class EncoderDecoder(SegmentationModel):
    """Backbone, neck and decoder, with an auxiliary head on the backbone's last map but one.

    Args:
        backbone: trunk; always called so, that the optimizer can give the rest another rate.
        decoder: reads the neck's maps, or the backbone's.
        num_classes: channels of the logits.
        neck: from the backbone's maps to as many others.
        aux_head: reads the backbone's map ``c4``; in training only.
        aux_weight: loss weight of its logits.
        align_corners: of the final resize.

    Shape:
        (N, 3, H, W) -> logits at the decoder's stride; aux ``aux`` at the stride of c4, and the decoder's own.
    """

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        *,
        num_classes: int,
        neck: Neck | None = None,
        aux_head: nn.Module | None = None,
        aux_weight: float = 0.4,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.align_corners = num_classes, align_corners
        self.backbone, self.neck, self.decoder, self.aux_head = backbone, neck, decoder, aux_head
        self.aux_weights = {**({"aux": aux_weight} if aux_head is not None else {}), **decoder.aux_weights}
        self.aux_losses = decoder.aux_losses

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        features = self.backbone(images)  # c2, c3, c4, c5
        output: SegmentationOutput = self.decoder(features if self.neck is None else self.neck(features))
        if self.aux_head is None or not self.training:
            return output
        return SegmentationOutput(output.logits, {"aux": self.aux_head(features[-2]), **output.aux})


DECODERS: Registry[Decoder] = Registry("decoder", suffix="_decoder")
"""Builders ``(channels, num_classes, *, output_stride) -> Decoder`` with the paper's numbers."""
NECKS: Registry["Neck"] = Registry("neck", suffix="_neck")
"""Builders ``(channels) -> neck``; a neck has ``channels`` and ``output_stride`` of its own."""
register_decoder, register_neck = DECODERS.register, NECKS.register


def fcn_aux_head(backbone: Backbone, num_classes: int, *, dropout: float = 0.1) -> FCNHead:
    """The auxiliary head of PSPNet (section 5.2) and its followers: on c4, a quarter of its channels wide."""
    return FCNHead(backbone.channels[-2], num_classes, width=max(1, backbone.channels[-2] // 4), dropout=dropout)


@register_model
def encoder_decoder(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    neck: str = "none",
    decoder: str = "pspnet",
    output_stride: OutputStride = 8,
    aux: bool = True,
) -> EncoderDecoder:
    """Any backbone, neck and decoder, each by its name.

    Args:
        num_classes: channels of the logits.
        backbone: any timm name that gives maps of strides 4 to 32.
        neck: ``none``, or ``jpu``, which brings a stride-32 backbone to stride 8.
        decoder: ``fcn``, ``pspnet``, ``deeplabv3``, ``deeplabv3plus``, ``encnet``, ``danet``.
        output_stride: of the maps that the decoder reads; a neck makes them from a backbone of output stride 32.
        aux: an auxiliary head on c4, with weight 0.4.
    """
    builder, neck_builder = DECODERS[decoder], None if neck == "none" else NECKS[neck]
    trunk = create_backbone(backbone, output_stride=32 if neck_builder else output_stride)
    joint = neck_builder(trunk.channels) if neck_builder else None
    if joint is not None and joint.output_stride != output_stride:
        raise ConfigError(
            f"neck '{neck}' gives output_stride {joint.output_stride}, not {output_stride}",
            fix="leave output_stride out",
        )
    return EncoderDecoder(
        trunk,
        builder(trunk.channels if joint is None else joint.channels, num_classes, output_stride=output_stride),
        num_classes=num_classes,
        neck=joint,
        aux_head=fcn_aux_head(trunk, num_classes) if aux else None,
    )
