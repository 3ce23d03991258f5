"""The bound from given peaks, and that the machine is measured at all."""

import pytest
import torch

from segwright.deploy import roofline as roofline_module
from segwright.deploy.cost import Cost, Operation
from segwright.deploy.roofline import BYTES, Roofline, measure_roofline


def test_each_operation_is_bound_by_the_slower_of_arithmetic_and_memory() -> None:
    roofline = Roofline("fp32", flops=100.0, bandwidth=8.0)
    by_arithmetic, by_memory = Operation(1000, 1), Operation(1, 20)
    assert roofline.bound(Cost(0, (by_arithmetic,))) == 10
    assert roofline.bound(Cost(0, (by_memory,))) == 10
    assert roofline.bound(Cost(0, (by_arithmetic, by_memory))) == 20


def test_half_as_wide_numbers_are_copied_in_half_the_time() -> None:
    cost = Cost(0, (Operation(0, 20),))
    assert Roofline("bf16", 1.0, 8.0).bound(cost) == Roofline("fp32", 1.0, 8.0).bound(cost) / 2


def test_the_best_of_two_measurements_is_taken_of_each() -> None:
    assert Roofline("fp32", 2.0, 3.0).best(Roofline("fp32", 1.0, 4.0)) == Roofline("fp32", 2.0, 4.0)


@pytest.mark.parametrize("precision", list(BYTES))
def test_a_machine_computes_and_copies_and_torch_keeps_its_threads(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline_module, "_SECONDS", 0.001)
    before = torch.get_num_threads()
    roofline = measure_roofline(precision, 1, side=64, copied=1 << 12)
    assert roofline.precision == precision
    assert roofline.flops > 0 < roofline.bandwidth
    assert torch.get_num_threads() == before
