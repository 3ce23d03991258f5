import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.layers.bands import by_bands, call, resize_rows
from tests.support.fill import fill


@pytest.mark.parametrize("height", [1, 7, 24, 25, 50])
@torch.no_grad()
def test_bands_equal_the_whole(height: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    maps, asked = torch.randn(2, 3, height, 9), []

    def band(rows: slice) -> Tensor:
        asked.append(rows)
        return network(maps[:, :, rows])  # type: ignore[no-any-return]

    got = by_bands(band, height, reach=2, rows=1)
    torch.testing.assert_close(got, network(maps), rtol=1e-5, atol=1e-6)
    assert len(asked) == -(-height // 8)
    assert max(rows.stop - rows.start for rows in asked) <= 12


@torch.no_grad()
def test_too_short_a_reach_would_be_seen() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    maps = torch.randn(1, 1, 40, 9)
    short = by_bands(lambda rows: network(maps[:, :, rows]), 40, reach=1, rows=8)
    assert (short - network(maps)).abs().max() > 1e-3


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("height", "target"), [(5, 9), (5, 10), (1, 4), (9, 5), (6, 6), (7, 1)])
def test_rows_of_a_resize_equal_those_of_the_whole(height: int, target: int, align_corners: bool) -> None:
    maps = torch.randn(2, 3, height, 4)
    whole = F.interpolate(maps, (target, 7), mode="bilinear", align_corners=align_corners)
    for start in range(target):
        rows = slice(start, min(start + 3, target))
        got = resize_rows(maps, (target, 7), rows, align_corners=align_corners)
        torch.testing.assert_close(got, whole[:, :, rows], rtol=1e-5, atol=1e-6)


def test_computing_again_gives_the_same_gradients_and_counts_the_batch_once() -> None:
    kept = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    fill(kept)
    again, images = copy.deepcopy(kept), torch.randn(2, 3, 8, 8)
    for network, recompute in ((kept, False), (again, True)):
        call(network, images, recompute=recompute).square().sum().backward()
    gradients = [[parameter.grad for parameter in network.parameters()] for network in (kept, again)]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))  # type: ignore[arg-type]
    assert all(torch.equal(one, other) for one, other in zip(kept.buffers(), again.buffers(), strict=True))
    assert again[1].num_batches_tracked == 1
    assert again[1].momentum == 0.1


def test_computing_again_keeps_less() -> None:
    network, sizes = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 1, 1)), {}
    for recompute in (False, True):
        kept: list[int] = []

        def pack(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            call(network, torch.randn(1, 3, 32, 32, requires_grad=True), recompute=recompute)
        sizes[recompute] = sum(kept)
    assert sizes[True] < 0.2 * sizes[False]
