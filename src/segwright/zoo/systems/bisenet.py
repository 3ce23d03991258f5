"""BiSeNet of others."""

from collections.abc import Mapping
from typing import Any

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution, counted_from_one, mmseg_fcn_head, mmseg_resnet

MODEL = "bisenet"

_TORCHSEG = "ycszen/TorchSeg at 62eeb15, the authors' PyTorch code"

ENTRIES = (
    Entry("torchseg/bisenet_x39", "bisenet", {"backbone": "xception39", "align_corners": True}, source=_TORCHSEG),
    Entry("torchseg/bisenet_r18", "bisenet", {"backbone": "resnet18", "align_corners": True}, source=_TORCHSEG),
    Entry(
        "torchseg/bisenet_x39_speed",
        "bisenet",
        {"backbone": "xception39", "align_corners": True, "variant": "speed"},
        source=f"{_TORCHSEG}: trained and evaluated at an eighth of the size",
    ),
    Entry(
        "torchseg/bisenet_r18_speed",
        "bisenet",
        {"backbone": "resnet18", "align_corners": True, "variant": "speed"},
        source=f"{_TORCHSEG}: trained and evaluated at an eighth of the size, narrower auxiliary heads",
    ),
    Entry(
        "mmseg/bisenetv1_r18-d32",
        "bisenet",
        {"backbone": "resnet18", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/bisenetv1_r18-d32.py: nearest resize in the context path, one "
        "normalised convolution as fusion attention, other head widths",
    ),
    Entry(
        "mmseg/bisenetv1_r50-d32",
        "bisenet",
        {"backbone": "resnet50", "variant": "mmseg"},
        source="mmsegmentation 1.2.2: as with ResNet-18, both paths four times as wide",
    ),
    Entry(
        "coincheung/bisenetv1",
        "bisenet",
        {"backbone": "resnet18", "variant": "coincheung"},
        source="CoinCheung/BiSeNet at 6b4b67a: as mmsegmentation's, without the ReLU in the fusion attention; takes "
        "multiples of 32 only",
    ),
)


def _conv_bn(ours: str) -> list[Substitution]:
    """Below ``ours``, our convolution and normalisation are numbered, theirs named."""
    return [(rf"^({ours})\b(.*)\.0$", r"\1\2.conv"), (rf"^({ours})\b(.*)\.1$", r"\1\2.bn")]


_TORCHSEG_XCEPTION: list[Substitution] = [
    *_conv_bn(r"backbone\.network\.conv1"),
    (r"^backbone\.network\.stages\.(\d)", counted_from_one("backbone.network.layer{}")),
    (r"\.branch\.(\d)", r".residual_branch.\1"),
    (r"\.shortcut", ".proj"),
    (r"(residual_branch\.\d|proj)\.0$", r"\1.conv1"),
    (r"(residual_branch\.\d|proj)\.1\.0$", r"\1.point_wise_cbr.conv"),
    (r"(residual_branch\.\d|proj)\.1\.1$", r"\1.point_wise_cbr.bn"),
]


def _torchseg_head(ours: str, theirs: str) -> list[Substitution]:
    return [(rf"^{ours}\.0", f"{theirs}.conv_3x3"), (rf"^{ours}\.2$", f"{theirs}.conv_1x1")]


def _torchseg(options: Mapping[str, Any]) -> KeyMap:
    return KeyMap(
        [
            *_conv_bn(r"spatial_path|context_path|fusion\.conv|classifier\.0|aux_heads\.\w+\.0"),
            *(_TORCHSEG_XCEPTION if options["backbone"] == "xception39" else []),
            (r"^spatial_path\.0", "spatial_path.conv_7x7"),
            (r"^spatial_path\.([12])", r"spatial_path.conv_3x3_\1"),
            (r"^spatial_path\.3", "spatial_path.conv_1x1"),
            (r"^context_path\.global_context", "global_context.1"),  # 0 is the pool, here and below
            (r"^context_path\.arm32\.conv", "arms.0.conv_3x3"),
            (r"^context_path\.arm16\.conv", "arms.1.conv_3x3"),
            (r"^context_path\.arm32\.attention", "arms.0.channel_attention.1"),
            (r"^context_path\.arm16\.attention", "arms.1.channel_attention.1"),
            (r"^context_path\.refine32", "refines.0"),
            (r"^context_path\.refine16", "refines.1"),
            (r"^backbone\.network\.", "context_path."),
            (r"^fusion\.conv", "ffm.conv_1x1"),
            (r"^fusion\.attention\.0$", "ffm.channel_attention.1.conv"),
            (r"^fusion\.attention\.2$", "ffm.channel_attention.2.conv"),
            *_torchseg_head(r"aux_heads\.context16", "heads.0"),
            *_torchseg_head(r"aux_heads\.context8", "heads.1"),
            *_torchseg_head("classifier", "heads.2"),
        ],
        classifier="classifier.2.weight",
    )


def _mmseg(options: Mapping[str, Any]) -> KeyMap:
    return KeyMap(
        [
            *_conv_bn("spatial_path|context_path|fusion"),
            *mmseg_resnet(options["backbone"]),
            (r"^backbone\.", "backbone.context_path.backbone."),
            (r"^spatial_path\.(\d)", counted_from_one("backbone.spatial_path.layer{}")),
            (r"^context_path\.(arm\d+)\.conv", r"backbone.context_path.\1.conv_layer"),
            (r"^context_path\.(arm\d+)\.attention", r"backbone.context_path.\1.atten_conv_layer.1"),
            (r"^context_path\.refine(\d+)", r"backbone.context_path.conv_head\1"),
            (r"^context_path\.global_context", "backbone.context_path.gap_conv.1"),
            (r"^fusion\.conv", "backbone.ffm.conv1"),
            (r"^fusion\.attention", "backbone.ffm.conv_atten.0"),
            *mmseg_fcn_head("classifier", "decode_head"),
            *mmseg_fcn_head(r"aux_heads\.context8", "auxiliary_head.0"),
            *mmseg_fcn_head(r"aux_heads\.context16", "auxiliary_head.1"),
        ],
        classifier="classifier.2.weight",
    )


def _coincheung_head(ours: str, theirs: str) -> list[Substitution]:
    return [
        (rf"^{ours}\.0\.0$", f"{theirs}.conv.conv"),
        (rf"^{ours}\.0\.1$", f"{theirs}.conv.bn"),
        (rf"^{ours}\.2$", f"{theirs}.conv_out"),
    ]


_COINCHEUNG = KeyMap(
    [
        (r"^context_path\.(arm\d+)\.attention\.0$", r"cp.\1.conv_atten"),
        (r"^context_path\.(arm\d+)\.attention\.1$", r"cp.\1.bn_atten"),
        (r"^fusion\.attention\.0$", "ffm.conv"),
        (r"^fusion\.attention\.1$", "ffm.bn"),
        *_conv_bn("spatial_path|context_path|fusion"),
        (r"^fusion\.conv", "ffm.convblk"),
        (r"^spatial_path\.([012])", counted_from_one("sp.conv{}")),
        (r"^spatial_path\.3", "sp.conv_out"),
        (r"^context_path\.refine(\d+)", r"cp.conv_head\1"),
        (r"^context_path\.global_context", "cp.conv_avg"),
        (r"^context_path\.", "cp."),
        (r"^backbone\.network\.", "cp.resnet."),
        *_coincheung_head("classifier", "conv_out"),
        *_coincheung_head(r"aux_heads\.context8", "conv_out16"),  # named after the map before its resize
        *_coincheung_head(r"aux_heads\.context16", "conv_out32"),
    ],
    classifier="classifier.2.weight",
)

KEY_MAPS: dict[str, MapBuilder] = {
    "torchseg": _torchseg,
    "mmseg": _mmseg,
    "coincheung": lambda options: _COINCHEUNG,
}
