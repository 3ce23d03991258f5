from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segwright import zoo
from segwright.errors import WeightsError
from tests.support.reference import golden

StateDict = dict[str, Tensor]

CLASSIFIERS = {
    "mmseg/fast_scnn": ("decode_head.conv_seg", "auxiliary_head.0.conv_seg", "auxiliary_head.1.conv_seg"),
    "tramac/fast_scnn": ("classifier.conv.1", "auxlayer.4"),
}
IDS = list(CLASSIFIERS)


def theirs(id: str, num_classes: int = 19) -> StateDict:
    """Their state dict, each tensor filled with its position, so that no two are equal."""
    shapes = dict(golden(id.replace("/", "__")).record["state_dict"])
    return {
        name: torch.full(
            [num_classes if is_classifier(id, name) and i == 0 else n for i, n in enumerate(shape)], 1.0 * k
        )
        for k, (name, shape) in enumerate(shapes.items())
    }


def is_classifier(id: str, name: str) -> bool:
    return name.rpartition(".")[0] in CLASSIFIERS[id]


@pytest.mark.parametrize("num_classes", [1, 2, 19, 150])
@pytest.mark.parametrize("id", IDS)
def test_every_tensor_is_used_once_and_loads_strictly(id: str, num_classes: int) -> None:
    weights = theirs(id, num_classes)
    converted = zoo.convert(id, weights)
    zoo.create(id, num_classes).load_state_dict(converted, strict=True)
    assert sorted(float(tensor.flatten()[0]) for tensor in converted.values()) == [
        float(k) for k in range(len(weights))
    ]


@pytest.mark.parametrize("id", IDS)
def test_kinds_of_tensors_keep_their_names(id: str) -> None:
    names = list(theirs(id))
    for ours, tensor in zoo.convert(id, theirs(id)).items():
        assert ours.rpartition(".")[2] == names[int(tensor.flatten()[0])].rpartition(".")[2]


def without(key: str) -> Callable[[StateDict], StateDict]:
    return lambda weights: {name: tensor for name, tensor in weights.items() if name != key}


def replaced(key: str, tensor: object) -> Callable[[StateDict], StateDict]:
    return lambda weights: {**weights, key: tensor}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("backbone.surplus.weight", torch.zeros(1)), "'backbone.surplus.weight' has no place in it"),
        (replaced("fusion.detail.0.weight", torch.zeros(128, 64, 1, 1)), "'fusion.detail.0.weight' has no place in it"),
        (without("backbone.feature_fusion.dwconv.bn.bias"), "'backbone.feature_fusion.dwconv.bn.bias' is missing"),
        (without("decode_head.conv_seg.weight"), "'decode_head.conv_seg.weight' is missing"),
        (
            replaced("auxiliary_head.0.conv_seg.bias", torch.zeros(7)),
            r"'auxiliary_head.0.conv_seg.bias' has shape \(7,\), not \(19,\)",
        ),
        (
            replaced("decode_head.conv_seg.weight", torch.zeros(0, 128, 1, 1)),
            r"'decode_head.conv_seg.weight' has shape \(0, 128, 1, 1\), not \(1, 128, 1, 1\)",
        ),
        (replaced("decode_head.conv_seg.weight", torch.tensor(1.0)), r"'decode_head.conv_seg.weight' has shape \(\)"),
        (lambda weights: {"meta": {}, "state_dict": weights}, "'meta' has no place in it"),
        (lambda weights: {}, "'backbone.learning_to_downsample.conv.conv.weight' is missing"),
    ],
    ids=range(9),
)
def test_first_key_that_does_not_fit_is_named(change: Callable[[StateDict], StateDict], message: str) -> None:
    with pytest.raises(WeightsError, match=f"the weights are not those of 'mmseg/fast_scnn': {message}"):
        zoo.convert("mmseg/fast_scnn", change(theirs("mmseg/fast_scnn")))


def test_weights_of_another_source_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"'learning_to_downsample\.conv\.conv\.0\.weight' has no place"):
        zoo.convert("mmseg/fast_scnn", theirs("tramac/fast_scnn"))


def test_unknown_id_is_an_error() -> None:
    with pytest.raises(WeightsError, match="is no id of the catalog"):
        zoo.convert("nobody/fast_scnn", {})
