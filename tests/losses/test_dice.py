import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.losses.dice import dice


def loss(logits: Tensor, masks: Tensor) -> Tensor:
    return dice(logits, masks, ignore_index=255)


def test_a_sure_and_right_prediction_costs_nothing_and_a_wrong_one_all() -> None:
    masks = torch.tensor([[[0, 1], [1, 2]]])
    sure = 100.0 * F.one_hot(masks, 3).movedim(-1, 1).float()
    assert float(loss(sure, masks)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(sure.roll(1, dims=1), masks)) == pytest.approx(1.0, abs=1e-6)


def test_value_by_hand_of_two_classes() -> None:
    # probabilities of class 0: 0.5 and 0.8; labels 0 and 1
    logits = torch.tensor([[[[0.0, 4.0**0.5]], [[0.0, 0.0]]]])
    p = logits.softmax(1)[0, :, 0]
    first = 2 * p[0, 0] / (p[0].square().sum() + 1)
    second = 2 * p[1, 1] / (p[1].square().sum() + 1)
    assert float(loss(logits, torch.tensor([[[0, 1]]]))) == pytest.approx(float(1 - (first + second) / 2))


def test_ignored_pixels_and_absent_classes_do_not_count() -> None:
    logits = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    masks = torch.randint(0, 2, (1, 3, 5), generator=torch.Generator().manual_seed(1))
    masks[0, 0] = 255
    changed = logits.clone()
    changed[:, :, 0] += 3 * torch.randn(1, 4, 5)
    assert torch.equal(loss(logits, masks), loss(changed, masks))


def test_without_a_label_it_is_zero_with_a_graph() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255))
    value.backward()
    assert float(value.detach()) == 0.0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0
