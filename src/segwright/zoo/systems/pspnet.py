"""PSPNet of others."""

from segwright.zoo.entry import Entry, smp_entries
from segwright.zoo.key_map import (
    KeyMap,
    MapBuilder,
    Substitution,
    last_block_first,
    mmseg_network,
    torchvision_fcn_head,
)

MODEL = "pspnet"

ENTRIES = (
    Entry(
        "mmseg/pspnet_r50-d8",
        "pspnet",
        {"backbone": "resnet50c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/pspnet_r50-d8.py: half the dilation in a stage's first block",
    ),
    Entry(
        "mmseg/pspnet_r18-d8",
        "pspnet",
        {"backbone": "resnet18c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2: as with ResNet-50, a quarter as wide",
    ),
    Entry(
        "semseg/pspnet50",
        "pspnet",
        {"align_corners": True},
        source="hszhao/semseg, the authors' PyTorch code; it takes sides of 8k + 1 only",
    ),
    Entry("semseg/pspnet101", "pspnet", {"backbone": "resnet101s", "align_corners": True}, source="as semseg/pspnet50"),
    *smp_entries(MODEL, {}, "on c3, no auxiliary head, classifier 3x3, no normalisation in the bin of one cell"),
)

_SEMSEG: list[Substitution] = [
    (r"^backbone\.network\.conv1\.", "layer0."),
    (r"^backbone\.network\.bn1$", "layer0.7"),
    (r"^backbone\.network\.", ""),
    (r"^decoder\.pooling\.branches\.(\d)\.0$", r"ppm.features.\1.1"),
    (r"^decoder\.pooling\.branches\.(\d)\.1$", r"ppm.features.\1.2"),
    (r"^decoder\.pooling\.fusion", "cls"),
    (r"^decoder\.classifier$", "cls.4"),
    *torchvision_fcn_head("aux_head", "aux"),
]

_SMP: list[Substitution] = [
    (r"^backbone\.network\.", "encoder."),
    (r"^decoder\.pooling\.branches\.(\d)", r"decoder.psp.blocks.\1.pool.1"),
    (r"^decoder\.pooling\.fusion", "decoder.conv"),
    (r"^decoder\.classifier$", "segmentation_head.0"),
]


_MMSEG: list[Substitution] = [
    (r"^decoder\.pooling\.branches\.(\d)", r"decode_head.psp_modules.\1.1"),
    (r"^decoder\.pooling\.fusion", "decode_head.bottleneck"),
    (r"^decoder\.classifier$", "decode_head.conv_seg"),
]

KEY_MAPS: dict[str, MapBuilder] = {
    "mmseg": lambda options: KeyMap(mmseg_network(options["backbone"], _MMSEG), classifier="decoder.classifier.weight"),
    "semseg": lambda options: KeyMap(_SEMSEG, classifier="decoder.classifier.weight"),
    "smp": lambda options: KeyMap(
        _SMP,
        classifier="decoder.classifier.weight",
        unneeded=(r"^encoder\.layer[34]\.",),  # theirs keeps the stages that it does not use
        changes={"decoder.pooling.fusion.0.weight": last_block_first(1 / 2)},  # they append the map to its bins
    ),
}
