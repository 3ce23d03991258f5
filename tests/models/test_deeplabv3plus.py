"""DeepLabv3+ against its paper: sizes, the decoder, and its relation to DeepLabv3."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segwright.errors import ConfigError
from segwright.layers.aspp import AtrousSeparableConv
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import EncoderDecoder, at_output_stride, create_model
from segwright.models.deeplabv3plus import DeepLabV3PlusDecoder
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs


def network(num_classes: int = 5, **options: Any) -> EncoderDecoder:
    model = create_model("deeplabv3plus", num_classes=num_classes, **{"backbone": "resnet18", **options})
    assert isinstance(model, EncoderDecoder)
    fill(model)
    return model.eval()


def on_meta(num_classes: int = 21, **options: Any) -> EncoderDecoder:
    with torch.device("meta"):
        model = create_model("deeplabv3plus", num_classes=num_classes, **options)
    assert isinstance(model, EncoderDecoder)
    return model.eval()


def decoder_of(model: EncoderDecoder) -> DeepLabV3PlusDecoder:
    assert isinstance(model.decoder, DeepLabV3PlusDecoder)
    return model.decoder


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def gmacs(model: EncoderDecoder) -> float:
    return count_macs(model, 513, 513) / 1e9


@pytest.mark.parametrize(
    ("backbone", "separable", "count", "at_16", "at_8"),
    [
        ("resnet50", False, 40_352_181, 72.19, 187.90),
        ("resnet50", True, 26_696_133, 39.55, 115.97),
        ("resnet101", False, 59_344_309, 92.82, 267.92),
        ("resnet101", True, 45_688_261, 60.18, 195.99),
    ],
)
def test_size_at_21_classes(backbone: str, separable: bool, count: int, at_16: float, at_8: float) -> None:
    for output_stride, wanted in ((16, at_16), (8, at_8)):
        model = on_meta(backbone=backbone, separable=separable, output_stride=output_stride)
        assert parameters(model) == count
        assert round(gmacs(model), 2) == wanted


def test_size_on_xception_65() -> None:
    for output_stride, wanted in ((16, 54.04), (8, 176.85)):
        model = on_meta(backbone="xception65", output_stride=output_stride)
        assert parameters(model) == 41_055_413
        assert model.backbone.channels == (256, 728, 1024, 2048)
        assert round(gmacs(model), 2) == wanted


def test_separable_convolutions_save_a_third_to_a_half() -> None:
    for output_stride, lowest, highest in ((16, 0.54, 0.66), (8, 0.6, 0.75)):
        separable, dense = (
            gmacs(on_meta(separable=is_separable, output_stride=output_stride)) for is_separable in (True, False)
        )
        assert lowest < separable / dense < highest


def test_multiplications_of_the_decoder_alone() -> None:
    """2.763 billion on 129x129, once the encoder's output is there."""
    with torch.device("meta"):
        decoder = DeepLabV3PlusDecoder((256, 512, 1024, 2048), 21, 16).eval()
        low_level, encoded = torch.empty(1, 256, 129, 129), torch.empty(1, 256, 129, 129)
        with FlopCounterMode(display=False) as counter:
            fused = decoder.fusion(torch.cat([encoded, decoder.low_level(low_level)], dim=1))
            decoder.classifier(fused)
    assert round(counter.get_total_flops() / 2e9, 3) == 2.763


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_logits_have_stride_4_at_every_output_stride(output_stride: int) -> None:
    model, picture = on_meta(output_stride=output_stride), torch.empty(1, 3, 513, 513, device="meta")
    assert model.strided_logits(picture).logits.shape == (1, 21, 129, 129)
    assert model(picture).logits.shape == (1, 21, 513, 513)


def test_low_level_map_is_c2_reduced_to_48_channels() -> None:
    decoder = decoder_of(on_meta(backbone="resnet50"))
    assert (decoder.low_level[0].in_channels, decoder.low_level[0].out_channels) == (256, 48)
    assert decoder.low_level[0].kernel_size == (1, 1)
    assert [part[0][0].in_channels for part in decoder.fusion] == [304, 256]
    assert decoder.classifier.in_channels == 256


@pytest.mark.parametrize(("variant", "output_stride"), [("paper", 16), ("mmseg", 8), ("smp", 16)])
def test_output_stride_is_the_one_of_the_training_unless_another_is_given(variant: str, output_stride: int) -> None:
    assert on_meta(variant=variant).backbone.strides[-1] == output_stride
    assert on_meta(variant=variant, output_stride=32).backbone.strides[-1] == 32


@pytest.mark.parametrize(("variant", "channels"), [("mmseg", 12), ("smp", 48)])
def test_low_level_channels_of_the_variants(variant: str, channels: int) -> None:
    assert decoder_of(on_meta(backbone="resnet18", variant=variant)).low_level[0].out_channels == channels


