import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.losses import AUX_LOSSES, SegmentationLoss, cross_entropy, ohem_cross_entropy
from segwright.losses.auxiliary import positions
from segwright.types import SegmentationOutput

label_guidance = AUX_LOSSES["label_guidance"]


def guided(logits: Tensor, masks: Tensor) -> Tensor:
    return label_guidance(logits, masks, pixel_loss=cross_entropy, ignore_index=255)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 17), (50, 35)])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_logits_meet_the_label_of_every_stride_th_pixel(size: tuple[int, int], stride: int) -> None:
    masks = torch.randint(4, (2, *size))
    wanted = masks[:, ::stride, ::stride]
    logits = torch.randn(2, 4, *wanted.shape[-2:])
    torch.testing.assert_close(guided(logits, masks), F.cross_entropy(logits, wanted))


def test_at_dividing_sizes_it_is_torch_s_nearest_neighbour() -> None:
    masks, logits = torch.randint(4, (2, 64, 96)), torch.randn(2, 4, 4, 6)
    nearest = F.interpolate(masks[:, None].float(), (4, 6), mode="nearest")[:, 0].long()
    torch.testing.assert_close(guided(logits, masks), F.cross_entropy(logits, nearest))


@pytest.mark.parametrize(("pixels", "cells", "last"), [(1025, 65, 1024), (1024, 64, 1008), (17, 2, 16), (1, 1, 0)])
def test_positions_are_a_power_of_two_apart(pixels: int, cells: int, last: int) -> None:
    found = positions(pixels, cells)
    assert len(found) == cells
    assert int(found[0]) == 0
    assert int(found[-1]) == last


def test_positions_of_a_map_that_is_too_large_stay_inside() -> None:
    """As where a network's pooling rounds up."""
    assert positions(128, 9).tolist() == [0, 16, 32, 48, 64, 80, 96, 112, 127]
    assert positions(3, 5).tolist() == [0, 1, 2, 2, 2]


def test_ignored_pixels_add_no_loss() -> None:
    masks, logits = torch.randint(3, (2, 16, 16)), torch.randn(2, 3, 2, 2)
    masks[1] = 255
    torch.testing.assert_close(guided(logits, masks), F.cross_entropy(logits[:1], masks[:1, ::8, ::8]))


def test_without_a_label_the_loss_is_zero_with_a_graph() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = guided(logits, torch.full((1, 16, 16), 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_run_s_own_pixel_loss_is_used() -> None:
    masks, logits = torch.randint(3, (2, 32, 32)), torch.randn(2, 3, 8, 8)
    loss = SegmentationLoss(ohem_cross_entropy, {"low": 0.16}, aux_losses={"low": "label_guidance"})
    losses = loss(SegmentationOutput(logits, {"low": logits}), masks)
    torch.testing.assert_close(losses["low"], ohem_cross_entropy(logits, masks[:, ::4, ::4]))
    torch.testing.assert_close(losses["loss"], losses["main"] + 0.16 * losses["low"])


def test_the_main_prediction_can_be_guided_too() -> None:
    masks, logits = torch.randint(3, (2, 32, 32)), torch.randn(2, 3, 8, 8)
    loss = SegmentationLoss(F.cross_entropy, {}, aux_losses={"main": "label_guidance"})
    torch.testing.assert_close(
        loss(SegmentationOutput(logits, {}), masks)["loss"], F.cross_entropy(logits, masks[:, ::4, ::4])
    )
