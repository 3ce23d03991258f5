"""Key maps: what a tensor of our network is called in somebody else's.

A map is a list of substitutions on the path of the module that holds the tensor, each made at most once, in the order
in which they stand. The last word of a key (``weight``, ``running_mean``, ...) is the same everywhere.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segwright.errors import WeightsError
from segwright.zoo.catalog import create, find

Substitution = tuple[str, str | Callable[[re.Match[str]], str]]


class KeyMap(NamedTuple):
    """How one source names the tensors of one of our models.

    Args:
        substitutions: pattern in our name and its replacement, as in ``re.sub``.
        classifier: our key of the tensor whose first side is the number of classes.
    """

    substitutions: tuple[Substitution, ...]
    classifier: str


def _bottleneck(template: str) -> Callable[[re.Match[str]], str]:
    """Our count of all blocks as group (from 1) and block (from 0): the fifth, ``4``, is ``bottleneck2.1``."""
    return lambda match: template.format(int(match[1]) // 3 + 1, int(match[1]) % 3)


def _from_one(template: str) -> Callable[[re.Match[str]], str]:
    """``template`` with the match's number, where they count from 1 and we from 0."""
    return lambda match: template.format(int(match[1]) + 1)


KEY_MAPS = {
    ("mmseg", "fast_scnn"): KeyMap(
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
    ),
    ("tramac", "fast_scnn"): KeyMap(
        (
            (r"^learning_to_downsample\.0", "learning_to_downsample.conv.conv"),
            (r"^learning_to_downsample\.([12])", r"learning_to_downsample.dsconv\1"),
            (r"^global_features\.([0-8])\.layers", _bottleneck("global_feature_extractor.bottleneck{}.{}.block")),
            (r"^global_features\.9\.branches\.(\d)", _from_one("global_feature_extractor.ppm.conv{}.conv")),
            (r"^global_features\.9\.fusion", "global_feature_extractor.ppm.out.conv"),
            (r"^fusion\.context\.0", "feature_fusion.dwconv.conv"),
            (r"^fusion\.context\.1", "feature_fusion.conv_lower_res"),
            (r"^fusion\.detail", "feature_fusion.conv_higher_res"),
            (r"^classifier\.([01])", _from_one("classifier.dsconv{}")),
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
    ),
}
"""By source (the first word of an id) and our model."""


def convert(id: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Somebody else's weights under our names, for ``create(id, num_classes).load_state_dict``.

    Strict: each tensor has its place in our network, each place is filled, and all shapes agree. The number of
    classes is read from the classifier.

    Args:
        id: of the catalog entry whose network the weights belong to.
        state_dict: theirs; the tensors are handed on, not copied.

    Raises:
        WeightsError: no such entry, or a key that is unknown, missing or of another shape; the first one is named.
    """
    entry = find(id)
    key_map = KEY_MAPS[id.partition("/")[0], entry.model]
    rows = _shape(state_dict.get(_their_key(key_map.classifier, key_map)))[:1] or (entry.num_classes,)
    with torch.device("meta"):
        own = create(id, max(1, *rows)).state_dict()
    theirs = {key: _their_key(key, key_map) for key in own}
    _check_fit(id, state_dict, {theirs[key]: tuple(tensor.shape) for key, tensor in own.items()})
    return {key: state_dict[theirs[key]] for key in own}


def _their_key(key: str, key_map: KeyMap) -> str:
    module, _, leaf = key.rpartition(".")
    for pattern, replacement in key_map.substitutions:
        module = re.sub(pattern, replacement, module, count=1)
    return f"{module}.{leaf}"


def _check_fit(id: str, state_dict: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Keys and shapes equal those expected, or WeightsError for the first that does not."""
    reasons = [f"'{key}' has no place in it" for key in state_dict if key not in shapes]
    reasons += [f"'{key}' is missing" for key in shapes if key not in state_dict]
    reasons += [
        f"'{key}' has shape {_shape(state_dict[key])}, not {shape}"
        for key, shape in shapes.items()
        if key in state_dict and _shape(state_dict[key]) != shape
    ]
    if reasons:
        raise WeightsError(
            f"the weights are not those of '{id}': {reasons[0]}", fix="give the plain state dict of that very network"
        )


def _shape(tensor: object) -> tuple[int, ...]:
    """Empty for what is no tensor, as in a whole training checkpoint."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
