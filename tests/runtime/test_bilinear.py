import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segwright.runtime.bilinear import mix, neighbours, resize

SIZES = [
    ((16, 32), (128, 256)),
    ((13, 17), (101, 135)),
    ((7, 9), (53, 31)),
    ((40, 50), (13, 21)),  # smaller than the maps
    ((9, 11), (9, 40)),
    ((9, 11), (40, 11)),
    ((1, 1), (5, 8)),
    ((5, 1), (3, 50)),
    ((6, 7), (1, 1)),
]


def noisy(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), SIZES)
def test_resize_equals_torch(coarse: tuple[int, int], fine: tuple[int, int], align_corners: bool) -> None:
    maps = noisy(coarse)
    expected = F.interpolate(torch.from_numpy(maps)[None], size=fine, mode="bilinear", align_corners=align_corners)
    resized = resize(maps, fine, align_corners=align_corners)
    assert resized.dtype == np.float32
    assert np.abs(resized - expected[0].numpy()).max() < 2e-6


def test_right_size_is_handed_back() -> None:
    maps = noisy((6, 7))
    assert resize(maps, (6, 7)) is maps


def test_maps_stay_as_they_were() -> None:
    maps = noisy((6, 7))
    before = maps.copy()
    resize(maps, (6, 20))
    resize(maps, (20, 7))
    assert np.array_equal(maps, before)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="torch runs without fused multiply-add here"
)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), [(1, 1), (1, 9), (9, 1), (7, 50), (50, 7), (60, 333), (17, 135)])
def test_weights_are_torchs_to_the_bit(coarse: int, fine: int, align_corners: bool) -> None:
    first, second, weight = neighbours(coarse, fine, align_corners=align_corners)
    weights = np.zeros((coarse, fine), np.float32)
    np.add.at(weights, (first, np.arange(fine)), 1 - weight)
    np.add.at(weights, (second, np.arange(fine)), weight)
    ones = torch.eye(coarse).view(1, coarse, 1, coarse)  # map k is 1 at position k alone: resized, it shows k's weight
    resized = F.interpolate(ones, size=(1, fine), mode="bilinear", align_corners=align_corners)
    assert np.array_equal(weights, resized[0, :, 0].numpy())


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), [(1, 1), (1, 9), (9, 1), (7, 50), (50, 7), (333, 1000)])
def test_neighbours_lie_in_the_map_and_weights_between_0_and_1(coarse: int, fine: int, align_corners: bool) -> None:
    first, second, weight = neighbours(coarse, fine, align_corners=align_corners)
    assert first.min() >= 0
    assert second.max() < coarse
    assert ((second - first == 1) | (second == coarse - 1)).all()
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_mixing_keeps_the_order_of_values() -> None:
    rng = np.random.default_rng(0)
    lower, upper = (rng.normal(size=(2, 100_000)).astype(np.float32) for _ in range(2))
    lower = np.minimum(lower, upper)
    lower[:, ::2] = upper[:, ::2]
    weight = rng.random(100_000).astype(np.float32)
    assert (mix(*lower, weight) <= mix(*upper, weight)).all()
