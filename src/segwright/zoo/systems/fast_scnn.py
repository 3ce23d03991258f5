"""Fast-SCNN of others."""

import re
from collections.abc import Callable

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder, counted_from_one

MODEL = "fast_scnn"

ENTRIES = (
    Entry(
        "mmseg/fast_scnn",
        "fast_scnn",
        {"variant": "mmseg"},
        source="mmsegmentation 1.2.2, _base_/models/fast_scnn.py: pyramid fused by a 3x3 convolution, no dilation in "
        "the feature fusion",
    ),
    Entry(
        "tramac/fast_scnn",
        "fast_scnn",
        {"variant": "tramac"},
        source="Tramac/Fast-SCNN-pytorch at 0638517 with aux=True: first convolution without padding, ReLU after "
        "depthwise convolutions, no dilation but a bias in the feature fusion, corners aligned, one auxiliary head",
    ),
)


def _bottleneck(template: str) -> Callable[[re.Match[str]], str]:
    """Our count of all blocks as group (from 1) and block (from 0): the fifth, ``4``, is ``bottleneck2.1``."""
    return lambda match: template.format(int(match[1]) // 3 + 1, int(match[1]) % 3)


_MMSEG = KeyMap(
    (
        (r"^learning_to_downsample\.0", "backbone.learning_to_downsample.conv"),
        (r"^learning_to_downsample\.([12])", r"backbone.learning_to_downsample.dsconv\1"),
        (
            r"^global_features\.([0-8])\.layers",
            _bottleneck("backbone.global_feature_extractor.bottleneck{}.{}.conv"),
        ),
        (r"^global_features\.9\.branches\.(\d)", r"backbone.global_feature_extractor.ppm.\1.1"),
        (r"^global_features\.9\.fusion", "backbone.global_feature_extractor.out"),
        (r"^fusion\.context\.0", "backbone.feature_fusion.dwconv"),
        (r"^fusion\.context\.1", "backbone.feature_fusion.conv_lower_res"),
        (r"^fusion\.detail", "backbone.feature_fusion.conv_higher_res"),
        (r"^classifier\.([01])", r"decode_head.convs.\1"),
        (r"^classifier\.3$", "decode_head.conv_seg"),
        (r"^aux_heads\.context", "auxiliary_head.0"),
        (r"^aux_heads\.detail", "auxiliary_head.1"),
        (r"^(auxiliary_head\.\d)\.0\.", r"\1.convs.0."),
        (r"^(auxiliary_head\.\d)\.2$", r"\1.conv_seg"),
        (r"(dsconv\d|decode_head\.convs\.\d)\.0\.", r"\1.depthwise_conv."),
        (r"(dsconv\d|decode_head\.convs\.\d)\.1\.", r"\1.pointwise_conv."),
        (r"\.0$", ".conv"),
        (r"\.1$", ".bn"),
    ),
    classifier="classifier.3.weight",
)

_TRAMAC = KeyMap(
    (
        (r"^learning_to_downsample\.0", "learning_to_downsample.conv.conv"),
        (r"^learning_to_downsample\.([12])", r"learning_to_downsample.dsconv\1"),
        (r"^global_features\.([0-8])\.layers", _bottleneck("global_feature_extractor.bottleneck{}.{}.block")),
        (r"^global_features\.9\.branches\.(\d)", counted_from_one("global_feature_extractor.ppm.conv{}.conv")),
        (r"^global_features\.9\.fusion", "global_feature_extractor.ppm.out.conv"),
        (r"^fusion\.context\.0", "feature_fusion.dwconv.conv"),
        (r"^fusion\.context\.1", "feature_fusion.conv_lower_res"),
        (r"^fusion\.detail", "feature_fusion.conv_higher_res"),
        (r"^classifier\.([01])", counted_from_one("classifier.dsconv{}")),
        (r"^classifier\.3$", "classifier.conv.1"),  # 0 is the dropout
        (r"^aux_heads\.detail\.0\.([01])$", r"auxlayer.\1"),
        (r"^aux_heads\.detail\.2$", "auxlayer.4"),
        (r"(dsconv\d)\.0\.([01])$", r"\1.conv.\2"),  # 2 is a ReLU
        (r"(dsconv\d)\.1\.0$", r"\1.conv.3"),
        (r"(dsconv\d)\.1\.1$", r"\1.conv.4"),
        (r"block\.([01])\.([01])$", r"block.\1.conv.\2"),
        (r"block\.2\.0$", "block.2"),
        (r"block\.2\.1$", "block.3"),
    ),
    classifier="classifier.3.weight",
)

KEY_MAPS: dict[str, MapBuilder] = {"mmseg": lambda options: _MMSEG, "tramac": lambda options: _TRAMAC}
