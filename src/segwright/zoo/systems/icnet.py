"""ICNet of others."""

import re
from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution, last_block_first, mmseg_fcn_head, mmseg_resnet

MODEL = "icnet"

ENTRIES = (
    Entry(
        "caffe/icnet",
        "icnet",
        {"aux": False},
        source="hszhao/ICNet at dd2bf78, icnet_cityscapes_bnnomerge.prototxt: the authors' network for testing, "
        "without the heads of the label guidance; it takes 1025x2049 only",
    ),
    Entry(
        "mmseg/icnet_r50-d8",
        "icnet",
        {"backbone": "resnet50c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/icnet_r50-d8.py: another network than the paper's, see "
        "segwright.models.icnet_mmseg",
    ),
    Entry(
        "mmseg/icnet_r18-d8",
        "icnet",
        {"backbone": "resnet18c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2: as with ResNet-50",
    ),
)


def _block(match: re.Match[str]) -> str:
    """Stages and blocks count from 1; our conv3 begins with the second block."""
    stage, block = int(match[1]), int(match[2])
    return f"conv{stage}_{block + (2 if stage == 3 else 1)}"


_CAFFE = KeyMap(
    (
        (r"^stem\.(\d)", lambda match: f"conv1_{int(match[1]) + 1}_3x3" + ("_s2" if match[1] == "0" else "")),
        (r"^conv([2345])\.(\d+)", _block),
        (r"^high_branch\.(\d)", lambda match: f"conv{int(match[1]) + 1}_sub1"),
        (r"^conv5_4\.", "conv5_4_k1."),
        (r"^fusion_low\.low", "conv_sub4"),
        (r"^fusion_low\.high", "conv3_1_sub2_proj"),
        (r"^fusion_medium\.low", "conv_sub2"),
        (r"^fusion_medium\.high", "conv3_sub1_proj"),
        (r"^classifier$", "conv6_cls"),
        (r"\.(reduce|increase)\.", r"_1x1_\1."),
        (r"\.conv\.", "_3x3."),
        (r"\.projection\.", "_1x1_proj."),
        (r"\.0$", ""),
        (r"\.1$", "/bn"),
    ),
    classifier="classifier.weight",
)


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    has_basic_blocks = re.match(r"resnet(18|34)", options["backbone"])
    c5 = 512 if has_basic_blocks else 2048
    fusion: list[Substitution] = [
        (rf"^fusion_{ours}\.(low|high)", rf"neck.cff_{theirs}.conv_\1")
        for ours, theirs in (("low", 24), ("medium", 12))
    ]
    return KeyMap(
        [
            *mmseg_resnet(options["backbone"]),
            (r"^backbone\.", "backbone.backbone."),
            (r"^pyramid\.branches\.(\d)", r"backbone.psp_modules.\1.1"),
            (r"^pyramid\.fusion", "backbone.psp_bottleneck"),
            (r"^low_projection", "backbone.conv_sub4"),
            (r"^medium_projection", "backbone.conv_sub2"),
            (r"^high_branch", "backbone.conv_sub1"),
            *fusion,
            *mmseg_fcn_head("classifier", "decode_head"),
            *mmseg_fcn_head(r"aux_heads\.low", "auxiliary_head.0"),
            *mmseg_fcn_head(r"aux_heads\.medium", "auxiliary_head.1"),
            (r"^((neck|backbone\.(psp|conv_sub)).*)\.0$", r"\1.conv"),
            (r"^((neck|backbone\.(psp|conv_sub)).*)\.1$", r"\1.bn"),
        ],
        classifier="classifier.2.weight",
        changes={"pyramid.fusion.0.weight": last_block_first(c5 / (c5 + 4 * 512))},  # they append the map to its bins
    )


KEY_MAPS: dict[str, MapBuilder] = {"caffe": lambda options: _CAFFE, "mmseg": _mmseg}
