from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from segwright.engine.normalise import Normalise
from segwright.engine.teacher import Teacher
from segwright.errors import ConfigError
from segwright.losses import distillation
from segwright.models import SegmentationModel, create_model
from tests.support.fill import fill


def network(*classes: str) -> SegmentationModel:
    model = create_model("fast_scnn", num_classes=len(classes))
    fill(model)
    model.info = replace(model.info, classes=classes)
    return model.eval()


def teacher_of(model: SegmentationModel, *classes: str, weight: float = 1.0) -> Teacher:
    return Teacher(model, classes, weight=weight, temperature=1.0, autocast=nullcontext)


PICTURES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_weighted_divergence_joins_the_sum() -> None:
    model, logits = network("road", "car"), torch.randn(2, 2, 8, 12, requires_grad=True)
    losses = teacher_of(model, "road", "car", weight=3.0).add_to({"loss": torch.tensor(2.0)}, logits, PICTURES)
    with torch.no_grad():
        seen = model.strided_logits(Normalise(model.info.preprocessing)(PICTURES)).logits
    assert torch.equal(losses["distillation"], distillation(logits, seen))
    assert torch.allclose(losses["loss"], 2.0 + 3.0 * losses["distillation"])
    losses["loss"].backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0


def test_classes_are_matched_by_name_and_the_teacher_may_know_more() -> None:
    model, logits = network("sky", "road", "car"), torch.randn(2, 2, 8, 12)
    swapped = teacher_of(model, "car", "sky").add_to({"loss": torch.zeros(())}, logits, PICTURES)
    with torch.no_grad():
        seen = model.strided_logits(Normalise(model.info.preprocessing)(PICTURES)).logits[:, [2, 0]]
    assert torch.equal(swapped["distillation"], distillation(logits, seen))


def test_the_teacher_neither_trains_nor_changes() -> None:
    model = network("road", "car").train()
    teacher_of(model, "road", "car").add_to({"loss": torch.zeros(())}, torch.randn(2, 2, 8, 12), PICTURES)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_teacher_of_other_classes_is_refused_with_their_names() -> None:
    with pytest.raises(ConfigError, match="does not know tram, pole; its classes are road, car"):
        teacher_of(network("road", "car"), "road", "tram", "pole")
