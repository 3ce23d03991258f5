"""FastFCN of others."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution, counted_from_one, torchvision_fcn_head
from segwright.zoo.systems import deeplabv3, encnet, fcn, pspnet

MODEL = "fastfcn"

_AUTHORS = "wuhuikai/FastFCN at 126661b, the authors' code"
_MMSEG_SOURCE = "mmsegmentation 1.2.2, fastfcn/: dilations kept in the strided trunk, on another stem"

ENTRIES = (
    *(
        Entry(f"fastfcn/{name}_jpu_r50", "fastfcn", {"decoder": decoder, "align_corners": True}, source=_AUTHORS)
        for name, decoder in (("encnet", "encnet"), ("deeplabv3", "deeplabv3"), ("psp", "pspnet"), ("fcn", "fcn"))
    ),
    *(
        Entry(
            f"mmseg/fastfcn_r50-d32_jpu_{name}",
            "fastfcn",
            {"backbone": "resnet50c", "decoder": decoder, "variant": "mmseg"},
            source=_MMSEG_SOURCE,
        )
        for name, decoder in (("enc", "encnet"), ("aspp", "deeplabv3"), ("psp", "pspnet"))
    ),
)

_MMSEG_NECK: list[Substitution] = [
    (r"^neck\.projections\.(\d)\.0$", r"neck.conv_layers.\1.0.conv"),
    (r"^neck\.projections\.(\d)\.1$", r"neck.conv_layers.\1.0.bn"),
    (r"^neck\.branches\.(\d)\.0", r"neck.dilation_layers.\1.0.depthwise_conv"),
    (r"^neck\.branches\.(\d)\.1", r"neck.dilation_layers.\1.0.pointwise_conv"),
    (r"^(neck\..*_conv)\.0$", r"\1.conv"),
    (r"^(neck\..*_conv)\.1$", r"\1.bn"),
]

_AUTHORS_NECK: list[Substitution] = [
    (r"^neck\.projections\.(\d)", lambda match: f"jpu.conv{int(match[1]) + 3}"),  # of c3, c4, c5
    (r"^neck\.branches\.(\d)\.0\.0$", counted_from_one("jpu.dilation{}.0.conv1")),
    (r"^neck\.branches\.(\d)\.0\.1$", counted_from_one("jpu.dilation{}.0.bn")),
    (r"^neck\.branches\.(\d)\.1\.0$", counted_from_one("jpu.dilation{}.0.pointwise")),
    (r"^neck\.branches\.(\d)\.1\.1$", counted_from_one("jpu.dilation{}.1")),
]

_AUTHORS_HEADS: dict[str, list[Substitution]] = {
    "encnet": [
        (r"^decoder\.conv5", "head.conv5"),
        (r"^decoder\.context\.projection", "head.encmodule.encoding"),
        (r"^decoder\.context\.encoding$", "head.encmodule.encoding.3"),
        (r"^decoder\.context\.norm$", "head.encmodule.encoding.4"),
        (r"^decoder\.context\.gate$", "head.encmodule.fc.0"),
        (r"^decoder\.presence$", "head.encmodule.selayer"),
        (r"^decoder\.classifier$", "head.conv6.1"),
    ],
    "deeplabv3": [
        (r"^decoder\.aspp\.branches\.(\d)", r"head.aspp.b\1"),
        (r"^decoder\.aspp\.image_pooling\.1\.([01])$", counted_from_one("head.aspp.b4.gap.{}")),
        (r"^decoder\.aspp\.merge", "head.aspp.project"),
        (r"^decoder\.refine", "head.block"),
        (r"^decoder\.classifier$", "head.block.4"),
    ],
    "fcn": [(r"^decoder\.convs\.0\.([01])$", r"head.conv5.\1"), (r"^decoder\.classifier$", "head.conv5.4")],
    "pspnet": [
        (r"^decoder\.pooling\.branches\.(\d)\.0$", counted_from_one("head.conv5.0.conv{}.0")),
        (r"^decoder\.pooling\.branches\.(\d)\.1$", counted_from_one("head.conv5.0.conv{}.1")),
        (r"^decoder\.pooling\.fusion\.([01])$", counted_from_one("head.conv5.{}")),
        (r"^decoder\.classifier$", "head.conv5.5"),
    ],
}


def _coarse_first(dim: int) -> Callable[[Tensor], Tensor]:
    """They join c5, c4, c3 along ``dim``, we c3, c4, c5."""

    def change(tensor: Tensor) -> Tensor:
        return torch.cat(tensor.chunk(3, dim=dim)[::-1], dim=dim)

    return change


def _joint_changes(branches: int = 4) -> dict[str, Callable[[Tensor], Tensor]]:
    """By our key, for all tensors of the neck that see the joined maps' channels."""
    of_channels = ("0.0.weight", "0.1.weight", "0.1.bias", "0.1.running_mean", "0.1.running_var")
    return {
        f"neck.branches.{branch}.{leaf}": _coarse_first(dim)
        for branch in range(branches)
        for leaf, dim in (*((leaf, 0) for leaf in of_channels), ("1.0.weight", 1))
    }


def _authors(options: Mapping[str, Any]) -> KeyMap:
    return KeyMap(
        [
            (r"^backbone\.network\.", "pretrained."),
            *_AUTHORS_NECK,
            *_AUTHORS_HEADS[options.get("decoder", "encnet")],
            *torchvision_fcn_head("aux_head", "auxlayer.conv5"),
        ],
        classifier="decoder.classifier.weight",
        whole=[(r"\.smoothing$", ".scale")],
        unneeded=(r"^pretrained\.fc\.",),
        changes=_joint_changes(),
    )


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    """The neck's tensors, and those of the system that the decoder is from."""
    systems = {"encnet": encnet, "deeplabv3": deeplabv3, "pspnet": pspnet, "fcn": fcn}
    rest: KeyMap = systems[options.get("decoder", "encnet")].KEY_MAPS["mmseg"](options)
    return rest._replace(substitutions=[*_MMSEG_NECK, *rest.substitutions])


KEY_MAPS: dict[str, MapBuilder] = {"fastfcn": _authors, "mmseg": _mmseg}
