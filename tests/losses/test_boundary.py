"""Losses of class boundaries beside the released Gated-SCNN's, where those work, and beside slow ones."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.losses import LOSSES, SegmentationLoss, cross_entropy
from segwright.losses.boundary import (
    JOINT_LOSSES,
    balanced_edges,
    boundary_strength,
    dual_task_from,
    dual_task_to,
    edge_labels,
    image_weighted_cross_entropy,
)
from segwright.types import SegmentationOutput
from tests.support.compare import distance

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "gscnn__boundary.json").read_text())["losses"]


def recorded() -> dict[str, Tensor]:
    """Logits and masks that the released code was given, and what it made of them."""
    arrays = {}
    for name in ("losses", "gscnn__boundary"):
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays |= {key: torch.from_numpy(file[key]) for key in file}
    return arrays | {"masks": arrays["masks"].long()}


def slow_edges(masks: Tensor, radius: int, ignore_index: int) -> Tensor:
    labels = torch.where(masks == ignore_index, 255, 0)
    for place in (masks != ignore_index).nonzero().tolist():
        for other in (masks[place[0]] != ignore_index).nonzero().tolist():
            near = math.dist(place[1:], other) <= radius
            if near and masks[tuple(place)] != masks[(place[0], *other)]:
                labels[tuple(place)] = 1
    return labels


def random_masks(size: tuple[int, int] = (12, 16), classes: int = 4) -> Tensor:
    """Areas of classes, some without a label."""
    coarse = torch.randint(classes + 1, (2, -(-size[0] // 4), -(-size[1] // 4)))
    masks = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, : size[0], : size[1]]
    return torch.where(masks == classes, 255, masks)


def edge_loss(logits: Tensor, masks: Tensor) -> Tensor:
    return balanced_edges(logits, masks, pixel_loss=cross_entropy, ignore_index=255)


def output_of(masks: Tensor, sharpness: float = 100.0, classes: int = 4) -> SegmentationOutput:
    """Logits that are sure of the masks, edges that are sure of theirs."""
    one_hot = F.one_hot(torch.where(masks == 255, 0, masks), classes).permute(0, 3, 1, 2).float()
    edges = torch.where(edge_labels(masks) == 1, 9.0, -9.0)[:, None]
    return SegmentationOutput(one_hot * sharpness, {"edges": edges})


def test_edge_labels_equal_the_released_code_s() -> None:
    """Of which class 0 and ignored pixels are the ground, and the picture's border is an edge of every other class."""
    arrays = recorded()
    ground = torch.where(arrays["masks"] == 255, 0, arrays["masks"])
    got = edge_labels(F.pad(ground, (2, 2, 2, 2)), ignore_index=-1)[:, 2:-2, 2:-2]
    assert torch.equal(got, arrays["edge_labels"])


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (9, 12)])
def test_edge_labels_equal_slow_ones(size: tuple[int, int], radius: int) -> None:
    masks = random_masks(size)
    assert torch.equal(edge_labels(masks, radius=radius).long(), slow_edges(masks, radius, 255))


def test_edges_of_a_half_plane_are_two_pixels_on_each_side() -> None:
    masks = torch.zeros(1, 8, 20, dtype=torch.long)
    masks[..., 10:] = 3
    expected = torch.zeros(1, 8, 20, dtype=torch.uint8)
    expected[..., 8:12] = 1
    assert torch.equal(edge_labels(masks), expected)


def test_neither_the_border_of_the_picture_nor_that_of_ignored_pixels_is_an_edge() -> None:
    masks = torch.full((1, 9, 9), 4)
    masks[:, :, 6:] = 255
    assert edge_labels(masks).unique().tolist() == [0, 255]


