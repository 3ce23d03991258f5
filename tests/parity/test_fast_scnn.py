"""Fast-SCNN against mmsegmentation's and Tramac's networks, with equal weights and images.

Where theirs depart from the paper (each a named option here): both convolve without dilation in the feature fusion;
mmsegmentation fuses the pyramid by 3x3; Tramac leaves out the first padding, has a ReLU after depthwise convolutions
and a bias before two normalisations, aligns corners, and upsamples by a fixed 4, so that its network fails where
ceil(H/8) is not 4 ceil(H/32).
"""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segwright import zoo
from segwright.models import SegmentationModel
from tests.support.compare import distance
from tests.support.fill import filled, sha256
from tests.support.reference import Reference, golden, shared

AUX_HEADS = {"mmseg/fast_scnn": ("context", "detail"), "tramac/fast_scnn": ("detail",)}
"""Our name of their aux0, aux1."""
IDS = list(AUX_HEADS)


def reference_of(id: str) -> Reference:
    return golden(id.replace("/", "__"))


def converted(id: str) -> SegmentationModel:
    model = zoo.create(id, num_classes=19)
    model.load_state_dict(zoo.convert(id, reference_of(id).state_dict))
    return model.eval()


@torch.no_grad()
def aux_outputs(model: SegmentationModel, images: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The auxiliary heads' outputs while every layer is in evaluation mode, as they were recorded."""
    model.eval()
    model.training = True  # of the network alone: only whether aux is filled depends on it
    aux = model.strided_logits(images).aux
    model.eval()
    assert set(aux) == set(names)
    return {f"aux{index}_native": aux[name] for index, name in enumerate(names)}


@pytest.mark.parametrize("id", IDS)
def test_fill_rule_gives_the_recorded_weights(id: str) -> None:
    record = reference_of(id).record
    shapes = dict(record["state_dict"])
    assert {name: sha256(filled(name, shapes[name])) for name in record["fill_sha256"]} == record["fill_sha256"]


@pytest.mark.parametrize("id", IDS)
@torch.no_grad()
def test_logits_equal_the_reference(id: str) -> None:
    model, reference = converted(id), reference_of(id)
    for tag, images in reference.runs():
        outputs = {"native": model.strided_logits(images).logits, "full": model(images).logits}
        distances = reference.distances(tag, outputs | aux_outputs(model, images, AUX_HEADS[id]))
        assert set(distances) == set(reference.record["outputs"][tag])
        assert max(distances.values()) < 1e-4, (tag, distances)


@torch.no_grad()
def test_logits_of_a_large_image_equal_the_reference() -> None:
    model, reference = converted("mmseg/fast_scnn"), shared("mmseg__fast_scnn__large")
    for tag, images in reference.runs():
        distances = reference.distances(
            tag, {"native": model.strided_logits(images).logits, "full": model(images).logits}
        )
        assert max(distances.values()) < 1e-4, (tag, distances)


@pytest.mark.parametrize("id", IDS)
def test_parameter_count_equals_the_reference(id: str) -> None:
    assert sum(parameter.numel() for parameter in converted(id).parameters()) == reference_of(id).record["params_total"]


@pytest.mark.parametrize("size", [(512, 512), (1024, 2048)])
@pytest.mark.parametrize("id", IDS)
def test_multiplications_equal_the_reference(id: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = zoo.create(id, num_classes=19).eval()
        images = torch.empty(1, 3, *size)
    model.training = id == "tramac/fast_scnn"  # their count includes the auxiliary head
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert counter.get_total_flops() // 2 == reference_of(id).record["macs"][f"{size[0]}x{size[1]}"]


@pytest.mark.parametrize("id", IDS)
@torch.no_grad()
def test_the_paper_s_network_is_told_apart(id: str) -> None:
    """The comparison is sharp enough: the paper's dilation in the fusion moves the logits by far more than 1e-4."""
    model = converted(id)
    _, images = next(reference_of(id).runs())
    before = model.strided_logits(images).logits
    depthwise = next(module for name, module in model.named_modules() if name == "fusion.context.0.0")
    depthwise.dilation = depthwise.padding = (4, 4)
    assert distance(model.strided_logits(images).logits, before) > 1e-2
