"""Somebody else's weights under our names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from segwright.errors import WeightsError
from segwright.zoo.catalog import create, find
from segwright.zoo.systems import KEY_MAPS


def convert(id: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Somebody else's weights under our names, for ``create(id, num_classes).load_state_dict``.

    Strict: each tensor has its place in our network or is known to be unneeded, each place is filled, and all shapes
    agree. The number of classes is read from the classifier. Counters of batches may be missing.

    Args:
        id: of the catalog entry whose network the weights belong to.
        state_dict: theirs; the tensors are handed on, not copied.

    Raises:
        WeightsError: no such entry, or a key that is unknown, missing or of another shape; the first one is named.
    """
    entry = find(id)
    key_map = KEY_MAPS[id.partition("/")[0], entry.model](entry.options)
    rows = _shape(state_dict.get(key_map.their_key(key_map.classifier)))[:1] or (entry.num_classes,)
    with torch.device("meta"):
        own = create(id, max(1, *rows)).state_dict()
    theirs = {key: key_map.their_key(key) for key in own}
    needed = {key: tensor for key, tensor in state_dict.items() if not key_map.is_unneeded(key)}
    counters = {theirs[key]: torch.tensor(0) for key in own if key.endswith("num_batches_tracked")}
    filled = {**{key: zero for key, zero in counters.items() if key not in needed}, **needed}
    _check_fit(id, filled, {theirs[key]: tuple(tensor.shape) for key, tensor in own.items()})
    return {key: key_map.our_tensor(key, filled[theirs[key]]).reshape(own[key].shape) for key in own}


def _check_fit(id: str, state_dict: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Keys and shapes equal those expected, or WeightsError for the first that does not; (1,) equals ()."""
    reasons = [f"'{key}' has no place in it" for key in state_dict if key not in shapes]
    reasons += [f"'{key}' is missing" for key in shapes if key not in state_dict]
    reasons += [
        f"'{key}' has shape {_shape(state_dict[key])}, not {shape}"
        for key, shape in shapes.items()
        if key in state_dict and _shape(state_dict[key]) != shape and {_shape(state_dict[key]), shape} != {(), (1,)}
    ]
    if reasons:
        raise WeightsError(
            f"the weights are not those of '{id}': {reasons[0]}", fix="give the plain state dict of that very network"
        )


def _shape(tensor: object) -> tuple[int, ...]:
    """Empty for what is no tensor, as in a whole training checkpoint."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
