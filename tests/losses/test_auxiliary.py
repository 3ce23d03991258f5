"""The semantic encoding loss against a slow twin."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import ConfigError
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.losses.auxiliary import AUX_LOSSES, class_presence, semantic_encoding
from segwright.types import SegmentationOutput


def twin(prediction: NDArray[np.float64], masks: NDArray[np.int64], ignore: int) -> float:
    """Mean binary cross-entropy of the sigmoid, over classes and labelled pictures, one at a time."""
    losses = []
    for scores, mask in zip(prediction, masks, strict=True):
        if (mask == ignore).all():
            continue
        for index, score in enumerate(scores):
            probability = 1 / (1 + np.exp(-score))
            losses.append(-np.log(probability if (mask[mask != ignore] == index).any() else 1 - probability))
    return float(np.mean(losses)) if losses else 0.0


def loss_of(prediction: Tensor, masks: Tensor, ignore: int = 255) -> Tensor:
    return semantic_encoding(prediction, masks, pixel_loss=cross_entropy, ignore_index=ignore)


def test_presence_of_a_known_mask() -> None:
    masks = torch.tensor([[[0, 0, 2], [2, 2, 255]], [[255, 255, 255], [255, 255, 255]]])
    assert class_presence(masks, 4, 255).tolist() == [[True, False, True, False], [False] * 4]


@pytest.mark.parametrize("ignore", [255, -1, 1])
def test_ignored_pixels_are_no_class_whatever_their_value(ignore: int) -> None:
    """Also where the value is that of a class: with 300 of them 255 is one."""
    masks = torch.tensor([[[0, ignore], [2, ignore]]])
    assert class_presence(masks, 300, ignore).nonzero().tolist() == [[0, 0], [0, 2]]


@pytest.mark.parametrize("ignore", [255, 3])
@pytest.mark.parametrize("num_classes", [1, 6])
def test_loss_equals_the_slow_twin(ignore: int, num_classes: int) -> None:
    rng = np.random.default_rng(0)
    prediction = rng.normal(size=(4, num_classes)) * 3
    masks = rng.choice([*range(num_classes), ignore], size=(4, 2, 2))
    masks[2] = ignore
    got = loss_of(torch.from_numpy(prediction), torch.from_numpy(masks), ignore)
    assert float(got) == pytest.approx(twin(prediction, masks, ignore), rel=1e-12)


def test_pictures_without_a_label_add_nothing() -> None:
    prediction = torch.tensor([[2.0, -1.0], [5.0, 5.0]], requires_grad=True)
    masks = torch.stack([torch.zeros(3, 3, dtype=torch.long), torch.full((3, 3), 255)])
    loss = loss_of(prediction, masks)
    loss.backward()
    assert loss.item() == pytest.approx(loss_of(prediction[:1], masks[:1]).item())
    assert prediction.grad is not None
    assert prediction.grad[0].all()
    assert not prediction.grad[1].any()


def test_no_label_at_all_gives_zero_with_a_graph() -> None:
    prediction = torch.ones(2, 3, requires_grad=True)
    loss = loss_of(prediction, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_order_and_size_of_masks_do_not_matter() -> None:
    prediction, masks = torch.randn(2, 5), torch.randint(5, (2, 6, 6))
    shuffled = masks.flatten(1)[:, torch.randperm(36)].view(2, 4, 9)
    assert torch.equal(loss_of(prediction, shuffled), loss_of(prediction, masks))
    assert torch.equal(loss_of(prediction, masks.repeat(1, 2, 2)), loss_of(prediction, masks))


def test_it_joins_the_loss_of_a_network_by_name_in_float32() -> None:
    output = SegmentationOutput(torch.randn(2, 3, 4, 4), {"presence": torch.randn(2, 3).bfloat16()})
    loss_fn = SegmentationLoss(cross_entropy, {"presence": 0.2}, aux_losses={"presence": "semantic_encoding"})
    masks = torch.randint(3, (2, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        losses = loss_fn(output, masks)
    assert losses["presence"].dtype == torch.float32
    assert torch.equal(losses["presence"], loss_of(output.aux["presence"].float(), masks))
    assert losses["loss"].item() == pytest.approx((losses["main"] + 0.2 * losses["presence"]).item())


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'semantic_encoding'"):
        AUX_LOSSES["semantic_encodings"]
