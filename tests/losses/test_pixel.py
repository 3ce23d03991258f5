import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segwright.errors import ConfigError
from segwright.losses import LOSSES, cross_entropy, ohem_cross_entropy, ohem_cross_entropy_by_loss

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "losses.json").read_text())

PixelLoss = Callable[..., Tensor]
LOSS_FUNCTIONS = [cross_entropy, ohem_cross_entropy, ohem_cross_entropy_by_loss]
every_loss = pytest.mark.parametrize("loss", LOSS_FUNCTIONS)


@pytest.fixture(scope="module")
def recorded_case() -> tuple[Tensor, Tensor]:
    """(2, 19, 48, 64) logits and masks with ignored pixels, of which the recorded losses are."""
    with np.load(GOLDEN / "losses.npz") as arrays:
        return torch.from_numpy(arrays["logits"]), torch.from_numpy(arrays["masks"]).long()


def random_case(seed: int = 0, num_classes: int = 4, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, num_classes, 5, 7, generator=generator)
    masks = torch.randint(num_classes, (2, 5, 7), generator=generator)
    masks[torch.rand(masks.shape, generator=generator) < ignored] = 255
    return logits, masks


def slow_losses(
    logits: Tensor, masks: Tensor, weight: NDArray[np.float64] | None = None, smoothing: float = 0.0
) -> tuple[list[float], list[float], list[float]]:
    """Loss, weight and probability of the true class of each valid pixel, one at a time."""
    losses, weights, probabilities = [], [], []
    for n, y, x in np.ndindex(*masks.shape):
        truth = int(masks[n, y, x])
        if truth != 255:
            scores = logits[n, :, y, x].double().numpy()
            log_probability = scores - np.log(np.exp(scores).sum())
            factors = np.ones_like(scores) if weight is None else weight
            target = np.full_like(scores, smoothing / len(scores))
            target[truth] += 1 - smoothing
            losses.append(float(-(target * factors * log_probability).sum()))
            weights.append(float(factors[truth]))
            probabilities.append(math.exp(log_probability[truth]))
    return losses, weights, probabilities


def slow_ohem(logits: Tensor, masks: Tensor, threshold: float, min_kept: int) -> float:
    losses, _, probabilities = slow_losses(logits, masks)
    hardest_first = sorted(zip(probabilities, losses, strict=True))
    hard = [loss for probability, loss in hardest_first if probability <= threshold]
    return float(np.mean(hard if len(hard) >= min_kept else [loss for _, loss in hardest_first[:min_kept]]))


def test_cross_entropy_equals_torch_s_recorded_value(recorded_case: tuple[Tensor, Tensor]) -> None:
    assert float(cross_entropy(*recorded_case)) == pytest.approx(
        RECORDED["torch"]["cross_entropy(ignore_index=255)"], rel=1e-6
    )


@pytest.mark.parametrize("min_kept", [100, 2000, 4000, 5000])
def test_hard_examples_by_probability_equal_torchseg(recorded_case: tuple[Tensor, Tensor], min_kept: int) -> None:
    wanted = RECORDED["hard examples"][f"TorchSeg ProbOhemCrossEntropy2d(thresh 0.7, min_kept={min_kept})"]
    assert float(ohem_cross_entropy(*recorded_case, min_kept=min_kept)) == pytest.approx(wanted, rel=1e-6)


def test_hard_examples_with_class_weights_equal_torchseg(recorded_case: tuple[Tensor, Tensor]) -> None:
    wanted = RECORDED["hard examples"]["TorchSeg ProbOhemCrossEntropy2d(thresh 0.7, min_kept=1000, use_weight)"]
    weight = torch.tensor(RECORDED["hard examples"]["TorchSeg class weights (use_weight)"])
    assert float(ohem_cross_entropy(*recorded_case, min_kept=1000, weight=weight)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("min_kept", [256, 4000, 5000])
def test_hard_examples_by_probability_equal_tramac(recorded_case: tuple[Tensor, Tensor], min_kept: int) -> None:
    name = f"Tramac SoftmaxCrossEntropyOHEMLoss(thresh 0.7, min_kept={min_kept}, use_weight False)"
    assert float(ohem_cross_entropy(*recorded_case, min_kept=min_kept)) == pytest.approx(
        RECORDED["hard examples"][name], rel=1e-6
    )


@pytest.mark.parametrize("threshold", [0.7, 0.3, 0.01])
def test_hard_examples_by_loss_equal_coincheung(recorded_case: tuple[Tensor, Tensor], threshold: float) -> None:
    wanted = RECORDED["hard examples"][f"CoinCheung OhemCELoss(thresh {threshold}) (n_min = valid // 16)"]
    assert float(ohem_cross_entropy_by_loss(*recorded_case, threshold=threshold)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0, 0.5]])
