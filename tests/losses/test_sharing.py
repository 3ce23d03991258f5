"""Losses of a batch that processes share, against the same batch in one: of each registered loss."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from segwright.layers.sharing import Sharing, sharing_batch
from segwright.losses import AUX_LOSSES, LOSSES, LabelCodeLoss
from segwright.losses.boundary import JOINT_LOSSES
from segwright.types import SegmentationOutput
from tests.support.sharing import in_processes

CLASSES, PICTURES = 4, 4


def masks() -> Tensor:
    """Unequal shares: the second picture has few labelled pixels, the fourth none; class 3 is in the first alone."""
    torch.manual_seed(1)
    masks = torch.randint(CLASSES - 1, (PICTURES, 2, 2)).repeat_interleave(8, 1).repeat_interleave(10, 2)
    masks[0, 2:5, 3:6] = 3
    masks[1, :, 4:] = 255
    masks[3] = 255
    return masks


def predictions(channels: int = CLASSES, size: tuple[int, int] = (16, 20)) -> Tensor:
    torch.manual_seed(2)
    return 2 * torch.randn(PICTURES, channels, *size)


Loss = Callable[[Tensor, Tensor], Tensor]


def assert_same_shared(loss: Loss, prediction: Tensor) -> None:
    """Value and gradient with 2 and 4 processes, averaged as the training does, are those with one."""
    labels = masks()

    def part(sharing: Sharing | None, rows: slice) -> tuple[Tensor, Tensor]:
        own = prediction[rows].clone().requires_grad_()
        with sharing_batch(sharing):
            value = loss(own, labels[rows])
        value.backward()
        assert own.grad is not None
        return value.detach(), own.grad

    value, gradient = part(None, slice(None))
    assert gradient.abs().max() > 0
    for world_size in (2, 4):
        pictures = PICTURES // world_size
        parts = in_processes(world_size, lambda sharing, own=pictures: part(sharing, sharing.rows(own)))
        torch.testing.assert_close(torch.stack([own for own, _ in parts]).mean(), value, rtol=1e-5, atol=1e-6)
        together = torch.cat([own for _, own in parts]) / world_size
        torch.testing.assert_close(together, gradient, rtol=1e-4, atol=1e-7)


OPTIONS: list[tuple[str, Mapping[str, Any]]] = [
    *[(name, {}) for name in LOSSES],
    *[(name, {"weight": torch.tensor([1.0, 2.0, 0.5, 4.0])}) for name in LOSSES],
    ("ohem_cross_entropy", {"threshold": 0.01, "min_kept": 30}),
    ("ohem_cross_entropy", {"threshold": 0.01, "min_kept": 10000}),
    ("ohem_cross_entropy_by_loss", {"threshold": 0.01, "min_kept": 60}),
    ("ohem_cross_entropy_by_loss", {"threshold": 1e-9, "min_kept": 10000}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_pixel_loss_of_a_shared_batch_is_that_of_one_process(name: str, options: Mapping[str, Any]) -> None:
    assert_same_shared(partial(LOSSES[name], **options), predictions())


AUX_PREDICTIONS = {
    "semantic_encoding": predictions()[:, :, 0, 0],
    "label_guidance": predictions(size=(8, 10)),
    "balanced_edges": predictions(channels=1),
}


@pytest.mark.parametrize("name", list(AUX_LOSSES))
def test_auxiliary_loss_of_a_shared_batch_is_that_of_one_process(name: str) -> None:
    loss = partial(AUX_LOSSES[name], pixel_loss=LOSSES["cross_entropy"], ignore_index=255)
    assert_same_shared(loss, AUX_PREDICTIONS[name])


@pytest.mark.parametrize("name", list(JOINT_LOSSES))
def test_joint_loss_of_a_shared_batch_is_that_of_one_process(name: str) -> None:
    def loss(prediction: Tensor, labels: Tensor) -> Tensor:
        torch.manual_seed(3)
        logits, edges = prediction.split((CLASSES, 1), dim=1)
        return JOINT_LOSSES[name](SegmentationOutput(logits, {"edges": edges}), labels, ignore_index=255)

    if name == "dual_task_to":  # threads share the generator: without its noise here, tests/layers has the draws
        loss = partial(_without_noise, JOINT_LOSSES[name])
    assert_same_shared(loss, predictions(channels=CLASSES + 1))


def _without_noise(loss: Callable[..., Tensor], prediction: Tensor, labels: Tensor) -> Tensor:
    output = SegmentationOutput(prediction[:, :CLASSES], {"edges": prediction[:, CLASSES:]})
    return loss(output, labels, ignore_index=255, noise=False)


def test_code_loss_of_a_shared_batch_is_that_of_one_process() -> None:
    code_loss = LabelCodeLoss(
        lambda labels, ignored: labels.unfold(1, 2, 2).unfold(2, 2, 2)[..., 0, :].movedim(-1, 1), 2
    )
    loss = partial(code_loss, pixel_loss=LOSSES["cross_entropy"], ignore_index=255)
    assert_same_shared(loss, predictions(channels=2, size=(8, 10)))


@pytest.mark.parametrize("name", list(LOSSES))
def test_loss_that_is_not_a_number_stays_so_in_a_shared_batch(name: str) -> None:
    def value(sharing: Sharing) -> float:
        prediction = predictions()[sharing.rows(2)]
        if sharing.rank == 0:
            prediction[0] = torch.nan
        prediction.requires_grad_()
        with sharing_batch(sharing):
            loss = LOSSES[name](prediction, masks()[sharing.rows(2)])
        loss.backward()
        assert prediction.grad is not None
        return float(loss.detach() + prediction.grad.sum())

    values = in_processes(2, value)
    assert values[0] != values[0]
