"""Gated-SCNN of its authors."""

import re

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, counted_from_one, last_block_first

MODEL = "gated_scnn"

ENTRIES = (
    Entry(
        "gscnn/gscnn_wrn38",
        "gated_scnn",
        {"variant": "released"},
        source="nv-tlabs/GSCNN at edd16c5: corners aligned in all resizes but the last; Canny reads the normalised "
        "values as bytes and gives 0 or 255",
    ),
)

_GATES = {"0": "dsn3", "1": "dsn4", "2": "dsn7"}


def _block(match: re.Match[str]) -> str:
    return f"mod{match[1]}.block{int(match[2]) + 1}"


def _attention(match: re.Match[str]) -> str:
    return f"gate{int(match[1]) + 1}._gate_conv.{match[2]}"


_GSCNN = KeyMap(
    (
        (r"^backbone\.mod1$", "mod1.conv1"),
        (r"^backbone\.mod(\d)\.(\d)", _block),
        (r"\.norms\.0$", ".bn1.0"),
        (r"\.norms\.(\d)$", counted_from_one(".convs.bn{}.0")),
        (r"(block\d)\.convs\.(\d)$", lambda match: f"{match[1]}.convs.conv{int(match[2]) + 1}"),
        (r"\.projection$", ".proj_conv"),
        (r"^shape_stream\.gates\.(\d)", lambda match: _GATES[match[1]]),
        (r"^shape_stream\.blocks\.(\d)\.1$", counted_from_one("d{}")),
        (r"^shape_stream\.blocks\.(\d)\.0\.layers", counted_from_one("res{}")),
        (r"^(res\d)\.(\d)\.0$", lambda match: f"{match[1]}.conv{int(match[2]) + 1}"),
        (r"^(res\d)\.(\d)\.1$", lambda match: f"{match[1]}.bn{int(match[2]) + 1}"),
        (r"^shape_stream\.gated_convs\.(\d)\.attention\.(\d)", _attention),
        (r"^shape_stream\.gated_convs\.(\d)\.weighting", counted_from_one("gate{}")),
        (r"^shape_stream\.classifier", "fuse"),
        (r"^combination", "cw"),
        (r"^fusion\.aspp\.branches", "aspp.features"),
        (r"^fusion\.aspp\.image_pooling\.1", "aspp.img_conv"),
        (r"^fusion\.boundary_branch", "aspp.edge_conv"),
        (r"^fusion\.merge", "bot_aspp"),
        (r"^fusion\.fine", "bot_fine"),
        (r"^fusion\.classifier\.0", "final_seg"),
        (r"^fusion\.classifier\.1\.(\d)", lambda match: f"final_seg.{int(match[1]) + 3}"),
        (r"^fusion\.classifier\.2", "final_seg.6"),
    ),
    classifier="fusion.classifier.2.weight",
    unneeded=(r"^dsn1\.",),  # a head that nothing reads
    changes={"fusion.merge.weight": last_block_first(4 / 6)},  # theirs begin with image pooling and boundaries
)

KEY_MAPS: dict[str, MapBuilder] = {"gscnn": lambda options: _GSCNN}