def test_class_0_has_edges_too() -> None:
    masks = torch.zeros(1, 3, 3, dtype=torch.long)
    masks[:, 1, 1] = 7
    assert edge_labels(masks, radius=1).tolist() == [[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]


def test_balanced_loss_equals_the_released_code_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given its labels, and probabilities for logits, which is one of its defects."""
    arrays = recorded()
    monkeypatch.setattr("segwright.losses.boundary.edge_labels", lambda *_, **__: arrays["edge_labels"])
    got = edge_loss(arrays["edge_probability"], arrays["masks"])
    assert float(got) == pytest.approx(RECORDED["balanced edges of probabilities taken for logits"], rel=1e-5)


def test_balanced_loss_equals_its_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([[[1, 0], [0, 0]]], dtype=torch.uint8)
    monkeypatch.setattr("segwright.losses.boundary.edge_labels", lambda *_, **__: labels)
    logits = torch.tensor([[[[0.3, -1.0], [2.0, 0.0]]]])
    p = logits.sigmoid().flatten().double()
    expected = -(3 / 4 * p[0].log() + 1 / 4 * (1 - p[1:]).log().sum()) / 4
    assert float(edge_loss(logits, torch.zeros(1, 2, 2, dtype=torch.long))) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("value", [0, 255])
def test_balanced_loss_without_an_edge_is_0_with_a_graph(value: int) -> None:
    logits = torch.randn(1, 1, 5, 5, requires_grad=True)
    loss = edge_loss(logits, torch.full((1, 5, 5), value))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_sure_and_right_edge_costs_nothing_and_its_opposite_much() -> None:
    masks = random_masks()
    edges = output_of(masks).aux["edges"]
    assert edge_loss(edges, masks) < 1e-3
    assert edge_loss(-edges, masks) > 1


def test_gradient_of_class_maps_equals_the_released_code_s_with_its_filters_on() -> None:
    """But for a factor (it divides by the batch's largest value) and what lies within reach of the border."""
    arrays = recorded()
    logits = arrays["logits"]
    valid = torch.ones_like(logits[:, :1], dtype=torch.bool)
    strength = boundary_strength(logits.softmax(1), valid)[:1, :3, 6:-6, 6:-6]
    step = 9 / 25  # of which ours is a multiple; theirs is of half the difference, and adds 1e-6 under the root
    theirs = arrays["gradient_of_three_classes"][..., 6:-6, 6:-6]
    ratio = ((strength * step / 2).square() + 1e-6).sqrt() / theirs
    assert distance(ratio / ratio.mean() * theirs, theirs) < 1e-4


def test_boundary_strength_is_0_on_a_plain_and_1_at_a_step() -> None:
    valid = torch.ones(1, 1, 20, 30, dtype=torch.bool)
    assert boundary_strength(torch.ones(1, 2, 20, 30), valid).max() < 1e-4
    maps = torch.zeros(1, 1, 20, 30)
    maps[..., 15:] = 1
    strength = boundary_strength(maps, valid)
    assert torch.allclose(strength[..., 14:16], torch.tensor(1.0), atol=1e-5)
    assert strength.max() == strength[..., 14:16].max()
    assert strength[..., :9].max() < 1e-4


def test_border_of_ignored_pixels_is_no_boundary() -> None:
    valid = torch.ones(1, 1, 20, 30, dtype=torch.bool)
    valid[..., 12:18] = False
    maps = torch.where(valid, 1.0, 0.0)
    assert boundary_strength(maps, valid)[valid].max() < 1e-4


def test_dual_task_is_0_where_the_prediction_is_the_mask() -> None:
    masks = random_masks()
    right = dual_task_to(output_of(masks), masks, temperature=0.01, noise=False)
    wrong = dual_task_to(output_of(masks.flip(2)), masks, temperature=0.01, noise=False)
    assert right < 1e-5
    assert wrong > 0.1


def test_dual_task_punishes_a_boundary_in_the_wrong_place_more_the_farther_it_is() -> None:
    masks = torch.zeros(1, 24, 48, dtype=torch.long)
    masks[..., 20:] = 1
    losses = [float(dual_task_to(output_of(masks.roll(shift, 2)), masks, noise=False)) for shift in (0, 1, 3)]
    assert losses == sorted(losses)
    assert losses[0] < 1e-5 < losses[1]


def test_dual_task_has_a_gradient_that_moves_the_boundary() -> None:
    masks = torch.zeros(1, 16, 32, dtype=torch.long)
    masks[..., 16:] = 1
    logits = output_of(masks.roll(2, 2), sharpness=3.0, classes=2).logits.requires_grad_()
    before = dual_task_to(SegmentationOutput(logits, {}), masks, noise=False)
    before.backward()
    assert logits.grad is not None
    with torch.no_grad():
        after = dual_task_to(SegmentationOutput(logits - 20 * logits.grad, {}), masks, noise=False)
    assert after < before


def test_noise_is_gumbel_s() -> None:
    """Its argmax draws from the softmax: a class of probability 0.8 wins in 80 of 100 pixels."""
    logits = torch.log(torch.tensor([0.8, 0.2])).view(1, 2, 1, 1).expand(1, 2, 200, 200)
    noise = -torch.empty_like(logits).exponential_().log()
    assert float(((logits + noise).argmax(1) == 0).float().mean()) == pytest.approx(0.8, abs=0.01)
    masks = torch.zeros(1, 200, 200, dtype=torch.long)
    draws = [float(dual_task_to(SegmentationOutput(logits, {}), masks)) for _ in range(2)]
    assert draws[0] != draws[1]


def test_from_term_counts_pixels_above_0_8_only() -> None:
    masks, logits = random_masks(), torch.randn(2, 4, 12, 16)
    edges = torch.logit(torch.rand(2, 1, 12, 16))
    is_counted = edges[:, 0].sigmoid() > 0.8
    assert is_counted.any()
    got = dual_task_from(SegmentationOutput(logits, {"edges": edges}), masks)
    assert got == cross_entropy(logits, torch.where(is_counted, masks, 255))
    elsewhere = torch.where(is_counted[:, None], logits, torch.randn_like(logits))
    assert dual_task_from(SegmentationOutput(elsewhere, {"edges": edges}), masks) == got
    assert dual_task_from(SegmentationOutput(logits, {"edges": torch.zeros_like(edges)}), masks) == 0


def test_image_weighted_losses_equal_the_released_code_s() -> None:
    arrays = recorded()
    logits, masks = arrays["logits"], arrays["masks"]
    got = {
        "image weighted, summed over 2 images": image_weighted_cross_entropy(logits, masks),
        "the same where the edge probability is above 0.8": image_weighted_cross_entropy(
            logits, torch.where(arrays["edge_probability"][:, 0] > 0.8, masks, 255)
        ),
    }
    for name, loss in got.items():
        assert 2 * float(loss) == pytest.approx(RECORDED[name], rel=1e-5)
    assert LOSSES["image_weighted_cross_entropy"] is image_weighted_cross_entropy


def test_image_without_a_label_does_not_thin_out_the_others() -> None:
    masks, logits = random_masks(), torch.randn(2, 4, 12, 16)
    masks[1] = 255
    alone = image_weighted_cross_entropy(logits[:1], masks[:1])
    assert torch.allclose(image_weighted_cross_entropy(logits, masks), alone)


@pytest.mark.parametrize("name", [*JOINT_LOSSES, "balanced_edges", "image_weighted_cross_entropy"])
class TestEveryLoss:
    def loss(self, name: str, output: SegmentationOutput, masks: Tensor) -> Tensor:
        torch.manual_seed(0)
        if name == "balanced_edges":
            return edge_loss(output.aux["edges"], masks)
        if name == "image_weighted_cross_entropy":
            return image_weighted_cross_entropy(output.logits, masks)
        return JOINT_LOSSES[name](output, masks, ignore_index=255)

    def random_output(self) -> SegmentationOutput:
        return SegmentationOutput(
            torch.randn(2, 4, 12, 16, requires_grad=True), {"edges": torch.randn(2, 1, 12, 16, requires_grad=True)}
        )

    def test_ignored_pixels_add_nothing(self, name: str) -> None:
        masks, output = random_masks(), self.random_output()
        is_ignored = (masks == 255)[:, None]
        assert is_ignored.any()
        changed = SegmentationOutput(
            torch.where(is_ignored, -output.logits, output.logits),
            {"edges": torch.where(is_ignored, -output.aux["edges"], output.aux["edges"])},
        )
        assert self.loss(name, output, masks) == self.loss(name, changed, masks)

    def test_batch_without_a_label_gives_0_and_a_gradient_of_0(self, name: str) -> None:
        output = self.random_output()
        loss = self.loss(name, output, torch.full((2, 12, 16), 255))
        loss.backward()
        gradients = [tensor.grad for tensor in (output.logits, output.aux["edges"]) if tensor.grad is not None]
        assert loss == 0
        assert gradients
        assert not any(gradient.any() for gradient in gradients)

    def test_gradient_is_finite_for_logits_of_any_size(self, name: str) -> None:
        for scale in (0.0, 1.0, 1e4):
            logits = (torch.randn(2, 4, 12, 16) * scale).requires_grad_()
            edges = (torch.randn(2, 1, 12, 16) * scale + 2).requires_grad_()
            loss = self.loss(name, SegmentationOutput(logits, {"edges": edges}), random_masks())
            loss.backward()
            assert loss.isfinite()
            assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in (logits, edges))


def test_network_s_loss_is_the_papers_sum() -> None:
    masks = random_masks((16, 24))
    output = SegmentationOutput(torch.randn(2, 4, 4, 6), {"edges": 3 * torch.randn(2, 1, 16, 24)})
    loss_fn = SegmentationLoss(
        cross_entropy,
        {"edges": 20.0},
        aux_losses={"edges": "balanced_edges"},
        joint_losses={"dual_task_to": 1.0, "dual_task_from": 1.0},
    )
    losses = loss_fn(output, masks)
    assert list(losses) == ["loss", "main", "edges", "dual_task_to", "dual_task_from"]
    expected = losses["main"] + 20 * losses["edges"] + losses["dual_task_to"] + losses["dual_task_from"]
    assert torch.allclose(losses["loss"], expected)
    full = SegmentationOutput(F.interpolate(output.logits, (16, 24), mode="bilinear"), output.aux)
    assert torch.allclose(losses["dual_task_from"], dual_task_from(full, masks), atol=1e-5)
    assert all(value > 0 for value in losses.values())
