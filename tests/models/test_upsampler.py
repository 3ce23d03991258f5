"""DUpsampling at the end of other systems, whose decoders then give codes."""

from typing import Any

import pytest
import torch
from torch import nn

from segwright.errors import ConfigError
from segwright.layers.dupsampling import DUpsample
from segwright.models import EncoderDecoder, create_model
from tests.support.fill import images

SYSTEMS: list[tuple[str, dict[str, Any], int]] = [
    ("fcn", {}, 8),
    ("fcn", {"output_stride": 32, "variant": "mmseg"}, 32),
    ("pspnet", {}, 8),
    ("deeplabv3", {}, 16),
    ("deeplabv3", {"head": "cascade"}, 16),
    ("danet", {}, 8),
    ("fastfcn", {}, 8),
    ("fastfcn", {"decoder": "pspnet"}, 8),
    ("encoder_decoder", {"decoder": "encnet", "neck": "jpu"}, 8),
    ("encoder_decoder", {"decoder": "deeplabv3plus", "output_stride": 16}, 4),
    ("encoder_decoder", {"decoder": "deeplabv3plus", "neck": "jpu"}, 4),
    ("encoder_decoder", {"decoder": "danet", "neck": "jpu"}, 8),
]
"""System, options, and the stride at which its decoder ends."""


def network(name: str, num_classes: int = 5, **options: Any) -> EncoderDecoder:
    options = {"backbone": "resnet18", "upsampler": "dupsampling", **options}
    model = create_model(name, num_classes=num_classes, **options)
    assert isinstance(model, EncoderDecoder)
    return model


def on_meta(name: str, num_classes: int = 5, **options: Any) -> EncoderDecoder:
    with torch.device("meta"):
        return network(name, num_classes, **options)


def upsampler_of(model: EncoderDecoder) -> DUpsample:
    assert isinstance(model.upsampler, DUpsample)
    return model.upsampler


def last_conv(model: EncoderDecoder) -> nn.Conv2d:
    last = model.decoder.classifier
    while not isinstance(last, nn.Conv2d):
        last = last[-1]
    return last


@pytest.mark.parametrize(("name", "options", "stride"), SYSTEMS)
def test_decoder_gives_codes_and_the_network_scores_and_trains(name: str, options: dict[str, Any], stride: int) -> None:
    model, codes = network(name, **options).train(), list[torch.Size]()
    upsampler_of(model).register_forward_hook(lambda _, inputs, output: codes.append(inputs[0].shape))
    output = model.strided_logits(images(0, 33, 97, batch=2))
    assert upsampler_of(model).ratio == stride
    assert codes == [(2, 64, -(-33 // stride), -(-97 // stride))]
    assert output.logits.shape == (2, 5, 33, 97)
    torch.stack([one.square().mean() for one in (output.logits, *output.aux.values())]).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "options", "stride"), SYSTEMS)
def test_auxiliary_predictions_are_still_of_classes(name: str, options: dict[str, Any], stride: int) -> None:
    model, bilinear = (on_meta(name, **{**options, "upsampler": way}).train() for way in ("dupsampling", "bilinear"))
    picture = torch.empty(2, 3, 33, 97, device="meta")
    aux, plain = (one.strided_logits(picture).aux for one in (model, bilinear))
    assert model.aux_weights == bilinear.aux_weights
    assert {key: one.shape for key, one in aux.items()} == {key: one.shape for key, one in plain.items()}


@pytest.mark.parametrize(("name", "options", "stride"), SYSTEMS)
def test_nothing_but_the_last_convolution_changes(name: str, options: dict[str, Any], stride: int) -> None:
    model, bilinear = (on_meta(name, **{**options, "upsampler": way}) for way in ("dupsampling", "bilinear"))
    ours, theirs = model.state_dict(), bilinear.state_dict()
    added = {key for key in ours if key not in theirs}
    assert added == {"upsampler.weight", "upsampler.log_temperature", "upsampler.fitted"}
    changed = {key for key, tensor in theirs.items() if tensor.shape != ours[key].shape}
    assert changed == {key for key in theirs if key.startswith("decoder.classifier") and theirs[key].shape[0] == 5}
    assert last_conv(model).out_channels == 64


@pytest.mark.parametrize(("name", "options", "stride"), SYSTEMS)
def test_codes_are_64_or_three_per_class_but_no_longer_than_a_patch(
    name: str, options: dict[str, Any], stride: int
) -> None:
    for num_classes, wanted in ((1, min(64, stride**2)), (2, min(64, 2 * stride**2)), (30, 90)):
        model = on_meta(name, num_classes, **options)
        other = on_meta(name, num_classes, code_channels=9, **options)
        assert upsampler_of(model).code_channels == last_conv(model).out_channels == wanted
        assert upsampler_of(other).code_channels == last_conv(other).out_channels == 9


def test_decoder_dupsampling_ends_in_dupsampling_by_itself() -> None:
    own, bilinear = (
        on_meta("encoder_decoder", decoder="dupsampling", output_stride=16, upsampler=way) for way in (None, "bilinear")
    )
    assert upsampler_of(own).code_channels == 64
    assert bilinear.upsampler is None
    assert bilinear(torch.empty(1, 3, 33, 97, device="meta")).logits.shape == (1, 5, 33, 97)
    assert bilinear.strided_logits(torch.empty(1, 3, 33, 97, device="meta")).logits.shape == (1, 5, 3, 7)


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_atto"])
@torch.no_grad()
def test_decoder_dupsampling_works_behind_a_neck(backbone: str) -> None:
    model = network("encoder_decoder", backbone=backbone, neck="jpu", decoder="dupsampling").eval()
    assert upsampler_of(model).ratio == 8
    assert model(images(0, 33, 97)).logits.shape == (1, 5, 33, 97)


@pytest.mark.parametrize("name", ["fcn", "pspnet", "deeplabv3", "danet", "fastfcn", "encoder_decoder"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code_channels": 64}, "code_channels is 64, and upsampler is bilinear; upsampler=dupsampling"),
        ({"code_channels": 0, "upsampler": "dupsampling"}, "code_channels is 0 for patches"),
        ({"code_channels": 5121, "upsampler": "dupsampling"}, "code_channels is 5121 for patches .* give 1 to"),
        ({"upsampler": "nearest"}, "upsampler.* 'nearest'.*pick one of bilinear, dupsampling"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(name, **{"upsampler": "bilinear", **options})
