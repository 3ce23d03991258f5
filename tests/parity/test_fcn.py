"""FCN against torchvision and mmsegmentation.

Neither is the paper's VGG-16 with skips: both have one head on a dilated ResNet. Mmsegmentation's has two convolutions
and a third that sees the trunk's map again.
"""

import pytest

from segwright import zoo
from segwright.models import create_model
from tests.support.parity import count_macs, file_of, full_distance, golden_distance, on_meta
from tests.support.reference import golden

IDS = ["torchvision/fcn_resnet50", "mmseg/fcn_r50-d8"]


def test_logits_equal_mmsegmentation() -> None:
    assert golden_distance("mmseg/fcn_r50-d8", {"aux": "aux0_native"}) < 1e-4


def test_logits_equal_torchvision() -> None:
    assert golden_distance("torchvision/fcn_resnet50", {"aux": "aux0_native"}) < 1e-4


@pytest.mark.parametrize("id", IDS)
def test_logits_at_the_image_s_size_equal_the_reference(id: str) -> None:
    assert full_distance(id) < 1e-4


@pytest.mark.parametrize("id", IDS)
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    assert count == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", IDS)
def test_multiplications_equal_the_reference(id: str) -> None:
    macs = golden(file_of(id)).record["macs"]
    assert {size: count_macs(on_meta(id), *map(int, size.split("x"))) for size in macs} == macs


def test_the_half_dilation_of_first_blocks_is_told_apart() -> None:
    """The comparison is sharp enough: the trunk's dilation as in DeepLab moves the logits by far more than 1e-4."""
    reference = golden("torchvision__fcn_resnet50")
    model = zoo.create("torchvision/fcn_resnet50", num_classes=19)
    model.load_state_dict(zoo.convert("torchvision/fcn_resnet50", reference.state_dict))
    plain = create_model("pspnet", num_classes=19, backbone="resnet50").backbone
    plain.load_state_dict(model.backbone.state_dict())
    model.backbone = plain
    tag, images = next(reference.runs())
    assert reference.distances(tag, {"native": model.eval().strided_logits(images).logits})["native"] > 1e-2
