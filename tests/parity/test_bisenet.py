"""BiSeNet against the authors', mmsegmentation's and CoinCheung's networks, with equal weights and images.

Where theirs depart from the default (each a named option here): the authors align corners; their "speed" version has
narrower auxiliary heads; mmsegmentation and CoinCheung repeat cells in the context path, weigh the fused channels by
one normalised convolution (with and without ReLU), and have other head widths. The authors upsample by fixed factors,
so that their full outputs have 8 ceil(H/8) rows and their auxiliary ones 16 ceil(H/16); CoinCheung's network takes
multiples of 32 only.
"""

import pytest
import torch
from torch import Tensor

from segwright import zoo
from segwright.layers import resize
from segwright.models import create_model
from tests.support.parity import converted, count_macs, file_of, full_distance, on_meta, outputs_of
from tests.support.reference import Reference, golden, shared

COARSE_FIRST, FINE_FIRST = ("context16", "context8"), ("context8", "context16")
AUX = {
    "torchseg/bisenet_x39": COARSE_FIRST,
    "torchseg/bisenet_r18": COARSE_FIRST,
    "torchseg/bisenet_x39_speed": COARSE_FIRST,
    "torchseg/bisenet_r18_speed": COARSE_FIRST,
    "mmseg/bisenetv1_r18-d32": FINE_FIRST,
    "mmseg/bisenetv1_r50-d32": FINE_FIRST,
    "coincheung/bisenetv1": FINE_FIRST,
}
"""Our name of their aux0, aux1."""
GOLDEN = [id for id in AUX if id not in ("torchseg/bisenet_x39", "torchseg/bisenet_r18")]
"""Without the two whose record differs from that of the speed version in sizes and head widths only."""


def worst_distance(id: str, reference: Reference) -> float:
    """Of all recorded outputs but softmax; ours are resized to the size that theirs have."""
    model, worst = converted(id, reference), 0.0
    for tag, images in reference.runs():
        ours = outputs_of(model, images, {name: name for name in model.aux_weights})
        ours |= {f"aux{index}": ours[name] for index, name in enumerate(AUX[id])}
        outputs: dict[str, Tensor] = {}
        for name, entry in reference.record["outputs"][tag].items():
            size = tuple(entry["shape"][2:])
            if name == "full" and size != tuple(images.shape[2:]):
                outputs[name] = resize(ours["native"], size, align_corners=model.align_corners)
            elif "returned" not in name:
                maps = ours[name.partition("_")[0]]
                outputs[name] = resize(maps, size, align_corners=model.align_corners)
        assert {name[:4] for name in outputs} >= {"nati", "aux0", "aux1"}
        worst = max(worst, *reference.distances(tag, outputs).values())
    return worst


@pytest.mark.parametrize("id", GOLDEN)
@torch.no_grad()
def test_logits_equal_the_reference(id: str) -> None:
    assert worst_distance(id, golden(file_of(id))) < 1e-4


@pytest.mark.parametrize("id", [id for id in AUX if "r50" not in id])
@torch.no_grad()
def test_outputs_of_all_sizes_equal_the_reference(id: str) -> None:
    assert worst_distance(id, shared(file_of(id))) < 1e-4


def test_logits_of_a_large_image_equal_the_reference() -> None:
    assert full_distance("mmseg/bisenetv1_r18-d32", large=True) < 1e-4


@pytest.mark.parametrize("id", GOLDEN)
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    assert count == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", GOLDEN)
def test_multiplications_equal_the_reference(id: str) -> None:
    model = on_meta(id).train(id.startswith("coincheung"))  # their count includes the auxiliary heads
    for size, wanted in golden(file_of(id)).record["macs"].items():
        assert count_macs(model, *map(int, size.split("x"))) == wanted, size


@pytest.mark.parametrize(
    ("backbone", "num_classes", "tensors", "parameters"),
    [
        ("resnet18", 19, 222, 13_425_721),
        ("resnet18", 171, 222, 13_484_545),
        ("resnet50", 19, 420, 59_243_385),
        ("resnet50", 171, 420, 59_477_313),
        ("resnet101", 171, 726, 78_469_441),
    ],
)
def test_sizes_of_the_weights_that_mmsegmentation_published(
    backbone: str, num_classes: int, tensors: int, parameters: int
) -> None:
    with torch.device("meta"):
        model = create_model("bisenet", num_classes=num_classes, backbone=backbone, variant="mmseg")
    assert len(model.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("id", "options"),
    [
        ("mmseg/bisenetv1_r18-d32", {"variant": "coincheung"}),  # no ReLU in the fusion attention
        ("torchseg/bisenet_x39_speed", {"align_corners": False}),
    ],
)
@torch.no_grad()
def test_a_variant_is_told_apart(id: str, options: dict[str, object]) -> None:
    """The comparison is sharp enough: another variant moves the logits by far more than 1e-4."""
    reference = golden(file_of(id))
    entry = next(entry for entry in zoo.catalog() if entry.id == id)
    model = create_model("bisenet", num_classes=19, **{**entry.options, **options})
    model.load_state_dict(zoo.convert(id, reference.state_dict))
    tag, images = next(reference.runs())
    assert reference.distances(tag, {"native": model.eval().strided_logits(images).logits})["native"] > 1e-2
