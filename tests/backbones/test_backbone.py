from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from segwright.backbones import Backbone, Dilation, create_backbone, load_imagenet
from segwright.backbones import backbone as module
from segwright.errors import ConfigError, WeightsError
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs_of

PARAMETERS = {
    "resnet18": 11_176_512,
    "resnet50": 23_508_032,
    "resnet50c": 23_527_264,
    "resnet50s": 23_631_808,
    "resnet101": 42_500_160,
    "resnet101c": 42_519_392,
    "resnet101s": 42_623_936,
}
"""Of the trunk without its classifier, for the stem of 7x7, of 32-32-64 and of 64-64-128 channels."""

FAMILIES = [
    "resnet18",
    "resnet18c",
    "resnet50d",
    "convnext_atto",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "regnetx_002",
    "densenet121",
    "vgg11_bn",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "hrnet_w18_small",
]


def on_meta(name: str, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, **options)


def rates(backbone: Backbone, stage: int) -> list[list[int]]:
    """Dilation of each 3x3 convolution of each block."""
    blocks = getattr(backbone.network, f"layer{stage}")
    convs = [[m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)] for block in blocks]
    assert all(conv.padding == conv.dilation for block in convs for conv in block)
    return [[conv.dilation[0] for conv in block] for block in convs]


@pytest.mark.parametrize("name", PARAMETERS)
def test_trunk_has_the_known_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("stride", "size", "gmacs"), [(32, 224, 4.09), (32, 513, 22.55), (16, 513, 34.09), (8, 513, 102.73)]
)
def test_work_of_resnet50_at_each_output_stride(stride: Any, size: int, gmacs: float) -> None:
    macs = count_macs_of(on_meta("resnet50", output_stride=stride), torch.empty(1, 3, size, size, device="meta"))
    assert macs / 1e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 97), (64, 96)])
def test_maps_have_the_size_of_their_strides(name: str, size: tuple[int, int]) -> None:
    backbone = create_backbone(name).train()
    maps = backbone(images(0, *size))
    assert [features.shape[1] for features in maps] == list(backbone.channels)
    wanted = [tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32)]
    assert [tuple(features.shape[-2:]) for features in maps] == wanted
    assert all(features.isfinite().all() for features in maps)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "efficientnet_b0", "regnetx_002"])
