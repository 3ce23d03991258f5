"""A pyramid that is fused at its cells' own size equals one that is resized first."""

import copy

import pytest
import torch
from torch import nn

from segwright.inference.rewriting.pyramids import CoarselyFusedPyramid
from segwright.inference.rewriting.rewrite import rewrite, rewrites_of
from segwright.layers import ConvBNReLU, PyramidPooling
from segwright.models import create_model
from tests.support.compare import distance
from tests.support.fill import fill, images


def pooling(fusion_kernel: int = 3, *, align_corners: bool = False, first_bin_norm: bool = True) -> PyramidPooling:
    layers = PyramidPooling(
        6, 5, width=4, fusion_kernel=fusion_kernel, align_corners=align_corners, first_bin_norm=first_bin_norm
    )
    fill(layers)
    return layers.eval()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 9), (6, 6), (17, 31)], ids=str)
@pytest.mark.parametrize("align_corners", [False, True], ids=["half_pixels", "corners"])
@pytest.mark.parametrize("fusion_kernel", [3, 5])
@torch.no_grad()
def test_it_computes_what_the_pooling_computes(size: tuple[int, int], align_corners: bool, fusion_kernel: int) -> None:
    plain = pooling(fusion_kernel, align_corners=align_corners)
    features = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0))
    coarse = CoarselyFusedPyramid(copy.deepcopy(plain)).eval()
    assert distance(coarse(features), plain(features)) < 1e-5


@torch.no_grad()
def test_a_bin_with_a_bias_instead_of_a_normalisation_is_kept() -> None:
    plain, features = pooling(first_bin_norm=False), torch.randn(1, 6, 4, 7)
    assert distance(CoarselyFusedPyramid(copy.deepcopy(plain)).eval()(features), plain(features)) < 1e-5


def test_only_plain_convolutions_wider_than_one_are_replaced() -> None:
    assert CoarselyFusedPyramid.can_replace(pooling(3))
    assert not CoarselyFusedPyramid.can_replace(pooling(1))
    strided, hooked = pooling(3), pooling(3)
    strided.fusion = ConvBNReLU(22, 5, 3, stride=2)
    hooked.fusion[0].register_forward_hook(lambda *_: None)
    assert not CoarselyFusedPyramid.can_replace(strided)
    assert not CoarselyFusedPyramid.can_replace(hooked)


@torch.no_grad()
def test_the_rewritten_pspnet_multiplies_less_and_gives_the_same_logits() -> None:
    model = create_model("pspnet", num_classes=3, backbone="resnet18").eval()
    fast = rewrite(model, steps=("fold", "pyramid"))
    done = rewrites_of(fast)
    assert done is not None
    assert done.pyramids == ("decoder.pooling",)
    assert done.describe()["pyramids fused at their own size"] == 1
    pictures = images(0, 65, 97)
    assert distance(fast(pictures).logits, model(pictures).logits) < 1e-4
    direct = fast.get_submodule("decoder.pooling.direct")
    fusion = model.get_submodule("decoder.pooling.fusion.0")
    assert isinstance(direct, nn.Conv2d)
    assert isinstance(fusion, nn.Conv2d)
    assert direct.in_channels * 2 == fusion.in_channels