def test_separable_is_pooling_and_fusion_alike() -> None:
    decoder = decoder_of(on_meta())
    assert [type(branch) is AtrousSeparableConv for branch in decoder.aspp.branches] == [False, True, True, True]
    assert all(type(part) is AtrousSeparableConv for part in decoder.fusion)
    depthwise = [branch[0][0] for branch in decoder.aspp.branches[1:]]
    assert [(conv.groups, conv.dilation[0]) for conv in depthwise] == [(2048, 6), (2048, 12), (2048, 18)]
    dense = on_meta(separable=False)
    assert not any(isinstance(part, AtrousSeparableConv) for part in dense.modules())


def test_the_paper_s_network_has_neither_auxiliary_head_nor_dropout() -> None:
    model = on_meta()
    assert model.aux_head is None
    assert model.aux_weights == {}
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout | nn.Dropout2d) and part.p > 0] == []


@torch.no_grad()
def test_without_its_decoder_it_is_deeplabv3() -> None:
    """The encoder is DeepLabv3 up to its classifier, under the same names."""
    plus, plain = network(separable=False), create_model("deeplabv3", num_classes=5, backbone="resnet18").eval()
    encoder = {key: tensor for key, tensor in plus.state_dict().items() if key in plain.state_dict()}
    left_out = plain.load_state_dict(
        {key: tensor for key, tensor in encoder.items() if "classifier" not in key}, strict=False
    )
    assert left_out.missing_keys == ["decoder.classifier.weight", "decoder.classifier.bias"]
    picture = images(0, 64, 96)
    encoded = [model.decoder.aspp(model.backbone(picture)[-1]) for model in (plus, plain)]
    assert torch.equal(*encoded)
    decoder = decoder_of(plus)
    logits = plain.strided_logits(picture).logits
    assert torch.equal(logits, plain.decoder.classifier(encoded[0]))
    assert plus.strided_logits(picture).logits.shape[-1] == 4 * logits.shape[-1]
    assert parameters(plus) - parameters(plain) == parameters(decoder.low_level) + parameters(decoder.fusion)


def test_image_pooling_can_be_left_out_as_for_cityscapes() -> None:
    with_pooling, without = on_meta(), on_meta(image_pooling=False)
    assert decoder_of(without).aspp.image_pooling is None
    assert parameters(with_pooling) - parameters(without) == 2048 * 256 + 512 + 256 * 256


@torch.no_grad()
def test_the_same_weights_work_at_both_output_strides() -> None:
    trained = network()
    evaluated, picture = at_output_stride(trained, 8), images(0, 33, 97)
    assert [branch[0][0].dilation[0] for branch in decoder_of(evaluated).aspp.branches[1:]] == [12, 24, 36]
    assert evaluated(picture).logits.shape == trained(picture).logits.shape
    assert distance(evaluated(picture).logits, trained(picture).logits) > 1e-3
    assert distance(at_output_stride(evaluated, 16)(picture).logits, trained(picture).logits) == 0


@torch.no_grad()
def test_the_low_level_map_sharpens_what_the_encoder_blurs() -> None:
    """A change of c2 at one position moves the logits there and within two 3x3 convolutions only."""
    decoder = decoder_of(network())
    features = [torch.randn(1, channels, side, side) for channels, side in ((64, 32), (128, 16), (256, 8), (512, 8))]
    before = decoder(features).logits
    features[0] = features[0].clone()
    features[0][..., 10, 20] += 5
    moved = ((decoder(features).logits - before).abs().sum((0, 1)) > 1e-6).nonzero()
    assert moved.min(0).values.tolist() == [8, 18]
    assert moved.max(0).values.tolist() == [12, 22]


@torch.no_grad()
def test_any_backbone_takes_the_decoder() -> None:
    model = network(backbone="mobilenetv3_small_050")
    assert model(images(0, 40, 56)).logits.shape == (1, 5, 40, 56)
    with pytest.raises(ConfigError, match="is no ResNet"):
        on_meta(backbone="mobilenetv3_small_050", multi_grid=(1, 2, 4))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 97)])
@pytest.mark.parametrize(
    "options",
    [
        {"separable": False, "image_pooling": False},
        {"variant": "mmseg", "output_stride": 8},
        {"variant": "smp", "align_corners": True},
    ],
    ids=lambda options: options.get("variant", "dense"),
)
def test_every_variant_works_and_trains_at_any_size(options: dict[str, Any], size: tuple[int, int]) -> None:
    model = network(**options).train()
    output = model(images(0, *size))
    SegmentationLoss(cross_entropy, model.aux_weights)(output, torch.ones(1, *size))["loss"].backward()
    assert set(output.aux) == set(model.aux_weights)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.eval()(images(0, *size)).logits.shape == (1, 5, *size)
