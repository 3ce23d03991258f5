"""ICNet against the authors' Caffe network and mmsegmentation's network of that name.

The authors' pyramid has literal kernels for 1025x2049, so that their network takes no other size. Mmsegmentation's is
another network (a named option here): a ResNet of full width whose pooling rounds up, bins concatenated, a ReLU before
the sums, logits at 1/8 behind a 3x3 convolution, and guidance of the convolved instead of the upsampled maps.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright import zoo
from segwright.models import create_model
from segwright.zoo.systems.icnet import KEY_MAPS
from tests.support.compare import distance
from tests.support.fill import filled, sha256
from tests.support.parity import (
    converted,
    count_macs,
    file_of,
    full_distance,
    golden_distance,
    on_meta,
)
from tests.support.reference import Reference, golden, shared

AUX = {"low": "aux0_native", "medium": "aux1_native"}
MMSEG = ["mmseg/icnet_r18-d8", "mmseg/icnet_r50-d8"]
IDS = ["caffe/icnet", *MMSEG]


def distances(reference: Reference) -> dict[str, float]:
    """Of all that the Caffe record holds: logits at 1/4 and at the image's size, both fusions, the pyramid."""
    model = converted("caffe/icnet", reference)
    ((tag, images),) = reference.runs()
    found: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor | tuple[Tensor, Tensor]], None]:
        return lambda part, inputs, output: found.update({name: output if isinstance(output, Tensor) else output[0]})

    model.pyramid.register_forward_hook(note("conv5_3_sum"))
    model.fusion_low.register_forward_hook(note("sub24"))
    model.fusion_medium.register_forward_hook(note("sub12"))
    model.classifier.register_forward_hook(note("native"))
    found["full"] = model(images).logits
    recorded = reference.record["outputs"][tag]
    assert set(recorded) <= set(found)
    result = {}
    for name, entry in recorded.items():
        assert list(found[name].shape) == entry["shape"]
        side, channels = entry["stored_stride_hw"], entry["stored_stride_c"]
        wanted = torch.from_numpy(reference.arrays[entry["npz_key"]])
        result[name] = distance(found[name][:, ::channels, ::side, ::side], wanted)
    return result


@torch.no_grad()
def test_every_stored_map_equals_the_authors_network() -> None:
    result = distances(golden("caffe__icnet"))
    assert set(result) == {"native", "conv5_3_sum", "sub24", "sub12"}
    assert max(result.values()) < 1e-4, result


@torch.no_grad()
def test_logits_at_the_image_s_size_equal_the_authors_network() -> None:
    assert distances(shared("caffe__icnet"))["full"] < 1e-4


@torch.no_grad()
def test_adaptive_pooling_is_told_apart() -> None:
    """The comparison is sharp enough: windows that do not overlap as the authors' do move the pyramid by over 1e-3."""
    features = torch.rand(1, 8, 33, 65, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    pyramid = converted("caffe/icnet", golden("caffe__icnet")).pyramid
    adaptive = features + sum(
        F.interpolate(F.adaptive_avg_pool2d(features, side), (33, 65), mode="bilinear", align_corners=True)
        for side in (1, 2, 3, 6)
    )
    assert distance(pyramid(features), adaptive) > 1e-3


@pytest.mark.parametrize("id", MMSEG)
def test_logits_equal_mmsegmentation(id: str) -> None:
    assert golden_distance(id, AUX) < 1e-4


def test_logits_at_the_image_s_size_equal_mmsegmentation() -> None:
    assert full_distance("mmseg/icnet_r18-d8") < 1e-4


def test_logits_of_a_large_image_equal_mmsegmentation() -> None:
    assert full_distance("mmseg/icnet_r50-d8", large=True) < 1e-4


def test_mmsegmentation_s_rounded_up_pooling_is_told_apart() -> None:
    reference = golden("mmseg__icnet_r18-d8")
    model = converted("mmseg/icnet_r18-d8", reference)
    model.backbone.network.maxpool.ceil_mode = False
    tag, images = next(run for run in reference.runs() if run[0].endswith("97x129"))
    with torch.no_grad():
        logits = model.strided_logits(images).logits
    assert reference.distances(tag, {"native": logits})["native"] > 1e-2


@pytest.mark.parametrize("id", IDS)
def test_fill_rule_gives_the_recorded_weights(id: str) -> None:
    record = golden(file_of(id)).record
    shapes = dict(record["state_dict"])
    assert {name: sha256(filled(name, shapes[name])) for name in record["fill_sha256"]} == record["fill_sha256"]


@pytest.mark.parametrize("id", IDS)
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    assert count == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", IDS)
def test_multiplications_equal_the_reference(id: str) -> None:
    for size, wanted in golden(file_of(id)).record["macs"].items():
        assert count_macs(on_meta(id), *map(int, size.split("x"))) == wanted, size


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("num_classes", [1, 150])
def test_weights_of_any_number_of_classes_convert(id: str, num_classes: int) -> None:
    classifiers = ("conv_seg", "conv6_cls")
    theirs = {
        name: torch.empty(
            [num_classes, *shape[1:]] if name.rpartition(".")[0].endswith(classifiers) else shape, device="meta"
        )
        for name, shape in golden(file_of(id)).record["state_dict"]
    }
    ours = zoo.convert(id, theirs)
    own = on_meta(id, num_classes).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in own.items()}


@pytest.mark.parametrize("depth", ["resnet101", "resnet152"])
def test_caffe_s_names_follow_the_depth(depth: str) -> None:
    with torch.device("meta"):
        model = create_model("icnet", num_classes=2, backbone=depth, aux=False)
    names = [KEY_MAPS["caffe"]({}).their_key(key) for key in model.state_dict()]
    last = {"resnet101": ("conv3_4", "conv4_23"), "resnet152": ("conv3_8", "conv4_36")}[depth]
    assert {f"{block}_1x1_increase/bn.bias" for block in last} <= set(names)
    assert len(set(names)) == len(names)
