import math

import pytest
import torch

from segwright.losses import class_weights

COUNTS = [600, 300, 0, 100]


def test_median_frequency_is_median_share_by_share() -> None:
    weights = class_weights(COUNTS, "median_frequency")
    assert weights.dtype == torch.float32
    assert float(weights[1] / weights[0]) == pytest.approx(2)
    assert float(weights[3] / weights[0]) == pytest.approx(6)


def test_log_is_one_by_logarithm_of_share() -> None:
    weights = class_weights(COUNTS, "log")
    assert float(weights[3] / weights[0]) == pytest.approx(math.log(1.02 + 0.6) / math.log(1.02 + 0.1))


def test_log_stays_within_a_factor_of_about_35() -> None:
    weights = class_weights([10**9, 1], "log")
    assert float(weights.max() / weights.min()) == pytest.approx(math.log(2.02) / math.log(1.02), rel=1e-3)


@pytest.mark.parametrize("rule", ["median_frequency", "log"])
@pytest.mark.parametrize("counts", [COUNTS, [1, 1, 1], [7], [0, 5], [10**12, 3, 10**6, 0, 12]])
def test_weights_average_to_one_over_the_pixels(rule: str, counts: list[int]) -> None:
    weights = class_weights(counts, rule).double()  # type: ignore[arg-type]
    pixels = torch.tensor(counts, dtype=torch.float64)
    assert float((weights * pixels).sum() / pixels.sum()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("rule", ["median_frequency", "log"])
def test_class_without_pixels_gets_one_and_rarer_ones_get_more(rule: str) -> None:
    weights = class_weights(COUNTS, rule)  # type: ignore[arg-type]
    assert weights[2] == 1
    assert weights[0] < weights[1] < weights[3]


@pytest.mark.parametrize("rule", ["median_frequency", "log"])
def test_no_pixels_at_all_give_ones(rule: str) -> None:
    assert class_weights([0, 0], rule).tolist() == [1, 1]  # type: ignore[arg-type]
