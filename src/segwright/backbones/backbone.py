"""Trunks of other people's classifiers as pyramids of maps: timm's, by their names."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub import constants, try_to_load_from_cache
from torch import Tensor, nn

from segwright.backbones.dilation import Dilation, check_multi_grid, dilate, level_the_dilation, reduced
from segwright.backbones.taps import LEVELS, Tap, is_xception, measure, tap_modules
from segwright.backbones.timm_library import timm
from segwright.backbones.xception39 import Xception39
from segwright.errors import ConfigError, WeightsError, did_you_mean
from segwright.info import Preprocessing
from segwright.layers import BatchNorm2d
from segwright.layers.conv import Conv2d
from segwright.runtime.offline import is_offline

OutputStride = Literal[8, 16, 32]

ALIASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "resnet18c": ("resnet18", {"stem_type": "deep", "stem_width": 32}),
    "resnet34c": ("resnet34", {"stem_type": "deep", "stem_width": 32}),
    "mobilenetv3_large_torchvision": ("mobilenetv3_large_100", {"bn_eps": 1e-3, "bn_momentum": 0.01}),
}
"""Trunks that timm builds but does not name: the deep stem of 32, 32, 64 channels under basic blocks, and the
normalisation of torchvision's MobileNetV3."""

OWN: Mapping[str, Callable[[Sequence[int]], nn.Module]] = {"xception39": Xception39}
"""Trunks of ours that timm lacks: networks that give the maps of the wanted levels, at output stride 32."""

_ANY_SIZE_FAMILIES = ("swin_transformer", "swin_transformer_v2")
"""Modules of timm whose networks take other sizes than the one of their training when asked to."""


