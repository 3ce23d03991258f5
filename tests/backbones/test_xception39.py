"""Xception39: a trunk of ours beside timm's, of the layers that BiSeNet's authors published."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segwright.backbones import Backbone, create_backbone, load_imagenet
from segwright.backbones.xception39 import Xception39, XceptionBlock
from segwright.errors import ConfigError, WeightsError
from segwright.layers import BatchNorm2d
from tests.support.fill import fill, images


def trunk() -> Backbone:
    backbone = create_backbone("xception39")
    fill(backbone)
    return backbone.eval()


def blocks(backbone: Backbone) -> list[XceptionBlock]:
    return [part for part in backbone.modules() if isinstance(part, XceptionBlock)]


def test_channels_and_strides() -> None:
    backbone = trunk()
    assert isinstance(backbone.network, Xception39)
    assert (backbone.channels, backbone.strides) == ((8, 64, 128, 256), (4, 8, 16, 32))


@pytest.mark.parametrize(
    ("levels", "channels", "strides"), [((1, 2), (8, 8), (2, 4)), ((3, 4, 5), (64, 128, 256), (8, 16, 32))]
)
@torch.no_grad()
def test_levels_choose_the_maps(levels: tuple[int, ...], channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    backbone = create_backbone("xception39", levels=levels)
    assert (backbone.channels, backbone.strides) == (channels, strides)
    assert [features.shape[1] for features in backbone(images(0, 40, 64))] == list(channels)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 97), (64, 96)])
@torch.no_grad()
def test_maps_are_the_image_s_size_over_the_stride_rounded_up(size: tuple[int, int]) -> None:
    for is_training in (True, False):
        maps = trunk().train(is_training)(images(0, *size))
        for features, stride in zip(maps, (4, 8, 16, 32), strict=True):
            assert features.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride))
            assert features.isfinite().all()


def test_parameters_and_multiplications_are_the_paper_s() -> None:
    with torch.device("meta"):
        backbone, picture = create_backbone("xception39").eval(), torch.empty(1, 3, 360, 640)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 299_448
    with FlopCounterMode(display=False) as counter:
        backbone(picture)
    assert round(counter.get_total_flops() / 2e9, 3) == 0.186  # the paper's table 1: 185.5 M "FLOPS"


def test_stages_have_4_8_and_4_blocks_and_only_the_first_of_each_has_a_stride() -> None:
    backbone = trunk()
    assert [len(stage) for stage in backbone.network.stages] == [4, 8, 4]
    strides = [block.branch[0][0].stride[0] for block in blocks(backbone)]
    assert strides == [2, 1, 1, 1, 2, *[1] * 7, 2, 1, 1, 1]
    assert [isinstance(block.shortcut, nn.Identity) for block in blocks(backbone)] == [step == 1 for step in strides]


def test_depthwise_convolutions_have_neither_normalisation_nor_activation() -> None:
    for block in blocks(trunk()):
        for depthwise, pointwise in block.branch:
            assert type(depthwise).__name__ == "Conv2d"
            assert depthwise.groups == depthwise.in_channels
            assert [type(part) for part in pointwise][1:] == [BatchNorm2d]


@torch.no_grad()
def test_a_block_whose_branch_adds_nothing_passes_its_input_on() -> None:
    block = blocks(trunk())[1]
    nn.init.zeros_(block.branch[2][1][1].weight)
    nn.init.zeros_(block.branch[2][1][1].bias)
    features = torch.rand(1, 64, 5, 7)
    assert torch.equal(block(features), features)
    assert not block(-features).any()  # ReLU after the sum


@pytest.mark.parametrize("output_stride", [8, 16])
def test_it_works_at_output_stride_32_only(output_stride: int) -> None:
    with pytest.raises(ConfigError, match=f"'xception39' cannot have output_stride {output_stride}"):
        create_backbone("xception39", output_stride=output_stride)  # type: ignore[arg-type]


def test_it_has_no_multi_grid() -> None:
    with pytest.raises(ConfigError, match="'xception39' is no ResNet"):
        create_backbone("xception39", multi_grid=(1, 2, 4))


def test_there_are_no_imagenet_weights() -> None:
    with pytest.raises(WeightsError, match="no ImageNet weights for backbone 'xception39'"):
        load_imagenet(create_backbone("xception39"))


def test_a_misspelt_name_finds_it() -> None:
    with pytest.raises(ConfigError, match="did you mean 'xception39'"):
        create_backbone("xception-39")
