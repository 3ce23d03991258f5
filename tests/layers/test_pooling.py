from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.layers import PyramidPooling, resize, resize_as
from segwright.layers.pooling import average_pool, average_windows
from tests.support.fill import fill


def slow_average(features: Tensor, side: int) -> Tensor:
    """Averages over side x side regions; neighbours share a row or column where the size is no multiple."""
    height, width = features.shape[-2:]
    rows = [slice(i * height // side, -(-(i + 1) * height // side)) for i in range(side)]
    columns = [slice(i * width // side, -(-(i + 1) * width // side)) for i in range(side)]
    return torch.stack([torch.stack([features[..., r, c].mean((-2, -1)) for c in columns], -1) for r in rows], -2)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (4, 6), (12, 18)])
@torch.no_grad()
def test_pyramid_is_the_map_and_its_averages_fused(size: tuple[int, int], align_corners: bool) -> None:
    pool = PyramidPooling(8, 5, align_corners=align_corners).eval()
    fill(pool)
    features = torch.randn(2, 8, *size)
    maps = [features]
    for side, branch in zip((1, 2, 3, 6), pool.branches, strict=True):
        averages = branch(slow_average(features, side))
        assert averages.shape == (2, 2, side, side)
        maps.append(F.interpolate(averages, size, mode="bilinear", align_corners=align_corners))
    torch.testing.assert_close(pool(features), pool.fusion(torch.cat(maps, dim=1)))


def test_pyramid_trains_on_one_value_per_channel() -> None:
    pool = PyramidPooling(8, 5).train()
    pool(torch.randn(1, 8, 1, 1)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in pool.parameters())


def test_resize_goes_to_the_stated_size_or_the_partner_s() -> None:
    maps = torch.randn(2, 3, 5, 7)
    assert resize(maps, (11, 4)).shape == resize_as(maps, torch.zeros(1, 1, 11, 4)).shape == (2, 3, 11, 4)
    assert resize(maps, (5, 7)) is maps
    wanted = F.interpolate(maps, (11, 4), mode="bilinear", align_corners=True)
    assert torch.equal(resize(maps, (11, 4), align_corners=True), wanted)


class Pool(nn.Module):
    """A function as a module, for export."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        return self.function(features)


def exported(function: Callable[[Tensor], Tensor]) -> Any:
    """The function as a program of free height and width, traced at 13 x 18."""
    free = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    return torch.export.export(Pool(function), (torch.randn(1, 2, 13, 18),), dynamic_shapes=(free,)).module()


@pytest.mark.parametrize("side", [1, 2, 3, 6])
def test_exported_pooling_equals_adaptive_pooling_at_any_size(side: int) -> None:
    program = exported(lambda features: average_pool(features, side))
    for size in [(2, 3), (4, 5), (6, 6), (7, 12), (16, 16), (33, 97)]:
        features = torch.randn(1, 2, *size)
        torch.testing.assert_close(program(features), F.adaptive_avg_pool2d(features, side))


def test_exported_windows_equal_average_pooling_at_any_size() -> None:
    def pool(features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        return average_windows(features, (height // 2, 2), (3, width // 3))

    program = exported(pool)
    for size in [(5, 6), (12, 12), (33, 97)]:
        features = torch.randn(1, 2, *size)
        torch.testing.assert_close(program(features), pool(features))
