"""Atrous spatial pyramid pooling against its definition, position by position."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.layers import ConvBNReLU
from segwright.layers.aspp import ASPP, AtrousSeparableConv, ImagePooling
from tests.support.fill import fill


def filled(module: nn.Module) -> nn.Module:
    fill(module)
    return module.eval()


def slow_atrous(features: Tensor, weight: Tensor, rate: int) -> Tensor:
    """y[i] = sum over k of x[i + rate * k] w[k], with zeros outside (DeepLabv3, equation 1)."""
    height, width = features.shape[-2:]
    result = torch.zeros(len(features), len(weight), height, width)
    for row in range(height):
        for column in range(width):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    y, x = row + rate * i, column + rate * j
                    if 0 <= y < height and 0 <= x < width:
                        result[:, :, row, column] += features[:, :, y, x] @ weight[:, :, i + 1, j + 1].T
    return result


def valid_taps(side: int, rate: int) -> Tensor:
    """How many of a 3x3 kernel's weights meet the map, at each position."""
    conv = ASPP(1, 1, rates=(rate,)).branches[1][0]
    nn.init.ones_(conv.weight)
    return conv(torch.ones(1, 1, side, side))[0, 0].detach()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 4)])
@torch.no_grad()
def test_aspp_is_its_branches_side_by_side_and_merged(size: tuple[int, int]) -> None:
    aspp = filled(ASPP(6, 4, rates=(1, 2, 3)))
    features = torch.randn(2, 6, *size)
    maps = [aspp.branches[0](features)]
    for rate, branch in zip((1, 2, 3), aspp.branches[1:], strict=True):
        maps.append(branch[1](slow_atrous(features, branch[0].weight, rate)).relu())
    average = aspp.image_pooling[1](features.mean((-2, -1), keepdim=True))
    maps.append(F.interpolate(average, size, mode="bilinear"))
    torch.testing.assert_close(aspp(features), aspp.merge(torch.cat(maps, dim=1)))


@torch.no_grad()
def test_without_merging_the_maps_come_concatenated() -> None:
    aspp, features = filled(ASPP(6, 4, rates=(1, 2), merge_kernel=0)), torch.randn(1, 6, 5, 7)
    assert aspp(features).shape == (1, aspp.channels, 5, 7) == (1, 16, 5, 7)
    assert torch.equal(aspp(features)[:, :4], aspp.branches[0](features))
    assert ASPP(6, 4, rates=(1, 2), image_pooling=False, merge_kernel=0).channels == 12


def test_parameters_are_those_of_the_paper_s_block() -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ASPP(2048).parameters()) == 15_535_104


@pytest.mark.parametrize("rate", [1, 3, 8, 20, 32])
def test_weights_that_meet_the_map_shrink_as_the_rate_grows(rate: int) -> None:
    """Figure 4: nine where a position is ``rate`` or more from all borders, one where the rate exceeds the map."""
    side = 20
    taps = valid_taps(side, rate)
    inside = torch.tensor([(i >= rate) + 1 + (i + rate < side) for i in range(side)])
    assert torch.equal(taps, (inside[:, None] * inside[None]).float())
    assert bool((taps == 9).any()) == (2 * rate < side)
    assert bool((taps == 1).all()) == (rate >= side)


def test_at_the_rate_of_the_map_a_3x3_kernel_is_its_own_centre() -> None:
    conv = filled(ConvBNReLU(3, 4, 3, dilation=7))
    features = torch.randn(2, 3, 7, 7)
    centre = F.conv2d(features, conv[0].weight[:, :, 1:2, 1:2])
    torch.testing.assert_close(conv(features), conv[1](centre).relu())


def test_rate_1_is_ordinary_convolution() -> None:
    branch, features = ASPP(3, 4, rates=(1,)).branches[1][0], torch.randn(1, 3, 9, 8)
    torch.testing.assert_close(branch(features), F.conv2d(features, branch.weight, padding=1))


def seen_by(aspp: nn.Module, side: int, row: int, column: int) -> Tensor:
    """Which positions of the map change the output at one position."""
    features = torch.randn(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    aspp.double()(features)[0, :, row, column].sum().backward()
    assert features.grad is not None
    return features.grad[0].abs().sum(0) > 0


def test_only_image_pooling_sees_the_whole_map() -> None:
    rate, side, centre = 3, 15, 7
    local = seen_by(filled(ASPP(2, 8, rates=(rate,), image_pooling=False)), side, centre, centre)
    assert local.nonzero().min() == centre - rate
    assert local.nonzero().max() == centre + rate
    assert local.sum() == 9
    assert seen_by(filled(ASPP(2, 8, rates=(rate,))), side, centre, centre).all()


@pytest.mark.parametrize("rate", [1, 5])
@torch.no_grad()
def test_separable_convolution_is_a_grouped_and_a_pointwise_one(rate: int) -> None:
    conv, features = filled(AtrousSeparableConv(6, 4, dilation=rate)), torch.randn(2, 6, 9, 7)
    depthwise, pointwise = conv
    spread = F.conv2d(features, depthwise[0].weight, padding=rate, dilation=rate, groups=6)
    mixed = torch.einsum("nchw,oc->nohw", depthwise[1](spread).relu(), pointwise[0].weight[:, :, 0, 0])
    torch.testing.assert_close(conv(features), pointwise[1](mixed).relu())


def test_separable_branches_have_two_normalisations_or_one() -> None:
    def norms(depthwise_norm: bool) -> int:
        aspp = ASPP(8, 4, rates=(2,), separable=True, depthwise_norm=depthwise_norm)
        return sum(isinstance(part, nn.BatchNorm2d) for part in aspp.branches[1].modules())

    assert (norms(True), norms(False)) == (2, 1)


@pytest.mark.parametrize("separable", [False, True])
def test_trains_on_one_value_per_channel(separable: bool) -> None:
    aspp = ASPP(8, 4, separable=separable).train()
    aspp(torch.randn(1, 8, 1, 1)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in aspp.parameters())


def test_dropout_is_of_training_only_and_none_by_default() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 8, 6, 6)
    plain, dropping = ASPP(8, 64), ASPP(8, 64, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(features), dropping.eval()(features))
    ratio = (dropping.train()(features) == 0).float().mean() - (plain.train()(features) == 0).float().mean()
    assert 0.2 < ratio < 0.3  # a half of the positive half


@torch.no_grad()
def test_image_pooling_is_the_same_at_every_position() -> None:
    pooled = filled(ImagePooling(3, 2))(torch.randn(1, 3, 4, 5))
    assert pooled.shape == (1, 2, 4, 5)
    assert torch.equal(pooled, pooled[..., :1, :1].expand_as(pooled))
