"""Gated-SCNN against its authors' network, with equal weights and images.

Where theirs departs from the paper (the variant ``released``): Canny runs on the normalised values, read as bytes, and
its 0 or 255 enters beside probabilities of 0 to 1; corners are aligned in all resizes but the last; one head is never
read. Ours finds the same edges; they are stored, too, and replace the child module here, as anybody else's could.
"""

import pytest
import torch
from torch import Tensor, nn

from segwright import zoo
from segwright.errors import WeightsError
from segwright.layers.edges import Canny
from segwright.models.gated_scnn import GatedSCNN
from tests.support.compare import distance
from tests.support.fill import filled, sha256
from tests.support.parity import count_macs, on_meta
from tests.support.reference import Reference, golden, shared

ID, FILE = "gscnn/gscnn_wrn38", "gscnn__gscnn_wrn38"


class Stored(nn.Module):
    """A recorded map in place of an image gradient."""

    def __init__(self, stored: Tensor) -> None:
        super().__init__()
        self.stored = stored

    def forward(self, images: Tensor) -> Tensor:
        return self.stored


@pytest.fixture(scope="module")
def model() -> GatedSCNN:
    network = zoo.create(ID)
    network.load_state_dict(zoo.convert(ID, golden(FILE).state_dict))
    assert isinstance(network, GatedSCNN)
    return network.eval()


@torch.no_grad()
def outputs_of(model: GatedSCNN, images: Tensor) -> dict[str, Tensor]:
    """Their outputs by their names, from one forward pass while every layer is in evaluation mode."""
    seen: dict[str, Tensor] = {}
    watched = {"cw_logits": model.combination, "gate1": model.shape_stream.gated_convs[0]}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        for name, module in watched.items()
    ]
    model.training = True  # of the network alone: only whether aux is filled depends on it
    output = model(images)
    model.training = False
    for hook in hooks:
        hook.remove()
    edges = output.aux["edges"]
    return seen | {"full": output.logits, "fuse_logits": edges, "edge_out": edges.sigmoid()}


def distances(model: GatedSCNN, reference: Reference, tag: str, images: Tensor, *, stored: bool) -> dict[str, float]:
    """With their edges of the picture, or with those that ours finds."""
    own = model.image_gradient
    model.image_gradient = Stored(torch.from_numpy(reference.arrays[f"{tag}__canny"])) if stored else own
    with torch.no_grad():
        outputs = {"native": model.strided_logits(images).logits} | outputs_of(model, images)
    model.image_gradient = own
    recorded = outputs.keys() & reference.record["outputs"][tag].keys()
    return reference.distances(tag, {name: outputs[name] for name in recorded})


def test_fill_rule_gives_the_recorded_weights() -> None:
    record = golden(FILE).record
    shapes = dict(record["state_dict"])
    assert {name: sha256(filled(name, shapes[name])) for name in record["fill_sha256"]} == record["fill_sha256"]


@pytest.mark.parametrize("run", [0, 1])
def test_outputs_equal_the_reference(model: GatedSCNN, run: int) -> None:
    reference = golden(FILE)
    tag, images = list(reference.runs())[run]
    found = distances(model, reference, tag, images, stored=run == 0)
    assert set(found) == {"native", "edge_out", "fuse_logits", "cw_logits", "gate1"}
    assert max(found.values()) < 1e-4, found


def test_logits_at_the_image_s_size_equal_the_reference(model: GatedSCNN) -> None:
    reference = shared(FILE)
    tag, images = next(reference.runs())
    assert distances(model, reference, tag, images, stored=True)["full"] < 1e-4


def test_outputs_of_a_large_image_equal_the_reference(model: GatedSCNN) -> None:
    reference = shared(f"{FILE}__large")
    for tag, images in reference.runs():
        found = distances(model, reference, tag, images, stored=True)
        assert set(found) == {"native", "full", "edge_out"}
        assert max(found.values()) < 1e-4, found


def test_own_edges_of_the_picture_are_theirs(model: GatedSCNN) -> None:
    reference = golden(FILE)
    assert isinstance(model.image_gradient, Canny)
    for tag, images in reference.runs():
        assert torch.equal(model.image_gradient(images), torch.from_numpy(reference.arrays[f"{tag}__canny"]))


@torch.no_grad()
def test_the_paper_s_resize_is_told_apart(model: GatedSCNN) -> None:
    """The comparison is sharp enough: corners that are not aligned move the logits by far more than 1e-4."""
    images = torch.randn(1, 3, 33, 49)
    before = model.strided_logits(images).logits
    model.fusion.align_corners = False
    after = model.strided_logits(images).logits
    model.fusion.align_corners = True
    assert distance(after, before) > 1e-2


def test_parameter_count_is_the_reference_s_without_the_head_that_nothing_reads() -> None:
    own = sum(parameter.numel() for parameter in on_meta(ID).parameters())
    assert own == golden(FILE).record["params_total"] - (64 + 1)


@pytest.mark.parametrize("size", [(512, 512), (1024, 2048)])
def test_multiplications_equal_the_reference(size: tuple[int, int]) -> None:
    assert count_macs(on_meta(ID), *size) == golden(FILE).record["macs"][f"{size[0]}x{size[1]}"]


def empty_weights() -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in golden(FILE).record["state_dict"]}


def test_conversion_takes_every_tensor_but_those_of_that_head() -> None:
    theirs = empty_weights()
    converted = zoo.convert(ID, theirs)
    assert converted.keys() == on_meta(ID).state_dict().keys()
    assert len(theirs) - len(converted) == len([name for name in theirs if name.startswith("dsn1.")]) == 2


@pytest.mark.parametrize("key", ["gate2.weight", "mod4.block6.convs.bn2.0.bias", "d3.bias"])
def test_conversion_is_strict(key: str) -> None:
    theirs = empty_weights()
    tensor = theirs.pop(key)
    with pytest.raises(WeightsError, match=f"'{key}' is missing"):
        zoo.convert(ID, theirs)
    with pytest.raises(WeightsError, match=r"'dsn2\.weight' has no place in it"):
        zoo.convert(ID, {**theirs, key: tensor, "dsn2.weight": tensor})


def test_conversion_reads_the_number_of_classes_from_the_weights() -> None:
    theirs = empty_weights()
    theirs["final_seg.6.weight"] = torch.empty(7, 256, 1, 1, device="meta")
    assert zoo.convert(ID, theirs)["fusion.classifier.2.weight"].shape[0] == 7
