"""DeepLabv3 of others."""

import re
from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry, smp_entries
from segwright.zoo.key_map import (
    KeyMap,
    MapBuilder,
    Substitution,
    last_block_first,
    mmseg_fcn_head,
    mmseg_resnet,
    torchvision_fcn_head,
)

MODEL = "deeplabv3"

_MMSEG = (
    "mmsegmentation 1.2.2, _base_/models/deeplabv3_r50-d8.py: half the dilation in a stage's first block, no "
    "multi-grid, everything a quarter of the trunk wide, merged by 3x3, auxiliary head"
)
_TORCHVISION = "torchvision 0.16.2: a 3x3 convolution after merging, no multi-grid, dropout, auxiliary head"
_SMP = "a 3x3 convolution after merging, no multi-grid, dropout"

ENTRIES = (
    Entry(
        "mmseg/deeplabv3_r50-d8",
        MODEL,
        {"backbone": "resnet50c", "output_stride": 8, "variant": "mmseg"},
        source=_MMSEG,
    ),
    Entry(
        "mmseg/deeplabv3_r101-d8",
        MODEL,
        {"backbone": "resnet101c", "output_stride": 8, "variant": "mmseg"},
        source=_MMSEG,
    ),
    *smp_entries(MODEL, {"output_stride": 8}, _SMP),
    Entry(
        "torchvision/deeplabv3_resnet50",
        MODEL,
        {"backbone": "resnet50", "output_stride": 8, "variant": "torchvision"},
        num_classes=21,
        source=_TORCHVISION,
    ),
    Entry(
        "torchvision/deeplabv3_resnet101",
        MODEL,
        {"backbone": "resnet101", "output_stride": 8, "variant": "torchvision"},
        num_classes=21,
        source=_TORCHVISION,
    ),
    Entry(
        "torchvision/deeplabv3_mobilenet_v3_large",
        MODEL,
        {"backbone": "mobilenetv3_large_torchvision", "variant": "torchvision"},
        num_classes=21,
        source=f"{_TORCHVISION} on the first block of stride 8; the rates of output stride 8 at 16",
    ),
)


def mmseg_aspp(ours: str, theirs: str) -> list[Substitution]:
    """Mmsegmentation's ASPP head: its convolutions are dense or separable, its layers called conv and bn."""
    return [
        (rf"^{ours}\.aspp\.branches\.(\d)", rf"{theirs}.aspp_modules.\1"),
        (rf"^{ours}\.aspp\.image_pooling", f"{theirs}.image_pool"),
        (rf"^{ours}\.aspp\.merge", f"{theirs}.bottleneck"),
        (rf"^{ours}\.classifier$", f"{theirs}.conv_seg"),
        (rf"^({theirs}\..*\.\d)\.0\.([01])$", r"\1.depthwise_conv.\2"),
        (rf"^({theirs}\..*\.\d)\.1\.([01])$", r"\1.pointwise_conv.\2"),
        (rf"^({theirs}\..*)\.0$", r"\1.conv"),
        (rf"^({theirs}\..*)\.1$", r"\1.bn"),
    ]


def sequence_aspp(theirs: str, merge: str) -> list[Substitution]:
    """The pooling of torchvision and of segmentation-models-pytorch: image pooling is the fifth of its branches."""
    return [
        (r"^decoder\.aspp\.image_pooling\.1\.0$", f"{theirs}.convs.4.1"),  # 0 is the pooling itself
        (r"^decoder\.aspp\.image_pooling\.1\.1$", f"{theirs}.convs.4.2"),
        (r"^decoder\.aspp\.branches", f"{theirs}.convs"),
        (r"^decoder\.aspp\.merge", merge),
    ]


