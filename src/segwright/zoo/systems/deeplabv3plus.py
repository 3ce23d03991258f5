"""DeepLabv3+ of others."""

from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry, smp_entries
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution
from segwright.zoo.systems.deeplabv3 import mmseg, sequence_aspp

MODEL = "deeplabv3plus"

_MMSEG = (
    "mmsegmentation 1.2.2, _base_/models/deeplabv3plus_r50-d8.py: half the dilation in a stage's first block, no "
    "multi-grid, everything a quarter of the trunk wide, merged by a dense 3x3, auxiliary head"
)
_SMP = (
    "a separable convolution after merging, one instead of two after fusion, no "
    "normalisation inside of them, no multi-grid, the rates of output stride 8 at 16, dropout"
)

ENTRIES = (
    Entry(
        "mmseg/deeplabv3plus_r18-d8",
        MODEL,
        {"backbone": "resnet18c", "output_stride": 8, "variant": "mmseg"},
        source=_MMSEG,
    ),
    Entry(
        "mmseg/deeplabv3plus_r50-d8",
        MODEL,
        {"backbone": "resnet50c", "output_stride": 8, "variant": "mmseg"},
        source=_MMSEG,
    ),
    *smp_entries(MODEL, {}, _SMP),
)


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    pooled = mmseg(options)
    ours: list[Substitution] = [
        (r"^decoder\.low_level", "decode_head.c1_bottleneck"),
        (r"^decoder\.fusion", "decode_head.sep_bottleneck"),
    ]
    return pooled._replace(substitutions=[*ours, *pooled.substitutions])


_SMP_POOLING = "decoder.aspp.0"
_SMP_KEYS: list[Substitution] = [
    (r"^backbone\.network", "encoder"),
    *sequence_aspp(_SMP_POOLING, f"{_SMP_POOLING}.project"),
    (r"^decoder\.low_level", "decoder.block1"),
    (r"^decoder\.fusion\.0", "decoder.block2"),
    (r"^decoder\.classifier$", "segmentation_head.0"),
    (r"^decoder\.refine\.1\.1$", "decoder.aspp.2"),
    (r"^decoder\.refine\.1\.0$", "decoder.aspp.1.1"),
    (r"^decoder\.refine\.0$", "decoder.aspp.1.0"),
    # The two parts of a separable convolution are one layer, its normalisation the next.
    (r"(convs\.[1-3]|block2)\.0$", r"\1.0.0"),
    (r"(convs\.[1-3]|block2)\.1\.0$", r"\1.0.1"),
    (r"(convs\.[1-3]|block2)\.1\.1$", r"\1.1"),
]

KEY_MAPS: dict[str, MapBuilder] = {
    "mmseg": _mmseg,
    "smp": lambda options: KeyMap(_SMP_KEYS, classifier="decoder.classifier.weight"),
}
