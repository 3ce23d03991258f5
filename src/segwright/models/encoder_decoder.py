"""The composition: a backbone, perhaps a neck, and a decoder, for the papers whose news is one of the latter two.

Each paper's file registers its decoder or neck by name, so that any can be mixed with any backbone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from segwright.backbones import Backbone, OutputStride, create_backbone
from segwright.errors import ConfigError
from segwright.layers import FCNHead
from segwright.layers.dupsampling import DUpsample, default_code_channels
from segwright.models.segmentation_model import SegmentationModel, register_model
from segwright.registry import Registry
from segwright.types import SegmentationOutput


class Decoder(nn.Module, ABC):
    """What turns a pyramid of maps into logits.

    Attributes:
        aux_weights: the paper's loss weight of each extra prediction that the decoder gives while training.
        aux_losses: the loss of each extra prediction that is not the run's pixel loss.
        level: of the map, among those it reads, whose stride the logits have.
        classifier: the last convolution, or a sequence that ends in it.

    Shape:
        maps of the backbone or neck, fine to coarse -> logits at the paper's stride; ``aux`` filled while training
    """

    aux_weights: Mapping[str, float] = {}
    aux_losses: Mapping[str, str] = {}
    level: int = -1
    classifier: nn.Conv2d | nn.Sequential

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

    Attributes:
        upsampler: what brings the decoder's codes to the image's size, where it is not the bilinear resize.

    Shape:
        (N, 3, H, W) -> logits at the decoder's stride, or at stride 1 behind an upsampler; aux ``aux`` at the stride of
        c4, and the decoder's own.
    """

    upsampler: DUpsample | None

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
        self.upsampler = None
        self.aux_weights = {**({"aux": aux_weight} if aux_head is not None else {}), **decoder.aux_weights}
        self.aux_losses = decoder.aux_losses

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        features = self.backbone(images)  # c2, c3, c4, c5
        logits, aux = self.decoder(features if self.neck is None else self.neck(features))
        if self.upsampler is not None and not (self.training and self.upsampler.trains_on_codes):
            logits = self.upsampler(logits, (images.shape[-2], images.shape[-1]))  # (N, num_classes, H, W)
        if self.aux_head is not None and self.training:
            aux = {"aux": self.aux_head(features[-2]), **aux}
        return SegmentationOutput(logits, aux)

    def end_in_dupsampling(
        self,
        code_channels: int | None = None,
        *,
        temperature: bool = True,
        frozen: bool = False,
        trains_on_codes: bool = False,
    ) -> "EncoderDecoder":
        """Put DUpsampling in the place of the final resize; the decoder's last convolution then gives codes.

        Args:
            code_channels: length of a code; ``None`` for :func:`default_code_channels`.
            temperature, frozen, trains_on_codes: as :class:`DUpsample`.

        Returns:
            The same network.

        Raises:
            ConfigError: no code channel, or more than a patch has values.
        """
        strides = self.backbone.strides if self.neck is None else (*self.backbone.strides[:-1], self.neck.output_stride)
        ratio = strides[self.decoder.level]
        length = default_code_channels(self.num_classes, ratio) if code_channels is None else code_channels
        self.upsampler = DUpsample(
            length,
            self.num_classes,
            ratio,
            temperature=temperature,
            frozen=frozen,
            trains_on_codes=trains_on_codes,
        )
        self.decoder.classifier = with_outputs(self.decoder.classifier, length)
        if trains_on_codes:
            self.aux_losses = {**self.aux_losses, "main": "label_codes"}
        return self


Upsampler = Literal["bilinear", "dupsampling"]
"""How logits come to the image's size."""


def with_upsampler(network: EncoderDecoder, upsampler: Upsampler, code_channels: int | None) -> EncoderDecoder:
    """The network itself, or the same with DUpsampling at its end.

    Raises:
        ConfigError: code channels without DUpsampling, or as :meth:`EncoderDecoder.end_in_dupsampling`.
    """
    if upsampler == "dupsampling":
        return network.end_in_dupsampling(code_channels)
    if code_channels is not None:
        raise ConfigError(f"code_channels is {code_channels}, and upsampler is bilinear", fix="upsampler=dupsampling")
    return network


def with_outputs(classifier: nn.Module, channels: int) -> nn.Conv2d | nn.Sequential:
    """A fresh classifier with as many outputs in the place of the last convolution's."""
    if isinstance(classifier, nn.Sequential):
        *others, last = classifier
        return nn.Sequential(*others, with_outputs(last, channels))
    assert isinstance(classifier, nn.Conv2d)
    side = classifier.kernel_size[0]
    return nn.Conv2d(classifier.in_channels, channels, side, padding=side // 2)


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
    upsampler: Upsampler | None = None,
    code_channels: int | None = None,
) -> EncoderDecoder:
    """Any backbone, neck, decoder and upsampler, each by its name.

    Args:
        num_classes: channels of the logits.
        backbone: any timm name that gives maps of strides 4 to 32.
        neck: ``none``, or ``jpu``, which brings a stride-32 backbone to stride 8.
        decoder: ``fcn``, ``pspnet``, ``deeplabv3``, ``deeplabv3plus``, ``encnet``, ``danet``, ``dupsampling``.
        output_stride: of the maps that the decoder reads; a neck makes them from a backbone of output stride 32.
        aux: an auxiliary head on c4, with weight 0.4.
        upsampler: ``bilinear`` or ``dupsampling``; ``None`` for the decoder's own.
        code_channels: of DUpsampling; ``None`` for the paper's 64, or 3 per class where that is more.
    """
    builder, neck_builder = DECODERS[decoder], None if neck == "none" else NECKS[neck]
    trunk = create_backbone(backbone, output_stride=32 if neck_builder else output_stride)
    joint = neck_builder(trunk.channels) if neck_builder else None
    if joint is not None and joint.output_stride != output_stride:
        raise ConfigError(
            f"neck '{neck}' gives output_stride {joint.output_stride}, not {output_stride}",
            fix="leave output_stride out",
        )
    network = EncoderDecoder(
        trunk,
        builder(trunk.channels if joint is None else joint.channels, num_classes, output_stride=output_stride),
        num_classes=num_classes,
        neck=joint,
        aux_head=fcn_aux_head(trunk, num_classes) if aux else None,
    )
    own: Upsampler = "dupsampling" if decoder == "dupsampling" else "bilinear"
    return with_upsampler(network, upsampler or own, code_channels)