def test_cross_entropy_equals_a_loop_over_pixels(seed: int, smoothing: float, weight: list[float] | None) -> None:
    logits, masks = random_case(seed)
    losses, weights, _ = slow_losses(logits, masks, None if weight is None else np.array(weight), smoothing)
    got = cross_entropy(
        logits, masks, weight=None if weight is None else torch.tensor(weight), label_smoothing=smoothing
    )
    assert float(got) == pytest.approx(sum(losses) / sum(weights), rel=1e-5)


@pytest.mark.parametrize("min_kept", [1, 10, 40, 10_000])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("loss", [ohem_cross_entropy, ohem_cross_entropy_by_loss])
def test_hard_examples_equal_a_loop_over_pixels(loss: PixelLoss, threshold: float, min_kept: int) -> None:
    logits, masks = random_case(seed=3)
    got = loss(logits, masks, threshold=threshold, min_kept=min_kept)
    assert float(got) == pytest.approx(slow_ohem(logits, masks, threshold, min_kept), rel=1e-5)


def test_as_many_examples_are_kept_as_the_docstrings_say() -> None:
    """K is a sixteenth of all pixels by probability, of the valid ones by loss."""
    logits, masks = random_case(seed=4)
    valid = int((masks != 255).sum())
    assert masks.numel() // 16 != valid // 16
    by_probability = ohem_cross_entropy(logits, masks, threshold=1e-9)
    assert float(by_probability) == pytest.approx(slow_ohem(logits, masks, 1e-9, masks.numel() // 16), rel=1e-5)
    by_loss = ohem_cross_entropy_by_loss(logits, masks, threshold=1e-9)
    assert float(by_loss) == pytest.approx(slow_ohem(logits, masks, 1e-9, valid // 16), rel=1e-5)


def test_more_examples_wanted_than_there_are_keeps_all() -> None:
    logits, masks = random_case()
    for loss in (ohem_cross_entropy, ohem_cross_entropy_by_loss):
        assert float(loss(logits, masks, min_kept=10**6)) == pytest.approx(
            float(cross_entropy(logits, masks)), rel=1e-6
        )


@every_loss
def test_ignored_pixels_add_no_loss_and_no_gradient(loss: PixelLoss) -> None:
    logits, masks = random_case()
    ignored = (masks == 255)[:, None].expand_as(logits)
    other = torch.where(ignored, 50 * torch.randn_like(logits), logits).requires_grad_()
    value = loss(other, masks, min_kept=9) if loss is not cross_entropy else loss(other, masks)
    value.backward()
    expected = loss(logits, masks, min_kept=9) if loss is not cross_entropy else loss(logits, masks)
    assert torch.equal(value.detach(), expected)
    assert other.grad is not None
    assert not other.grad[ignored].any()
    assert other.grad[~ignored].any()


@every_loss
def test_another_ignored_value_is_honoured(loss: PixelLoss) -> None:
    logits, masks = random_case()
    assert torch.equal(loss(logits, torch.where(masks == 255, -1, masks), ignore_index=-1), loss(logits, masks))


@every_loss
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0, 4.0])])
def test_batch_without_a_valid_pixel_gives_zero_with_a_graph(loss: PixelLoss, weight: Tensor | None) -> None:
    logits = random_case()[0].requires_grad_()
    value = loss(logits, torch.full((2, 5, 7), 255), weight=weight)
    value.backward()
    assert value == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_logits_are_computed_in_float32(loss: PixelLoss, dtype: torch.dtype) -> None:
    logits, masks = random_case()
    value = loss(logits.to(dtype), masks)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.to(dtype).float(), masks))


@every_loss
def test_huge_logits_give_a_finite_loss_and_gradient(loss: PixelLoss) -> None:
    logits = (1e4 * random_case()[0]).requires_grad_()
    value = loss(logits, random_case()[1])
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradient_of_cross_entropy_is_torch_s() -> None:
    logits, masks = random_case()
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    cross_entropy(ours, masks).backward()
    F.cross_entropy(theirs, masks, ignore_index=255).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_losses_are_found_by_name() -> None:
    assert list(LOSSES) == [
        "cross_entropy",
        "image_weighted_cross_entropy",
        "ohem_cross_entropy",
        "ohem_cross_entropy_by_loss",
    ]
    assert LOSSES["cross_entropy"] is cross_entropy
    with pytest.raises(ConfigError, match="unknown loss 'ohem'"):
        LOSSES["ohem"]
