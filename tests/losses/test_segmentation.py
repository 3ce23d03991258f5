import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segwright.errors import ShapeError
from segwright.losses import SegmentationLoss, cross_entropy, dice, ohem_cross_entropy
from segwright.losses.segmentation import Grid, interpolate_at
from segwright.types import SegmentationOutput

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "losses.json").read_text())


def random_output(num_classes: int = 4, size: tuple[int, int] = (5, 7)) -> SegmentationOutput:
    height, width = size
    return SegmentationOutput(
        torch.randn(2, num_classes, height, width),
        {
            "detail": torch.randn(2, num_classes, height, width),
            "context": torch.randn(2, num_classes, -(-height // 4), -(-width // 4)),
        },
    )


def enlarged(logits: Tensor, masks: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize(
    ("weights", "name"),
    [({}, "SegmentationLosses(plain, ignore -1)"), ({"aux": 0.4}, "SegmentationLosses(aux 0.4) pred2 = 0.5*logits")],
)
def test_loss_equals_fastfcn_s_recorded_value(weights: dict[str, float], name: str) -> None:
    with np.load(GOLDEN / "losses.npz") as arrays:
        logits, masks = torch.from_numpy(arrays["logits"]), torch.from_numpy(arrays["masks"])
    output = SegmentationOutput(logits, dict.fromkeys(weights, 0.5 * logits))
    loss = SegmentationLoss(cross_entropy, weights)(output, masks)["loss"]
    assert float(loss) == pytest.approx(RECORDED["FastFCN SegmentationLosses"][name], rel=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_loss_is_the_weighted_sum_over_enlarged_predictions(align_corners: bool) -> None:
    output, masks = random_output(), torch.randint(4, (2, 37, 53))
    masks[:, 5:9] = 255
    weights = {"context": 0.4, "detail": 0.25}
    losses = SegmentationLoss(cross_entropy, weights, align_corners=align_corners)(output, masks)
    wanted = {
        name: F.cross_entropy(enlarged(logits, masks, align_corners), masks, ignore_index=255)
        for name, logits in {"main": output.logits, **output.aux}.items()
    }
    wanted["loss"] = wanted["main"] + 0.4 * wanted["context"] + 0.25 * wanted["detail"]
    torch.testing.assert_close(losses, wanted)


def test_outputs_and_weights_are_paired_by_name_whatever_their_order() -> None:
    output, masks = random_output(), torch.randint(4, (2, 20, 28))
    turned = SegmentationOutput(output.logits, dict(reversed(output.aux.items())))
    loss = SegmentationLoss(cross_entropy, {"detail": 1.0, "context": 0.1})
    torch.testing.assert_close(loss(output, masks)["loss"], loss(turned, masks)["loss"])
    other = SegmentationLoss(cross_entropy, {"detail": 0.1, "context": 1.0})
    assert not torch.isclose(other(output, masks)["loss"], loss(output, masks)["loss"])


@pytest.mark.parametrize(
    "weights", [{}, {"detail": 0.4}, {"detail": 0.4, "contxt": 0.4}, {"detail": 1, "context": 1, "x": 1}]
)
def test_output_without_weight_or_weight_without_output_is_an_error(weights: dict[str, float]) -> None:
    with pytest.raises(ShapeError, match=r"auxiliary outputs \['context', 'detail'\] and weights"):
        SegmentationLoss(cross_entropy, weights)(random_output(), torch.zeros(2, 9, 9))


def test_evaluation_output_is_an_error_when_aux_is_expected() -> None:
    with pytest.raises(ShapeError, match="put the network into training mode"):
        SegmentationLoss(cross_entropy, {"aux": 0.4})(
            SegmentationOutput(torch.zeros(1, 2, 4, 4), {}), torch.zeros(1, 4, 4)
        )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_masks_may_have_any_integer_type(dtype: torch.dtype) -> None:
    output, masks = random_output(), torch.randint(4, (2, 20, 28))
    loss = SegmentationLoss(cross_entropy, {"detail": 0.4, "context": 0.4})
    assert torch.equal(loss(output, masks.to(dtype))["loss"], loss(output, masks)["loss"])


def test_bf16_predictions_under_autocast_give_a_float32_loss_and_gradient() -> None:
    logits, masks = torch.randn(2, 4, 5, 7).bfloat16(), torch.randint(4, (2, 37, 53))
    loss = SegmentationLoss(cross_entropy, {})
    values, gradients = [], []
    for is_autocast in (False, True):
        leaf = logits.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_autocast):
            value = loss(SegmentationOutput(leaf, {}), masks)["loss"]
        value.backward()
        assert value.dtype == torch.float32
        values.append(value.detach())
        gradients.append(leaf.grad)
    assert torch.equal(*values)
    torch.testing.assert_close(*gradients)
    wanted = F.cross_entropy(enlarged(logits.float(), masks, align_corners=False), masks)
    torch.testing.assert_close(values[0], wanted)


@pytest.mark.parametrize("pixel_loss", [cross_entropy, ohem_cross_entropy])
@pytest.mark.parametrize("stride", [1, 4])
def test_batch_without_a_valid_pixel_gives_zero_with_a_graph(pixel_loss: object, stride: int) -> None:
    logits = torch.randn(2, 4, 5, 7, requires_grad=True)
    loss = SegmentationLoss(pixel_loss, {}, pixel_stride=stride)  # type: ignore[arg-type]
    value = loss(SegmentationOutput(logits, {}), torch.full((2, 40, 56), 255))["loss"]
    value.backward()
    assert value == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("target", [(1, 1), (1, 9), (5, 7), (8, 6), (37, 53), (33, 97), (64, 96)])
@pytest.mark.parametrize("source", [(1, 1), (1, 7), (5, 7), (8, 12), (16, 3)])
def test_interpolation_equals_torch_s(source: tuple[int, int], target: tuple[int, int], align_corners: bool) -> None:
    maps = torch.randn(2, 3, *source, dtype=torch.float64)
    got = interpolate_at(maps, Grid(target[0]), Grid(target[1]), align_corners=align_corners)
    wanted = F.interpolate(maps, target, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)  # the weights are float32


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("phase", "stride"), [((0, 0), 1), ((0, 0), 4), ((3, 1), 4), ((2, 2), 3), ((6, 0), 7)])
def test_interpolation_at_a_grid_is_that_subset_of_all(
    phase: tuple[int, int], stride: int, align_corners: bool
) -> None:
    maps = torch.randn(2, 3, 5, 7)
    (top, left), (height, width) = phase, (37, 53)
    got = interpolate_at(maps, Grid(height, top, stride), Grid(width, left, stride), align_corners=align_corners)
    every = interpolate_at(maps, Grid(height), Grid(width), align_corners=align_corners)
    torch.testing.assert_close(got, every[:, :, top::stride, left::stride])


def strided_losses(
    monkeypatch: pytest.MonkeyPatch, output: SegmentationOutput, masks: Tensor, stride: int
) -> dict[tuple[int, int], Tensor]:
    """The main loss for each first row and column that can be drawn."""
    losses, loss = {}, SegmentationLoss(cross_entropy, {}, pixel_stride=stride)
    for phase in itertools.product(range(stride), repeat=2):
        draws = iter(phase)
        monkeypatch.setattr(torch, "randint", lambda high, size, draws=draws: torch.tensor(next(draws)))
        losses[phase] = loss(output, masks)["main"]
    monkeypatch.undo()
    return losses


@pytest.mark.parametrize("stride", [2, 4])
def test_strided_losses_average_to_the_full_loss(monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    output, masks = SegmentationOutput(torch.randn(2, 4, 5, 7), {}), torch.randint(4, (2, 40, 56))
    losses = strided_losses(monkeypatch, output, masks, stride)
    assert len({float(loss) for loss in losses.values()}) == stride**2
    full = SegmentationLoss(cross_entropy, {})(output, masks)["main"]
    torch.testing.assert_close(torch.stack(list(losses.values())).mean(), full)


def test_strided_loss_reads_the_drawn_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    output, masks = SegmentationOutput(torch.randn(2, 4, 5, 7), {}), torch.randint(4, (2, 37, 53))
    full = enlarged(output.logits, masks, align_corners=False)
    for (top, left), loss in strided_losses(monkeypatch, output, masks, 3).items():
        torch.testing.assert_close(loss, F.cross_entropy(full[:, :, top::3, left::3], masks[:, top::3, left::3]))


def test_every_first_row_and_column_is_drawn() -> None:
    """Each pixel counts in one of the 9 losses, and over many draws every pixel has counted."""
    seen = torch.zeros(6, 9)

    def note(logits: Tensor, masks: Tensor) -> Tensor:
        seen.view(-1)[masks.flatten()] += 1
        return logits.sum()

    loss = SegmentationLoss(note, {}, pixel_stride=3)
    for _ in range(100):
        loss(SegmentationOutput(torch.zeros(1, 2, 2, 3), {}), torch.arange(54).view(1, 6, 9))
    assert seen.sum() == 100 * 6
    assert seen.all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_stride_beyond_the_masks_size_still_reads_a_pixel(size: tuple[int, int]) -> None:
    loss = SegmentationLoss(cross_entropy, {"detail": 1, "context": 1}, pixel_stride=8, aux_pixel_stride=16)
    output = random_output(size=(1, 1))
    for _ in range(20):
        losses = loss(output, torch.zeros(2, *size))
        assert all(value.isfinite() and value > 0 for value in losses.values())


def test_main_and_auxiliary_losses_have_their_own_stride() -> None:
    sizes = []

    def note(logits: Tensor, masks: Tensor) -> Tensor:
        sizes.append((tuple(logits.shape[-2:]), tuple(masks.shape[-2:])))
        return logits.mean()

    loss = SegmentationLoss(note, {"detail": 1, "context": 1}, pixel_stride=2, aux_pixel_stride=4)
    loss(random_output(), torch.zeros(2, 40, 56))
    assert sizes == [((20, 28), (20, 28)), ((10, 14), (10, 14)), ((10, 14), (10, 14))]


@pytest.mark.parametrize("stride", [1, 2])
def test_dice_is_added_by_its_weight_at_the_pixels_that_count(stride: int) -> None:
    logits, masks = torch.randn(2, 4, 6, 8), torch.randint(4, (2, 6, 8))
    masks[:, :2] = 255
    losses = SegmentationLoss(cross_entropy, {}, pixel_stride=stride, dice_weight=0.5)(
        SegmentationOutput(logits, {}), masks
    )
    samples = [
        dice(logits[..., top::stride, left::stride], masks[:, top::stride, left::stride], ignore_index=255)
        for top, left in itertools.product(range(stride), repeat=2)
    ]
    assert any(torch.isclose(losses["dice"], sample) for sample in samples)
    torch.testing.assert_close(losses["loss"], losses["main"] + 0.5 * losses["dice"])
