"""Maps from inside a trunk: the paper's names, their values, and that a trunk with taps is as robust as one without."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from segwright.backbones import Backbone, create_backbone
from segwright.backbones.taps import tap_modules
from segwright.errors import ConfigError
from tests.support.compare import distance
from tests.support.fill import fill, images

XCEPTIONS = ["xception41", "xception65", "xception71", "xception41p", "xception65p"]


def tapped(name: str, *taps: str, **options: Any) -> Backbone:
    backbone = create_backbone(name, taps=taps, **options)
    fill(backbone)
    return backbone.eval()


def on_meta(name: str, *taps: str, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, taps=taps, **options).eval()


@pytest.mark.parametrize(
    ("name", "taps", "channels", "strides"),
    [
        ("resnet50s", ("conv1_3", "b1u2c3", "b3u6c3"), (128, 256, 1024), (2, 4, 16)),
        ("resnet50s", ("conv1_1", "conv1_2", "b2u1c1", "b2u1c2"), (64, 64, 128, 128), (2, 2, 4, 8)),
        ("resnet101", ("b3u23c3", "b4u3c3", "c1"), (1024, 2048, 64), (16, 16, 2)),
        ("resnet18c", ("conv1_3", "b2u2c2"), (64, 128), (2, 8)),
        ("xception65", ("efb2u1c2", "mfb1u16c3", "conv1_2"), (256, 728, 64), (4, 16, 2)),
        ("xception71", ("efb3u1c2", "efb5u1c2", "mfb1u1c1", "mfb1u16c3"), (256, 728, 728, 728), (4, 8, 16, 16)),
        ("convnext_atto", ("c4", "c2"), (160, 40), (16, 4)),
    ],
)
def test_names_of_the_paper_find_their_maps(
    name: str, taps: tuple[str, ...], channels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    backbone = on_meta(name, *taps, output_stride=16, levels=(5,))
    assert (backbone.channels[:-1], backbone.strides[:-1]) == (channels, strides)
    maps = backbone(torch.empty(1, 3, 64, 96, device="meta"))
    assert [(features.shape[1], 64 // features.shape[2], 96 // features.shape[3]) for features in maps] == [
        (width, stride, stride) for width, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]


def test_taps_come_before_the_levels_in_the_order_asked_for() -> None:
    backbone = tapped("resnet18c", "b3u2c2", "c3", "conv1_1", "c3", levels=(2, 5))
    alone = {tap: tapped("resnet18c", tap, levels=(2, 5)) for tap in ("b3u2c2", "c3", "conv1_1")}
    picture = images(0, 64, 96)
    maps = backbone(picture)
    wanted = [alone[tap](picture)[0] for tap in ("b3u2c2", "c3", "conv1_1", "c3")]
    assert all(torch.equal(got, own) for got, own in zip(maps[:4], wanted, strict=True))
    assert [features.shape[1] for features in maps[4:]] == [64, 512]


@torch.no_grad()
def test_tap_of_a_resnet_is_normalised_and_neither_activated_nor_added_to_the_shortcut() -> None:
    backbone, picture = tapped("resnet50", "b1u2c3", "b1u2c1"), images(0, 64, 96)
    third, first = backbone(picture)[:2]
    network: Any = backbone.network
    unit = network.layer1[1]
    entered = network.layer1[0](network.maxpool(network.act1(network.bn1(network.conv1(picture)))))
    assert torch.equal(first, unit.bn1(unit.conv1(entered)))
    inside = unit.bn2(unit.conv2(first.relu())).relu()
    assert torch.equal(third, unit.bn3(unit.conv3(inside)))
    assert torch.equal((third + entered).relu(), unit(entered))


@torch.no_grad()
def test_stem_s_last_convolution_is_c1() -> None:
    backbone = tapped("resnet18c", "conv1_3", "c1", "conv1_2")
    third, level, second = backbone(images(0, 33, 97))[:3]
    assert torch.equal(third, level)
    assert second.min() == 0  # activated
    stem: Any = backbone.network.get_submodule("conv1")
    assert torch.equal(third, backbone.network.get_submodule("bn1")(stem[6](second)).relu())


@torch.no_grad()
def test_tap_of_an_xception_comes_before_activation_and_shortcut() -> None:
    backbone, seen = tapped("xception41", "efb2u1c2", "mfb1u8c3"), list[Tensor]()
    unit = backbone.network.get_submodule("blocks_10")
    unit.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    entry, middle, level = backbone(images(0, 65, 33))[:3]
    assert torch.equal(entry.relu(), level)  # c2 is what enters the block's last, strided convolution
    entered, left = seen
    assert distance(middle + entered, left) < 1e-5


@pytest.mark.parametrize("name", XCEPTIONS)
def test_aligned_xception_rounds_up_without_padding(name: str) -> None:
    backbone = on_meta(name, output_stride=16, levels=(1, 2, 3, 4, 5))
    assert backbone.is_exact
    for size in ((1, 1), (2, 3), (33, 97), (65, 31), (513, 513)):
        maps = backbone.network(torch.empty(1, 3, *size, device="meta"))  # before anything would be cut off
        wanted = [tuple(-(-side // stride) for side in size) for stride in (2, 4, 8, 16, 16)]
        assert [tuple(features.shape[-2:]) for features in maps] == wanted


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 97), (65, 31)])
@pytest.mark.parametrize(
    ("name", "taps"), [("resnet18c", ("conv1_2", "b2u1c2", "c4")), ("xception41", ("efb2u1c2", "mfb1u8c3"))]
)
def test_taps_have_the_size_of_their_strides(name: str, taps: tuple[str, ...], size: tuple[int, int]) -> None:
    backbone = tapped(name, *taps, output_stride=16).train()
    maps = backbone(images(0, *size))
    assert [features.shape[1] for features in maps] == list(backbone.channels)
    wanted = [tuple(-(-side // stride) for side in size) for stride in backbone.strides]
    assert [tuple(features.shape[-2:]) for features in maps] == wanted
    assert all(features.isfinite().all() for features in maps)


@pytest.mark.parametrize(("name", "tap"), [("resnet18", "b1u2c2"), ("xception41", "efb1u1c1")])
def test_gradient_flows_through_a_tap(name: str, tap: str) -> None:
    backbone = tapped(name, tap, levels=(5,))
    backbone(images(0, 33, 33))[0].square().sum().backward()
    module = backbone.network.get_submodule(tap_modules(backbone.network)[tap])
    reached = [parameter.grad for parameter in module.parameters()]
    assert reached
    assert all(gradient is not None and gradient.any() for gradient in reached)
    last = backbone.network.get_submodule("layer4" if name == "resnet18" else "blocks_12")
    assert all(parameter.grad is None for parameter in last.parameters())


@torch.no_grad()
def test_tapped_trunk_keeps_nothing_and_computes_what_the_plain_one_does() -> None:
    backbone, plain = tapped("resnet18", "b1u1c1", "b3u2c2"), tapped("resnet18")
    picture = images(0, 33, 97)
    maps = backbone(picture)
    assert all(torch.equal(got, wanted) for got, wanted in zip(maps[2:], plain(picture), strict=True))
    assert all(tap.kept == [] for tap in backbone.taps)
    assert list(backbone.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize(("name", "tap"), [("resnet18", "b1u2c2"), ("xception41", "mfb1u1c2")])
@torch.no_grad()
def test_copy_of_a_tapped_trunk_shares_nothing(name: str, tap: str) -> None:
    backbone, picture = tapped(name, tap), images(0, 33, 65)
    before = backbone(picture)[0]
    twin = copy.deepcopy(backbone)
    assert torch.equal(twin(picture)[0], before)
    for parameter in twin.parameters():
        parameter.zero_()
    assert not torch.equal(twin(picture)[0], before)
    assert torch.equal(backbone(picture)[0], before)


@torch.no_grad()
def test_exported_tapped_trunk_equals_eager() -> None:
    backbone, pictures = tapped("resnet18c", "conv1_2", "b1u2c2", levels=(5,)), images(0, 96, 128, batch=2)
    program = torch.export.export(backbone, (pictures[:1],)).module()
    exported, eager = program(pictures[1:]), backbone(pictures[1:])
    assert all(distance(got, wanted) < 1e-5 for got, wanted in zip(exported, eager, strict=True))


@pytest.mark.parametrize(
    ("name", "tap", "message"),
    [
        ("resnet18c", "b3u6c3", r"backbone 'resnet18c' has no map 'b3u6c3'; did you mean .*c1, .*, conv1_1, .*b4u2c2"),
        ("resnet18", "conv1_3", "has no map 'conv1_3'"),
        ("xception65", "efb4u1c1", r"has no map 'efb4u1c1'; did you mean 'efb.u1c1'\?; its maps are: c1, .*mfb1u16c3"),
        ("xception65", "mfb1u17c3", "has no map 'mfb1u17c3'"),
        ("convnext_atto", "b3u6c3", "its maps are: c1, c2, c3, c4, c5$"),
        ("convnext_atto", "c1", "has no map of stride 2"),
    ],
)
def test_tap_that_the_trunk_lacks_is_one_sentence(name: str, tap: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(name, tap)
