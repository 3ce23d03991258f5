"""DANet against the authors' code and mmsegmentation.

Where theirs depart from the paper (each a named option here): both subtract the channels' energies from each row's
largest before the softmax, which is our default; the authors align corners in the final resize; mmsegmentation has no
multi-grid, a deep stem, and an auxiliary head on c4.
"""

import pytest

from segwright import zoo
from segwright.models import create_model
from tests.support.parity import count_macs, file_of, full_distance, golden_distance, on_meta
from tests.support.reference import golden, shared

AUTHORS = {"position": "pam_native", "channel": "cam_native"}
IDS = {
    "danet/danet_resnet50_mg_nodeepstem": AUTHORS,
    "danet/danet_resnet50s_dilated": AUTHORS,
    "mmseg/danet_r50-d8": {"position": "native_extra1", "channel": "native_extra2", "aux": "aux0_native"},
}
DEEP = "danet/danet_resnet101_mg_nodeepstem"


@pytest.mark.parametrize("id", IDS)
def test_logits_and_auxiliary_outputs_equal_the_reference(id: str) -> None:
    assert golden_distance(id, IDS[id]) < 1e-4


@pytest.mark.parametrize("id", ["danet/danet_resnet50_mg_nodeepstem", "mmseg/danet_r50-d8"])
def test_logits_at_the_image_s_size_equal_the_reference(id: str) -> None:
    assert full_distance(id) < 1e-4


def test_logits_of_a_large_image_equal_the_reference() -> None:
    assert full_distance("mmseg/danet_r50-d8", large=True) < 1e-4


def test_keys_of_the_deep_network_convert() -> None:
    converted, own = zoo.convert(DEEP, shared(file_of(DEEP)).state_dict), on_meta(DEEP).state_dict()
    assert {key: tensor.shape for key, tensor in converted.items()} == {key: own[key].shape for key in own}


@pytest.mark.parametrize("id", [*IDS, DEEP])
def test_parameter_count_and_multiplications_equal_the_reference(id: str) -> None:
    reference = shared(file_of(id)) if id == DEEP else golden(file_of(id))
    model = on_meta(id)
    assert sum(parameter.numel() for parameter in model.parameters()) == reference.record["params_total"]
    model.decoder.train()  # their counts include the outputs of the two branches, but no auxiliary head
    for size, wanted in reference.record["macs"].items():
        assert count_macs(model, *map(int, size.split("x"))) == wanted, size


@pytest.mark.parametrize("options", [{"multi_grid": False}, {"channel_attention": "plain"}])
def test_another_network_is_told_apart(options: dict[str, object]) -> None:
    """The comparison is sharp enough: each of the authors' choices moves the logits by far more than 1e-4."""
    id = "danet/danet_resnet50_mg_nodeepstem"
    reference = golden(file_of(id))
    model = create_model("danet", num_classes=19, **options)
    model.load_state_dict(zoo.convert(id, reference.state_dict))
    tag, images = next(reference.runs())
    assert reference.distances(tag, {"native": model.eval().strided_logits(images).logits})["native"] > 1e-2