def mmseg(options: Mapping[str, Any]) -> KeyMap:
    """Mmsegmentation's networks of both papers."""
    return KeyMap(
        [
            *mmseg_resnet(options["backbone"]),
            *mmseg_aspp("decoder", "decode_head"),
            *mmseg_fcn_head("aux_head", "auxiliary_head"),
        ],
        classifier="decoder.classifier.weight",
        changes={"decoder.aspp.merge.0.weight": last_block_first(4 / 5)},  # they begin with image pooling
    )


def _torchvision(options: Mapping[str, Any]) -> KeyMap:
    is_mobilenet = options["backbone"].startswith("mobilenetv3")
    return KeyMap(
        [
            *(_mobilenet_v3() if is_mobilenet else [(r"^backbone\.network", "backbone")]),
            *sequence_aspp("classifier.0", "classifier.0.project"),
            (r"^decoder\.refine\.0$", "classifier.1"),
            (r"^decoder\.refine\.1$", "classifier.2"),
            (r"^decoder\.classifier$", "classifier.4"),
            *torchvision_fcn_head("aux_head", "aux_classifier"),
        ],
        classifier="decoder.classifier.weight",
    )


_BLOCKS_BEFORE = (1, 2, 4, 7, 11, 13, 16)
"""Layers of torchvision's MobileNetV3-Large before each of timm's stages; the stem is the first."""
_HAS_SQUEEZE = (2, 4, 5)
"""Stages of MobileNetV3-Large with squeeze and excitation."""


def _mobilenet_v3() -> list[Substitution]:
    """Torchvision's MobileNetV3-Large: one sequence of layers, each block a sequence of convolution-normalisations."""

    def block(match: re.Match[str]) -> str:
        return f"backbone.{_BLOCKS_BEFORE[int(match[1])] + int(match[2])}.block"

    def project(match: re.Match[str]) -> str:
        last = 3 if int(match[1]) in _HAS_SQUEEZE else 2
        return f"{block(match)}.{last}.{0 if match[3] == 'conv_pwl' else 1}"

    stage = r"^backbone\.network\.blocks\.(\d)\.(\d)\."
    first = r"^backbone\.network\.blocks\.(0)\.(0)\."  # depthwise and pointwise only
    return [
        (r"^backbone\.network\.conv_stem$", "backbone.0.0"),
        (r"^backbone\.network\.bn1$", "backbone.0.1"),
        (r"^backbone\.network\.blocks\.6\.0\.conv$", "backbone.16.0"),
        (r"^backbone\.network\.blocks\.6\.0\.bn1$", "backbone.16.1"),
        (first + "conv_dw$", lambda match: f"{block(match)}.0.0"),
        (first + "bn1$", lambda match: f"{block(match)}.0.1"),
        (first + "conv_pw$", lambda match: f"{block(match)}.1.0"),
        (first + "bn2$", lambda match: f"{block(match)}.1.1"),
        (stage + "conv_pw$", lambda match: f"{block(match)}.0.0"),
        (stage + "bn1$", lambda match: f"{block(match)}.0.1"),
        (stage + "conv_dw$", lambda match: f"{block(match)}.1.0"),
        (stage + "bn2$", lambda match: f"{block(match)}.1.1"),
        (stage + r"se\.conv_reduce$", lambda match: f"{block(match)}.2.fc1"),
        (stage + r"se\.conv_expand$", lambda match: f"{block(match)}.2.fc2"),
        (stage + "(conv_pwl|bn3)$", project),
    ]


_SMP_KEYS: list[Substitution] = [
    (r"^backbone\.network", "encoder"),
    *sequence_aspp("decoder.aspp", "decoder.aspp.project"),
    (r"^decoder\.refine\.0$", "decoder.conv"),
    (r"^decoder\.refine\.1$", "decoder.bn"),
    (r"^decoder\.classifier$", "segmentation_head.0"),
]

KEY_MAPS: dict[str, MapBuilder] = {
    "mmseg": mmseg,
    "smp": lambda options: KeyMap(_SMP_KEYS, classifier="decoder.classifier.weight"),
    "torchvision": _torchvision,
}