class Backbone(nn.Module):
    """A trunk that gives a pyramid of maps.

    Args:
        name: of timm's model, of :data:`ALIASES` or of :data:`OWN`.
        network: timm's ``features_only`` network, or ours.
        output_stride: of the last maps.

    Attributes:
        channels: of each map, fine to coarse; what is tapped comes before.
        strides: of each map; none is above the output stride.
        is_resnet: whether it has a ResNet's stages ``layer1`` to ``layer4``.
        is_xception: whether it is one of the aligned Xceptions.

    Shape:
        (N, 3, H, W) -> a list of (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])), any H, W >= 1
    """

    def __init__(self, name: str, network: nn.Module, output_stride: int) -> None:
        super().__init__()
        self.name, self.output_stride = name, output_stride
        self.network = network
        info: Any = network.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.taps: list[Tap] = []
        self.places = tuple(range(len(self.channels)))
        self.is_channels_last = "NHWC" in str(getattr(network, "output_fmt", ""))
        self.is_exact = _rounds_up(network)
        self.is_resnet = hasattr(network, "maxpool") and hasattr(network, "layer1")
        self.is_xception = is_xception(network)

    def tap(self, modules: Sequence[str], shapes: Sequence[tuple[int, int]], places: Sequence[int]) -> None:
        """Give what modules inside the network give, too.

        Args:
            modules: names in the network.
            shapes: channels and stride of what each gives.
            places: which maps to give in which order, of the network's and then the modules'.
        """
        self.taps = [Tap(self.network.get_submodule(module)) for module in modules]
        known = [*zip(self.channels, self.strides, strict=True), *shapes]
        self.places = tuple(places)
        self.channels, self.strides = (tuple(known[place][side] for place in places) for side in (0, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        maps = self.network(images if self.is_exact else pad_to_multiple(images, 32))
        if self.is_channels_last:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        maps = [*maps, *(tap.take() for tap in self.taps)]
        maps = [maps[place] for place in self.places]
        if self.is_exact:
            return maps
        sizes = [(reduced(height, stride), reduced(width, stride)) for stride in self.strides]
        return [features[..., :rows, :columns] for features, (rows, columns) in zip(maps, sizes, strict=True)]


def _rounds_up(network: nn.Module) -> bool:
    """Whether every stride of a trunk gives ceil(side / 2): ResNets, Xceptions, EfficientNets, RegNets.

    Others want multiples.
    """
    kinds = (("conv1", "maxpool"), ("conv_stem",), ("s1",))
    return is_xception(network) or any(all(hasattr(network, part) for part in parts) for parts in kinds)


def pad_to_multiple(images: Tensor, side: int) -> Tensor:
    """Zeros (the mean colour) on the right and below, up to the next multiple of ``side``."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % side, 0, -height % side))


def create_backbone(
    name: str,
    *,
    output_stride: OutputStride = 32,
    dilation: Dilation = "contracted",
    multi_grid: Sequence[int] | None = None,
    default_multi_grid: Sequence[int] | None = None,
    levels: Sequence[int] = (2, 3, 4, 5),
    taps: Sequence[str] = (),
) -> Backbone:
    """A trunk with fresh weights.

    Args:
        name: any model of timm that gives maps of strides 4 to 32, or one of :data:`ALIASES` or :data:`OWN`.
        output_stride: where a stage would go below it, its stride becomes dilation.
        dilation: what the first block of a dilated stage does.
        multi_grid: unit rates of the blocks of a ResNet's last stage; ``None`` for ``default_multi_grid``.
        default_multi_grid: likewise, but left out in silence where the trunk is no ResNet; ``None`` for ones.
        levels: which maps; level n has stride 2 ** n without dilation. c2 to c5 by default.
        taps: further maps, given before those, in this order: ``c1`` to ``c5``, and in a ResNet or an Xception what
            :func:`tap_modules` names, such as ``b3u6c3``.

    Raises:
        ConfigError: unknown name, an output stride or multi-grid that this trunk cannot have, or no such level or tap.
    """
    check_multi_grid(multi_grid)
    if output_stride not in (8, 16, 32):
        raise ConfigError(f"output_stride must be 8, 16 or 32, got {output_stride!r}", fix="pick one of 8, 16, 32")
    if not levels or min(levels) < 1 or max(levels) > 5 or list(levels) != sorted(set(levels)):
        raise ConfigError(f"levels is {levels!r}", fix="give levels from 1 (stride 2) to 5 (stride 32), rising")
    all_levels = sorted({*levels, *(LEVELS[tap] for tap in taps if tap in LEVELS)})
    network = _features(name, output_stride, all_levels)
    stages = [stage for key, stage in network.named_children() if key.startswith("layer")]
    if stages and hasattr(network, "maxpool"):  # timm's ResNets and their kin
        dilate(stages, output_stride, dilation, multi_grid or default_multi_grid)
    elif multi_grid is not None or dilation.startswith("mmseg"):
        raise ConfigError(
            f"backbone '{name}' is no ResNet: it has neither multi_grid nor mmsegmentation's dilation",
            fix="leave these options out, or take a backbone such as resnet50",
        )
    elif dilation == "plain":
        level_the_dilation(list(getattr(network, "blocks", network).children()))
    _make_robust(network)
    backbone = Backbone(name, network, output_stride)
    if taps:
        _tap(backbone, taps, levels, all_levels)
    return backbone


def _tap(backbone: Backbone, taps: Sequence[str], levels: Sequence[int], all_levels: Sequence[int]) -> None:
    """Let a trunk that gives the maps of ``all_levels`` give taps, and those of ``levels`` behind them."""
    known = tap_modules(backbone.network)
    first, last = list(known)[:4], list(known)[-1:]
    for tap in taps:
        if tap not in LEVELS and tap not in known:
            shown = [*first, "...", *last] if known else []
            raise ConfigError(
                f"backbone '{backbone.name}' has no map '{tap}'{did_you_mean(str(tap), known)}",
                fix=f"its maps are: {', '.join([*LEVELS, *shown])}",
            )
    modules = [known[tap] for tap in dict.fromkeys(taps) if tap not in LEVELS]
    shapes = []
    if modules:
        with torch.device("meta"):
            shapes = measure(_features(backbone.name, backbone.output_stride, all_levels), modules)
    given: list[str | int] = [*all_levels, *modules]
    wanted: list[str | int] = [*(LEVELS.get(tap) or known[tap] for tap in taps), *levels]
    backbone.tap(modules, shapes, [given.index(one) for one in wanted])


def _features(name: str, output_stride: int, levels: Sequence[int]) -> nn.Module:
    """Timm's network, or ours, for the wanted levels."""
    if name in OWN:
        if output_stride != 32:
            raise _only_32(name, output_stride)
        return OWN[name](levels)
    timm_name, options = _resolve(name)
    stride: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    first = _first_level(name, timm_name, options)
    indices = [level - first for level in levels]
    if indices[0] < 0:
        raise ConfigError(f"backbone '{name}' has no map of stride {2 ** levels[0]}", fix=f"it begins at {2**first}")
    try:
        network: nn.Module = timm.create_model(timm_name, features_only=True, out_indices=indices, **options, **stride)
    except (TypeError, AssertionError, NotImplementedError) as error:
        if not stride:
            raise _no_pyramid(name) from error
        raise _only_32(name, output_stride) from error
    return network


def _only_32(name: str, output_stride: int) -> ConfigError:
    return ConfigError(
        f"backbone '{name}' cannot have output_stride {output_stride}: it works at 32 only",
        fix="set output_stride=32, or take a backbone that can be dilated, such as resnet50 or convnext_tiny",
    )


def _first_level(name: str, timm_name: str, options: dict[str, Any]) -> int:
    """Level of the first map that timm's network has, of maps whose strides double up to 32."""
    try:
        with torch.device("meta"):
            info: Any = timm.create_model(timm_name, features_only=True, **options).feature_info
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        raise _no_pyramid(name) from error
    strides = info.reduction()
    if strides != [32 >> step for step in range(len(strides))][::-1]:
        raise _no_pyramid(name, strides)
    return int(strides[0]).bit_length() - 1


def _no_pyramid(name: str, strides: Sequence[int] = ()) -> ConfigError:
    has = f", but at {', '.join(map(str, strides))}" if strides else ""
    return ConfigError(
        f"backbone '{name}' gives no maps at strides 4, 8, 16 and 32{has}",
        fix="take a pyramidal one: resnet50, convnext_tiny, efficientnet_b0, mobilenetv3_large_100, ...",
    )


def _resolve(name: str) -> tuple[str, dict[str, Any]]:
    """Timm's name and options.

    Raises:
        ConfigError: neither timm's nor ours; the nearest names are given.
    """
    if name in ALIASES:
        return ALIASES[name]
    if not timm.is_model(name):
        known = [*timm.list_models(), *ALIASES, *OWN]
        raise ConfigError(
            f"unknown backbone '{name}'{did_you_mean(name, known)}",
            fix="give a name of timm.list_models(), such as resnet50, resnet101, convnext_tiny, mobilenetv3_large_100",
        )
    takes_any_size = timm.model_entrypoint(name).__module__.endswith(_ANY_SIZE_FAMILIES)
    return name, {"strict_img_size": False} if takes_any_size else {}


def _make_robust(network: nn.Module) -> None:
    """Normalisations that survive one value per channel, and depthwise convolutions whose bf16 gradient is right."""
    norm = importlib.import_module("segwright.backbones.timm_norm")
    robust = {nn.BatchNorm2d: BatchNorm2d, norm.BatchNormAct2d: norm.BatchNormAct, nn.Conv2d: Conv2d}
    for module in network.modules():
        if type(module) in robust:
            module.__class__ = robust[type(module)]


def load_imagenet(backbone: Backbone, in_channels: int = 3) -> Preprocessing:
    """Give a trunk the ImageNet weights that timm has for it.

    Args:
        backbone: the trunk.
        in_channels: of the images it reads; for other than 3, timm adapts the weights of its first convolution.

    Returns:
        How pictures enter the trunk that these weights belong to.

    Raises:
        WeightsError: timm has none for it, or they can neither be found on this machine nor downloaded.
    """
    timm_name = backbone.name if backbone.name in OWN else _resolve(backbone.name)[0]
    is_alias = timm_name != backbone.name
    config = timm.get_pretrained_cfg(timm_name, allow_unregistered=True)
    if is_alias or config is None or not config.has_weights:
        raise WeightsError(
            f"there are no ImageNet weights for backbone '{backbone.name}'",
            fix="train from fresh weights (weights none), or take a backbone of timm.list_pretrained()",
        )
    lacking = f"the ImageNet weights of backbone '{backbone.name}' are not on this machine and "
    fix = "fetch them once with network access, or give weights=none or a model file"
    if is_offline() and not _is_cached(config.hf_hub_id):
        raise WeightsError(lacking + "the network is forbidden (offline)", fix=fix)
    constants.HF_HUB_OFFLINE |= is_offline()  # the hub's client reads the variable only once, at its import
    try:
        source = timm.create_model(timm_name, pretrained=True, features_only=True, in_chans=in_channels)
    except Exception as error:  # the hub's client raises many kinds, from its own and three other libraries
        raise WeightsError(lacking + "could not be downloaded", fix=fix) from error
    theirs, own = source.state_dict(), backbone.network.state_dict()
    backbone.network.load_state_dict({key: theirs[key] for key in own})
    return Preprocessing(mean=tuple(config.mean), std=tuple(config.std))


def _is_cached(repository: str | None) -> bool:
    """Whether the hub's cache holds the weights."""
    names = ("model.safetensors", "pytorch_model.bin")
    return bool(repository) and any(isinstance(try_to_load_from_cache(str(repository), name), str) for name in names)
