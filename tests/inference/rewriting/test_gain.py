"""The short measurements by which ``auto`` decides, with a clock of the tests' own."""

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from segwright.inference.rewriting import gain as module
from segwright.inference.rewriting.gain import gain_of_pointwise, gains_by_rate, measure_gain, smallest_paying_rate


class Clock:
    """Stands still but for what calls add to it."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, *seconds: float) -> Callable[[], None]:
        """A call that takes the given times in turn."""
        times: Iterator[float] = iter(seconds)

        def call() -> None:
            self.now += next(times)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def test_gain_is_the_ratio_of_medians_without_the_first_call(clock: Clock) -> None:
    assert measure_gain(clock.spend(90, 4, 6, 50), clock.spend(1, 2, 3, 1000)) == 2


def test_calls_take_turns() -> None:
    order: list[str] = []
    measure_gain(lambda: order.append("old"), lambda: order.append("new"), rounds=2)
    assert order == ["old", "new"] * 3


@pytest.mark.parametrize(
    ("gains", "rate"),
    [
        ({6: 0.8, 12: 1.5, 18: 2.0}, 12),
        ({6: 1.2, 12: 1.5, 18: 2.0}, 6),
        ({6: 1.2, 12: 0.9, 18: 2.0}, 18),
        ({6: 1.2, 12: 1.5, 18: 1.04}, None),
        ({}, None),
    ],
)
def test_rate_is_the_smallest_from_which_on_all_gain(gains: dict[int, float], rate: int | None) -> None:
    assert smallest_paying_rate(gains) == rate


def test_equal_convolutions_are_measured_once_and_the_smallest_gain_of_a_rate_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains = iter([1.5, 3.0, 2.0])
    monkeypatch.setattr(module, "measure_gain", lambda old, new: next(gains))
    first, same, wider = (nn.Conv2d(4, width, 3, padding=6, dilation=6) for width in (4, 4, 8))
    other = nn.Conv2d(4, 4, 3, padding=12, dilation=12)
    maps = {first: (9, 9), same: (9, 9), wider: (9, 9), other: (9, 9)}
    assert gains_by_rate(maps, "fp32", channels_last=True) == {6: 2.0, 12: 1.5}


def test_measuring_ends_with_the_largest_rate_that_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = {24: 2.0, 12: 0.9, 6: 3.0}
    monkeypatch.setattr(module, "_gain", lambda conv, *_, **__: gains[conv.dilation[0]])
    maps = {nn.Conv2d(4, 4, 3, padding=rate, dilation=rate): (9, 9) for rate in (6, 12, 24)}
    assert gains_by_rate(maps, "fp32", channels_last=True) == {24: 2.0, 12: 0.9}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_forms_are_called_as_the_network_would(precision: str) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=6, dilation=6)
    assert gains_by_rate({conv: (9, 11)}, precision, channels_last=True)[6] > 0


def test_pointwise_is_only_measured_where_it_changes_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure_gain", lambda old, new: 2.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    small, large = nn.Conv2d(64, 4, 1), nn.Conv2d(64, 8, 1)
    maps = {small: (20, 30), large: (20, 30)}
    assert gain_of_pointwise(maps, "fp32", channels_last=True) == 2.0
    assert gain_of_pointwise(maps, "bf16", channels_last=True) is None
    assert gain_of_pointwise({small: (3, 3)}, "fp32", channels_last=True) is None
    assert gain_of_pointwise({}, "fp32", channels_last=True) is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert gain_of_pointwise(maps, "fp32", channels_last=True) is None