def test_output_stride_bounds_the_strides(name: str, stride: Any) -> None:
    backbone = create_backbone(name, output_stride=stride)
    assert backbone.strides == tuple(min(wanted, stride) for wanted in (4, 8, 16, 32))
    assert [features.shape[-1] for features in backbone(images(0, 32, 64))] == [64 // s for s in backbone.strides]


@pytest.mark.parametrize(
    ("convention", "stride", "third", "fourth"),
    [
        ("plain", 8, [2, 2, 2, 2, 2, 2], [4, 4, 4]),
        ("plain", 16, [1] * 6, [2, 2, 2]),
        ("contracted", 8, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ("contracted", 16, [1] * 6, [1, 2, 2]),
        ("mmseg", 8, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ("mmseg_kept", 32, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ("plain", 32, [1] * 6, [1] * 3),
    ],
)
def test_conventions_differ_in_the_first_block(
    convention: Dilation, stride: Any, third: list[int], fourth: list[int]
) -> None:
    backbone = on_meta("resnet50", output_stride=stride, dilation=convention)
    assert rates(backbone, 3) == [[rate] for rate in third]
    assert rates(backbone, 4) == [[rate] for rate in fourth]
    assert rates(backbone, 2) == [[1]] * 4


@pytest.mark.parametrize(
    ("convention", "stride", "wanted"),
    [("plain", 16, [2, 4, 8]), ("plain", 8, [4, 8, 16]), ("contracted", 8, [4, 8, 16]), ("mmseg", 16, [1, 2, 4])],
)
def test_multi_grid_multiplies_the_stage_s_dilation(convention: Dilation, stride: Any, wanted: list[int]) -> None:
    backbone = on_meta("resnet50", output_stride=stride, dilation=convention, multi_grid=(1, 2, 4))
    assert rates(backbone, 4) == [[rate] for rate in wanted]


def test_second_convolution_of_a_basic_block_is_dilated_but_in_mmsegmentation() -> None:
    assert rates(on_meta("resnet18", output_stride=8, dilation="plain"), 4) == [[4, 4], [4, 4]]
    assert rates(on_meta("resnet18", output_stride=8, dilation="mmseg"), 4) == [[2, 1], [4, 1]]


def test_plain_convention_reaches_other_families() -> None:
    def dilated(convention: Dilation) -> list[nn.Conv2d]:
        backbone = on_meta("mobilenetv3_small_050", output_stride=16, dilation=convention)
        convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
        return [conv for conv in convs if max(conv.dilation) > 1]

    assert len(dilated("plain")) == len(dilated("contracted")) + 1
    assert {(conv.kernel_size, conv.padding) for conv in dilated("plain")} == {((5, 5), (4, 4))}


@torch.no_grad()
def test_dilated_trunk_computes_what_the_strided_one_does_and_more() -> None:
    """Every second position of the dilated map is the strided map, where only strides became dilation."""
    strided, dilated = (create_backbone("resnet18", output_stride=s, dilation="plain").eval() for s in (32, 16))
    fill(strided)
    dilated.load_state_dict(strided.state_dict())
    picture = images(0, 256, 256)
    coarse, fine = strided(picture)[-2], dilated(picture)[-2]
    assert distance(fine, coarse) < 1e-5
    assert list(strided.state_dict()) == list(dilated.state_dict())


@torch.no_grad()
def test_shifted_picture_gives_shifted_maps() -> None:
    backbone = create_backbone("resnet18", levels=(2, 3)).eval()
    fill(backbone)
    picture = images(0, 320, 256)
    whole, shifted = backbone(picture)[-1], backbone(picture[:, :, 64:])[-1]
    middle = slice(14, 18)  # away from the borders by more than half of the receptive field of 99 pixels
    assert distance(shifted[:, :, middle], whole[:, :, 8:][:, :, middle]) < 1e-5


def test_levels_pick_the_maps() -> None:
    backbone = create_backbone("resnet18", levels=(1, 2, 3))
    assert (backbone.channels, backbone.strides) == ((64, 64, 128), (2, 4, 8))
    assert not any(key.startswith("network.layer3") for key in backbone.state_dict())


def test_depthwise_and_norms_are_the_robust_ones() -> None:
    backbone = create_backbone("mobilenetv3_small_050", output_stride=8)
    assert not [m for m in backbone.modules() if type(m) in (nn.Conv2d, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet5", {}, r"unknown backbone 'resnet5'; did you mean 'resnet"),
        ("resnet18", {"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        ("densenet121", {"output_stride": 8}, "cannot have output_stride 8: it works at 32 only"),
        ("vit_tiny_patch16_224", {}, "gives no maps at strides 4, 8, 16 and 32, but at 16, 16, 16"),
        ("convnext_atto", {"multi_grid": (1, 2, 4)}, "is no ResNet"),
        ("convnext_atto", {"dilation": "mmseg"}, "is no ResNet"),
        ("convnext_atto", {"levels": (1, 2)}, "has no map of stride 2"),
        ("resnet18", {"levels": (5, 2)}, r"levels is \(5, 2\)"),
        ("resnet50", {"multi_grid": (0, 1)}, r"multi_grid is \(0, 1\)"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone(name, **options)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., nn.Module]], None]:
    """Replace what timm does when it is asked for pretrained weights."""
    create = module.timm.create_model

    def install(pretrained: Callable[..., nn.Module]) -> None:
        def fake(name: str, **options: Any) -> nn.Module:
            return pretrained(create, name) if options.pop("pretrained", False) else create(name, **options)

        monkeypatch.setattr(module.timm, "create_model", fake)

    return install


def test_imagenet_weights_reach_the_dilated_trunk(hub: Callable[[Any], None]) -> None:
    def pretrained(create: Callable[..., nn.Module], name: str) -> nn.Module:
        network = create(name, features_only=True)
        fill(network)
        return network

    hub(pretrained)
    backbone = create_backbone("resnet18", output_stride=8, levels=(2, 3, 4))
    preprocessing = load_imagenet(backbone)
    wanted = nn.Module()
    wanted.network = create_backbone("resnet18").network
    fill(wanted.network)
    for key, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, wanted.network.state_dict()[key])
    assert preprocessing.mean == (0.485, 0.456, 0.406)


def test_failing_download_is_one_sentence(hub: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(create: Callable[..., nn.Module], name: str) -> nn.Module:
        raise OSError("cannot resolve huggingface.co")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    hub(no_network)
    with pytest.raises(WeightsError, match="backbone 'resnet18' are not on this machine and could not be downloaded"):
        load_imagenet(create_backbone("resnet18"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"the network is forbidden \(offline\)"):
        load_imagenet(create_backbone("resnet18"))


@pytest.mark.parametrize("name", ["resnet18c", "resnet34c"])
def test_trunk_without_published_weights_says_so(name: str) -> None:
    with pytest.raises(WeightsError, match=f"there are no ImageNet weights for backbone '{name}'"):
        load_imagenet(create_backbone(name))


def test_block_rates_of_longer_grids() -> None:
    assert list_rates((1, 2, 1)) == [2, 4, 2]


def list_rates(grid: Sequence[int]) -> list[int]:
    return [rate for (rate,) in rates(on_meta("resnet50", output_stride=16, multi_grid=grid, dilation="plain"), 4)]
