"""EncNet of others."""

from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, mmseg_fcn_head, mmseg_resnet

MODEL = "encnet"

ENTRIES = (
    Entry(
        "mmseg/encnet_r50-d8",
        "encnet",
        {"backbone": "resnet50c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/encnet_r50-d8.py: as the authors' code on another stem",
    ),
)


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    return KeyMap(
        [
            *mmseg_resnet(options["backbone"]),
            (r"^decoder\.conv5", "decode_head.bottleneck"),
            (r"^decoder\.laterals\.projections", "decode_head.lateral_convs"),
            (r"^decoder\.laterals\.fusion", "decode_head.fusion"),
            (r"^decoder\.context\.projection", "decode_head.enc_module.encoding_project"),
            (r"^(decode_head\..*)\.0$", r"\1.conv"),
            (r"^(decode_head\..*)\.1$", r"\1.bn"),
            (r"^decoder\.context\.encoding$", "decode_head.enc_module.encoding.0"),
            (r"^decoder\.context\.norm$", "decode_head.enc_module.encoding.1"),
            (r"^decoder\.context\.gate$", "decode_head.enc_module.fc.0"),
            (r"^decoder\.presence$", "decode_head.se_layer"),
            (r"^decoder\.classifier$", "decode_head.conv_seg"),
            *mmseg_fcn_head("aux_head", "auxiliary_head"),
        ],
        classifier="decoder.classifier.weight",
        whole=[(r"\.smoothing$", ".scale")],
    )


KEY_MAPS: dict[str, MapBuilder] = {"mmseg": _mmseg}
