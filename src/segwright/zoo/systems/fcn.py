"""FCN of others."""

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, Substitution, mmseg_network, torchvision_fcn_head

MODEL = "fcn"

ENTRIES = (
    Entry(
        "mmseg/fcn_r50-d8",
        "fcn",
        {"backbone": "resnet50c", "variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/fcn_r50-d8.py: two convolutions, and one that sees the map again",
    ),
    Entry("torchvision/fcn_resnet50", "fcn", {"backbone": "resnet50"}, source="torchvision, fcn_resnet50"),
)

_TORCHVISION: list[Substitution] = [
    (r"^backbone\.network\.", "backbone."),
    (r"^decoder\.convs\.0\.([01])$", r"classifier.\1"),
    (r"^decoder\.classifier$", "classifier.4"),
    *torchvision_fcn_head("aux_head", "aux_classifier"),
]


_MMSEG: list[Substitution] = [
    (r"^decoder\.convs\.(\d)", r"decode_head.convs.\1"),
    (r"^decoder\.fusion", "decode_head.conv_cat"),
    (r"^decoder\.classifier$", "decode_head.conv_seg"),
]

KEY_MAPS: dict[str, MapBuilder] = {
    "mmseg": lambda options: KeyMap(mmseg_network(options["backbone"], _MMSEG), classifier="decoder.classifier.weight"),
    "torchvision": lambda options: KeyMap(_TORCHVISION, classifier="decoder.classifier.weight"),
}
