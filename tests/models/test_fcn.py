"""FCN: its two published forms and their options."""

import pytest
import torch
from torch import nn

from segwright.errors import ConfigError
from segwright.models import EncoderDecoder, create_model
from segwright.models.fcn import FCNDecoder, fcn
from tests.support.fill import fill, images


def small(num_classes: int = 5, **options: object) -> EncoderDecoder:
    model = create_model("fcn", num_classes=num_classes, backbone="resnet18", **options)
    fill(model)
    assert isinstance(model, EncoderDecoder)
    return model


def dilations(module: nn.Module) -> list[int]:
    return [part.dilation[0] for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1)]


@pytest.mark.parametrize(
    ("variant", "backbone", "count"),
    [
        ("torchvision", "resnet50", 35_322_218),  # torchvision's documented count with 21 classes
        ("mmseg", "resnet50c", 49_499_274),
        ("mmseg", "resnet18c", 12_822_730),
    ],
)
def test_sizes(variant: str, backbone: str, count: int) -> None:
    with torch.device("meta"):
        model = create_model("fcn", num_classes=21, variant=variant, backbone=backbone)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(("variant", "aux_weight"), [("torchvision", 0.5), ("mmseg", 0.4)])
def test_weight_of_the_auxiliary_loss(variant: str, aux_weight: float) -> None:
    assert small(variant=variant).aux_weights == {"aux": aux_weight}


def test_head_dilation_is_that_of_both_heads_and_not_of_the_fusion() -> None:
    """Mmsegmentation's FCN-D6."""
    model = small(variant="mmseg", output_stride=16, head_dilation=6)
    assert isinstance(model.decoder, FCNDecoder)
    assert dilations(model.decoder.convs) == [6, 6]
    assert dilations(model.decoder.fusion) == [1]
    assert dilations(model.aux_head) == [6]
    plain = small(variant="mmseg", output_stride=16)
    assert dilations(plain.decoder) == [1, 1, 1]
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        pictures = images(0, 97, 129)
        assert not torch.equal(plain.eval()(pictures).logits, model.eval()(pictures).logits)


@torch.no_grad()
def test_the_fusion_sees_the_trunk_s_map_before_the_convolutions() -> None:
    decoder = FCNDecoder(8, 3, width=4, convs=2, concat_input=True).eval()
    features, seen = torch.rand(1, 8, 5, 6), []
    decoder.fusion.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    decoder([features])
    assert torch.equal(seen[0], torch.cat([features, decoder.convs(features)], dim=1))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@torch.no_grad()
def test_logits_have_the_output_stride(output_stride: int) -> None:
    logits = small(output_stride=output_stride).eval().strided_logits(images(0, 65, 97)).logits
    assert logits.shape == (1, 5, -(-65 // output_stride), -(-97 // output_stride))


@pytest.mark.parametrize("variant", ["torchvision", "mmseg"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 97)])
def test_one_picture_of_any_size_trains_every_parameter(variant: str, size: tuple[int, int]) -> None:
    model = small(1, variant=variant, head_dilation=6).train()
    output = model(images(0, *size))
    assert output.logits.shape == (1, 1, *size)
    (output.logits.sum() + output.aux["aux"].sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_alignment_of_corners_is_the_final_resize_s_only() -> None:
    model, aligned = fcn(2, backbone="resnet18").eval(), fcn(2, backbone="resnet18", align_corners=True).eval()
    aligned.load_state_dict(model.state_dict())
    pictures = images(0, 33, 65)
    with torch.no_grad():
        assert torch.equal(model.strided_logits(pictures).logits, aligned.strided_logits(pictures).logits)
        assert not torch.equal(model(pictures).logits, aligned(pictures).logits)


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(ConfigError, match="variant of model 'fcn' must be one of torchvision, mmseg"):
        create_model("fcn", num_classes=3, variant="paper")
