"""Our network of a catalog entry beside the recorded outputs of the network that it rebuilds."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segwright import zoo
from segwright.models import SegmentationModel
from tests.support.reference import Reference, golden, shared


def file_of(id: str) -> str:
    return id.replace("/", "__")


def converted(id: str, reference: Reference) -> SegmentationModel:
    """Our network with the record's weights, in evaluation mode."""
    model = zoo.create(id, num_classes=reference.record["num_classes"])
    model.load_state_dict(zoo.convert(id, reference.state_dict))
    return model.eval()


@torch.no_grad()
def outputs_of(model: SegmentationModel, images: Tensor, aux_names: Mapping[str, str]) -> dict[str, Tensor]:
    """Logits at both sizes, and auxiliary outputs with every layer in evaluation mode, as they were recorded.

    Args:
        model: in evaluation mode.
        images: of the record.
        aux_names: the record's name of each of our ``aux``.
    """
    outputs = {"native": model.strided_logits(images).logits, "full": model(images).logits}
    aux: dict[str, Tensor] = {}
    if aux_names:
        parts = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d) or not [*part.children()]]
        model.train()  # whether aux is filled depends on it ...
        for part in parts:
            part.eval()  # ... but no normalisation and no dropout may see it
        aux = model.strided_logits(images).aux
        model.eval()
        assert set(aux) == set(aux_names)
    return outputs | {theirs: aux[ours] for ours, theirs in aux_names.items()}


def farthest(id: str, reference: Reference, aux_names: Mapping[str, str] | None = None) -> float:
    """The largest distance of any recorded output from ours; the record may hold no others than we compared."""
    model, worst = converted(id, reference), 0.0
    for tag, images in reference.runs():
        outputs = outputs_of(model, images, aux_names or {})
        recorded = {name: outputs[name] for name in reference.record["outputs"][tag] if "returned" not in name}
        worst = max(worst, *reference.distances(tag, recorded).values())
    return worst


def golden_distance(id: str, aux_names: Mapping[str, str] | None = None) -> float:
    """From the copy that the tests carry."""
    return farthest(id, golden(file_of(id)), aux_names)


def full_distance(id: str, *, large: bool = False) -> float:
    """From the whole record, of the image's size; the test is skipped where the record is absent."""
    reference = shared(file_of(id) + ("__large" if large else ""))
    model, worst = converted(id, reference), 0.0
    for tag, images in reference.runs():
        outputs = outputs_of(model, images, {})
        recorded = {name: outputs[name] for name in outputs if name in reference.record["outputs"][tag]}
        worst = max(worst, *reference.distances(tag, recorded).values())
    return worst


def count_macs(model: SegmentationModel, height: int, width: int) -> int:
    """Multiply-adds of convolutions and matrix products for one image; the network may be on the meta device."""
    return count_macs_of(model, torch.empty(1, 3, height, width, device=next(model.parameters()).device))


def count_macs_of(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of convolutions and matrix products of any module for the given inputs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return int(counter.get_total_flops() // 2)


def on_meta(id: str, num_classes: int = 19) -> SegmentationModel:
    with torch.device("meta"):
        return zoo.create(id, num_classes).eval()
