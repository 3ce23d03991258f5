"""Any backbone, neck and decoder by name; the contract tests ask a selection of them everything."""

from typing import Any

import pytest
import torch

from segwright.errors import ConfigError
from segwright.models import DECODERS, NECKS, Decoder, Neck, create_model
from tests.support.fill import fill, images

TRUNKS = ["resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_lite0"]
GRID = [(trunk, neck, decoder) for trunk in TRUNKS for neck in ("none", *NECKS) for decoder in DECODERS]


@pytest.mark.parametrize(("backbone", "neck", "decoder"), GRID)
def test_every_mixture_trains_and_predicts(backbone: str, neck: str, decoder: str) -> None:
    model = create_model("encoder_decoder", num_classes=3, backbone=backbone, neck=neck, decoder=decoder)
    fill(model)
    output = model.train()(images(0, 33, 97, batch=2))
    assert output.logits.shape == (2, 3, 33, 97)
    assert set(output.aux) == set(model.aux_weights)
    (output.logits.sum() + sum(logits.sum() for logits in output.aux.values())).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        assert model.eval()(images(0, 1, 7)).logits.shape == (1, 3, 1, 7)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("decoder", ["fcn", "pspnet", "danet", "encnet", "deeplabv3"])
@torch.no_grad()
def test_logits_have_the_trunk_s_output_stride(decoder: str, stride: int) -> None:
    options: dict[str, Any] = {"backbone": "resnet18", "decoder": decoder, "output_stride": stride}
    model = create_model("encoder_decoder", num_classes=3, **options).eval()
    assert model.strided_logits(images(0, 64, 96)).logits.shape[-2:] == (64 // stride, 96 // stride)


@torch.no_grad()
def test_neck_gives_a_strided_trunk_the_resolution_of_a_dilated_one() -> None:
    model = create_model("encoder_decoder", num_classes=3, backbone="resnet18", neck="jpu", decoder="fcn").eval()
    assert model.backbone.strides == (4, 8, 16, 32)
    assert model.strided_logits(images(0, 64, 96)).logits.shape[-2:] == (8, 12)


def test_auxiliary_head_can_be_left_out() -> None:
    model = create_model("encoder_decoder", num_classes=3, backbone="resnet18", decoder="pspnet", aux=False)
    assert model.aux_weights == {}
    assert not any(key.startswith("aux_head") for key in model.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "pspnet2"}, "unknown decoder 'pspnet2'; did you mean 'pspnet'"),
        ({"neck": "jpv"}, "unknown neck 'jpv'; did you mean 'jpu'"),
        ({"backbone": "resnet5"}, "unknown backbone 'resnet5'; did you mean"),
        ({"neck": "jpu", "output_stride": 16}, "neck 'jpu' gives output_stride 8, not 16"),
        ({"output_stride": 4}, "output_stride of model 'encoder_decoder' must be one of 8, 16, 32, got '4'"),
        ({"backbone": "densenet121"}, "cannot have output_stride 8"),
    ],
)
def test_what_cannot_be_mixed_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("encoder_decoder", num_classes=3, **options)


@pytest.mark.parametrize("kind", [Decoder, Neck])
def test_part_without_a_forward_cannot_be_made(kind: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        type("Unfinished", (kind,), {})()
