"""DANet of others."""

from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution, mmseg_network

MODEL = "danet"

ENTRIES = (
    Entry(
        "danet/danet_resnet50_mg_nodeepstem",
        MODEL,
        {"align_corners": True},
        source="junfu1115/DANet at b0a0fa0, the authors' code: multi-grid, 7x7 stem",
    ),
    Entry(
        "danet/danet_resnet101_mg_nodeepstem",
        MODEL,
        {"backbone": "resnet101", "align_corners": True},
        source="as danet/danet_resnet50_mg_nodeepstem",
    ),
    Entry(
        "danet/danet_resnet50s_dilated",
        MODEL,
        {"backbone": "resnet50s", "multi_grid": False, "align_corners": True},
        source="junfu1115/DANet at b0a0fa0, the authors' code: no multi-grid, deep stem of 64, 64, 128 channels",
    ),
    Entry(
        "mmseg/danet_r50-d8",
        MODEL,
        {"backbone": "resnet50c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/danet_r50-d8.py: no multi-grid, an auxiliary head",
    ),
)


def _projections(ours: str, template: str) -> list[Substitution]:
    return [(rf"^{ours}\.{name}$", template.format(name)) for name in ("query", "key", "value")]


_AUTHORS: list[Substitution] = [
    (r"^backbone\.network\.", "pretrained."),
    (r"^decoder\.position\.0", "head.conv5a"),
    (r"^decoder\.channel\.0", "head.conv5c"),
    *_projections(r"decoder\.position\.1", "head.sa.{}_conv"),
    (r"^decoder\.position\.1$", "head.sa"),
    (r"^decoder\.channel\.1$", "head.sc"),
    (r"^decoder\.position\.2", "head.conv51"),
    (r"^decoder\.channel\.2", "head.conv52"),
    (r"^decoder\.position_classifier", "head.conv6"),
    (r"^decoder\.channel_classifier", "head.conv7"),
    (r"^decoder\.classifier", "head.conv8"),
]


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    branches: list[Substitution] = []
    for ours, theirs in (("position", "pam"), ("channel", "cam")):
        branches += _projections(rf"decoder\.{ours}\.1", f"decode_head.{theirs}.{{}}_project")
        branches += [
            (rf"^decoder\.{ours}\.1$", f"decode_head.{theirs}.gamma"),
            (rf"^decoder\.{ours}\.0", f"decode_head.{theirs}_in_conv"),
            (rf"^decoder\.{ours}\.2", f"decode_head.{theirs}_out_conv"),
            (rf"^decoder\.{ours}_classifier\.1$", f"decode_head.{theirs}_conv_seg"),
        ]
    return KeyMap(
        mmseg_network(options["backbone"], [*branches, (r"^decoder\.classifier\.1$", "decode_head.conv_seg")]),
        classifier="decoder.classifier.1.weight",
        whole=[(r"\.gamma\.(gamma|beta)$", ".gamma.scale")],
    )


KEY_MAPS: dict[str, MapBuilder] = {
    "danet": lambda options: KeyMap(
        _AUTHORS, classifier="decoder.classifier.1.weight", whole=[(r"\.sc\.beta$", ".sc.gamma")]
    ),
    "mmseg": _mmseg,
}
