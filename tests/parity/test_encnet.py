"""EncNet against mmsegmentation, which follows the authors' code on another stem."""

import torch

from segwright import zoo
from tests.support.compare import distance
from tests.support.parity import converted, count_macs, full_distance, golden_distance, on_meta
from tests.support.reference import golden

ID = "mmseg/encnet_r50-d8"


def test_logits_equal_the_reference() -> None:
    assert golden_distance(ID, {"aux": "aux0_native", "presence": "native_extra1"}) < 1e-4


def test_logits_of_a_large_image_equal_the_reference() -> None:
    assert full_distance(ID, large=True) < 1e-4


def test_parameter_count_equals_the_reference() -> None:
    count = sum(parameter.numel() for parameter in on_meta(ID).parameters())
    assert count == golden("mmseg__encnet_r50-d8").record["params_total"]


def test_multiplications_are_the_reference_s_and_the_encoding_s_two_products() -> None:
    """Theirs expands pixels x codewords x channels, which the counter does not see, and predicts presence always."""
    for size, wanted in golden("mmseg__encnet_r50-d8").record["macs"].items():
        height, width = map(int, size.split("x"))
        pixels = height * width // 64
        assert count_macs(on_meta(ID), height, width) == wanted + 2 * pixels * 32 * 512 - 512 * 19, size


@torch.no_grad()
def test_the_encoding_is_told_apart() -> None:
    """The comparison is sharp enough: codewords nine tenths as long move the logits by more than 1e-4."""
    reference = golden("mmseg__encnet_r50-d8")
    model = converted(ID, reference)
    _, images = next(reference.runs())
    before = model.strided_logits(images).logits
    model.get_parameter("decoder.context.encoding.codewords").mul_(0.9)
    assert distance(model.strided_logits(images).logits, before) > 1e-3


def test_lateral_tensors_have_mmsegmentation_s_names() -> None:
    options = {"backbone": "resnet50c", "variant": "mmseg", "lateral": True}
    key_map = zoo.systems.KEY_MAPS["mmseg", "encnet"](options)
    names = [key_map.their_key(f"decoder.laterals.{key}") for key in ("projections.1.0.weight", "fusion.1.bias")]
    assert names == ["decode_head.lateral_convs.1.conv.weight", "decode_head.fusion.bn.bias"]
