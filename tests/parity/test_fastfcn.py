"""FastFCN against the authors' code and mmsegmentation.

Where mmsegmentation departs from the authors (named options here): its strided trunk keeps the dilations of a dilated
one, the convolution before the encoding is 3x3, its ASPP is 512 wide, and corners are not aligned. The two join c3, c4
and c5 in opposite orders, which only the order of tensors shows. The authors' checkpoints carry an ImageNet classifier.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from segwright import zoo
from segwright.layers import resize
from segwright.models.fastfcn import JPU, fastfcn
from tests.support.compare import distance
from tests.support.fill import normal
from tests.support.parity import converted, count_macs, file_of, full_distance, on_meta, outputs_of
from tests.support.reference import Reference, golden, shared

AUTHORS = ["fastfcn/encnet_jpu_r50", "fastfcn/deeplabv3_jpu_r50", "fastfcn/psp_jpu_r50", "fastfcn/fcn_jpu_r50"]
MMSEG = ["mmseg/fastfcn_r50-d32_jpu_enc", "mmseg/fastfcn_r50-d32_jpu_aspp", "mmseg/fastfcn_r50-d32_jpu_psp"]
PRESENCE = {"fastfcn/encnet_jpu_r50": "se_logits", "mmseg/fastfcn_r50-d32_jpu_enc": "native_extra1"}


@torch.no_grad()
def distances(id: str) -> Iterator[tuple[str, str, float]]:
    """Run, name of the output and how far it is from ours, for every output that the tests carry."""
    reference = golden(file_of(id))
    model = converted(id, reference)
    for tag, images in reference.runs():
        names = {"aux": "aux0_native"} | ({"presence": PRESENCE[id]} if id in PRESENCE else {})
        outputs = outputs_of(model, images, names)
        outputs["aux0_full"] = resize(outputs["aux0_native"], images.shape[-2:], align_corners=model.align_corners)
        recorded = {name: outputs[name] for name in reference.record["outputs"][tag]}
        yield from ((tag, name, value) for name, value in reference.distances(tag, recorded).items())


@pytest.mark.parametrize("id", AUTHORS + MMSEG)
def test_logits_equal_the_reference(id: str) -> None:
    rows = list(distances(id))
    assert {"native"} < {name for _, name, _ in rows}
    assert [row for row in rows if row[2] >= 1e-4] == []


@pytest.mark.parametrize("id", [*MMSEG, AUTHORS[1]])
def test_logits_of_a_large_image_equal_the_reference(id: str) -> None:
    """Large enough to tell the rates of the ASPP apart."""
    assert full_distance(id, large=True) < 1e-4


def module_state(reference: Reference) -> dict[str, Tensor]:
    """The authors' module under our names."""
    key_map = zoo.systems.KEY_MAPS["fastfcn", "fastfcn"]({})
    state = reference.state_dict
    with torch.device("meta"):
        keys = [f"neck.{key}" for key in JPU((256, 512, 1024, 2048)).state_dict()]
    assert {key_map.their_key(key) for key in keys} == set(state)
    return {key.removeprefix("neck."): key_map.our_tensor(key, state[key_map.their_key(key)]) for key in keys}


@torch.no_grad()
def test_the_module_alone_equals_the_authors() -> None:
    reference = shared("fastfcn__jpu_module")
    module = JPU((256, 512, 1024, 2048), align_corners=True).eval()
    module.load_state_dict(module_state(reference))
    assert sum(parameter.numel() for parameter in module.parameters()) == reference.record["params_total"] == 19735552
    for tag, images in reference.runs():
        height, width = images.shape[-2:]
        maps = [
            torch.from_numpy(normal(101 + level, (1, 256 << level, -(-height // stride), -(-width // stride))))
            for level, stride in enumerate((4, 8, 16, 32))
        ]
        *passed, joint = module(maps)
        assert all(ours is given for ours, given in zip(passed, maps[:3], strict=True))
        assert reference.distances(tag, {"jpu_out": joint})["jpu_out"] < 1e-4


@pytest.mark.parametrize("id", AUTHORS + MMSEG)
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    classifier = 2048 * 1000 + 1000 if id in AUTHORS else 0  # ImageNet's, of no use here
    assert count + classifier == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", AUTHORS + MMSEG)
def test_multiplications_equal_the_reference(id: str) -> None:
    """The authors' count includes the auxiliary head, both predict presence always, and ours encodes by products."""
    pixels = 1024 * 2048 // 64
    extra = 2 * pixels * 32 * 512 - 512 * 19 if id in PRESENCE else 0
    if id in AUTHORS:
        extra -= pixels // 4 * 256 * (9 * 1024 + 19)
    assert count_macs(on_meta(id), 1024, 2048) == golden(file_of(id)).record["macs"]["1024x2048"] + extra


@torch.no_grad()
def test_the_order_of_the_joined_maps_is_told_apart() -> None:
    """The comparison is sharp enough: the authors' tensors without reordering move the joint map by far."""
    reference = golden("fastfcn__fcn_jpu_r50")
    model = converted("fastfcn/fcn_jpu_r50", reference)
    _, images = next(reference.runs())
    features = model.backbone(images)
    before = model.neck(features)[-1]
    weight = model.get_parameter("neck.branches.0.1.0.weight")
    weight.copy_(torch.cat(weight.chunk(3, dim=1)[::-1], dim=1))
    assert distance(model.neck(features)[-1], before) > 1e-2


@torch.no_grad()
def test_kept_dilation_is_told_apart() -> None:
    reference = golden("mmseg__fastfcn_r50-d32_jpu_psp")
    model = fastfcn(19, backbone="resnet50c", decoder="pspnet").eval()  # the paper's trunk has no dilation
    model.load_state_dict(zoo.convert("mmseg/fastfcn_r50-d32_jpu_psp", reference.state_dict))
    tag, images = next(reference.runs())
    assert reference.distances(tag, {"native": model.strided_logits(images).logits})["native"] > 1e-2
