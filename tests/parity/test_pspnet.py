"""PSPNet against the authors' PyTorch code, mmsegmentation and segmentation-models-pytorch.

Where theirs depart from the paper (each a named option here): mmsegmentation halves the dilation in a stage's first
block and takes a quarter of the trunk's channels everywhere; segmentation-models-pytorch stops at c3, appends the map
to its bins instead of the other way round, and has no normalisation in the bin of one cell.
"""

import pytest

from segwright import zoo
from segwright.models import create_model
from tests.support.parity import count_macs, file_of, full_distance, golden_distance, on_meta
from tests.support.reference import golden, shared

AUX = {"aux": "aux0_native"}
IDS = {
    "mmseg/pspnet_r50-d8": AUX,
    "mmseg/pspnet_r18-d8": AUX,
    "semseg/pspnet50": AUX,
    "smp/pspnet_resnet34": {},
    "smp/pspnet_resnet50": {},
}


@pytest.mark.parametrize("id", IDS)
def test_logits_equal_the_reference(id: str) -> None:
    assert golden_distance(id, IDS[id]) < 1e-4


@pytest.mark.parametrize("id", IDS)
def test_logits_at_the_image_s_size_equal_the_reference(id: str) -> None:
    assert full_distance(id) < 1e-4


def test_logits_of_a_large_image_equal_the_reference() -> None:
    assert full_distance("mmseg/pspnet_r50-d8", large=True) < 1e-4


def test_keys_of_the_deep_network_convert() -> None:
    reference = shared("semseg__pspnet101")
    own = on_meta("semseg/pspnet101")
    converted = zoo.convert("semseg/pspnet101", reference.state_dict)
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in own.state_dict().items()
    }
    assert sum(parameter.numel() for parameter in own.parameters()) == reference.record["params_total"]


@pytest.mark.parametrize("id", ["mmseg/pspnet_r50-d8", "mmseg/pspnet_r18-d8", "semseg/pspnet50"])
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    assert count == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", ["mmseg/pspnet_r50-d8", "smp/pspnet_resnet50"])
def test_multiplications_equal_the_reference(id: str) -> None:
    macs = golden(file_of(id)).record["macs"]
    for size, wanted in macs.items():
        assert count_macs(on_meta(id), *map(int, size.split("x"))) == wanted, size


def test_the_paper_s_dilation_is_told_apart() -> None:
    """The comparison is sharp enough: without mmsegmentation's half dilation the logits move by far more than 1e-4."""
    reference = golden("mmseg__pspnet_r50-d8")
    model = create_model("pspnet", num_classes=19, backbone="resnet50c")
    model.load_state_dict(zoo.convert("mmseg/pspnet_r50-d8", reference.state_dict))
    tag, images = next(reference.runs())
    assert reference.distances(tag, {"native": model.eval().strided_logits(images).logits})["native"] > 1e-2
