"""Somebody else's weights under our names."""

import json
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from segwright.errors import WeightsError
from segwright.models import SegmentationModel, build_model
from segwright.zoo.catalog import catalog, create, find
from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap
from segwright.zoo.systems import key_map_of

Shapes = Mapping[str, tuple[int, ...]]


def convert(id: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Somebody else's weights under our names, for ``create(id, num_classes).load_state_dict``.

    Strict: each tensor has its place in our network or is known to be unneeded, each place is filled, and all shapes
    agree. The number of classes is read from the classifier. Counters of batches may be missing.

    Args:
        id: of the catalog entry whose network the weights belong to.
        state_dict: theirs; the tensors are handed on, not copied.

    Raises:
        WeightsError: no such entry, or a key that is unknown, missing or of another shape: the first one is named, and
            the network that the weights look like.
    """
    entry = find(id)
    key_map = key_map_of(entry)
    own = _own_shapes(entry, key_map, state_dict)
    if reasons := _misfits(key_map, own, state_dict):
        other = identify(state_dict)
        looks = f"; they look like those of '{other.id}'" if other is not None else ""
        raise WeightsError(
            f"the weights are not those of '{id}': {reasons[0]}"
            + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")
            + looks,
            fix="give the plain state dict of that very network" if other is None else "load them under that id",
        )
    return {
        key: key_map.our_tensor(key, state_dict.get(key_map.their_key(key), torch.tensor(0))).reshape(shape)
        for key, shape in own.items()
    }


def rebuild(id: str, state_dict: Mapping[str, Tensor]) -> SegmentationModel:
    """The network of an entry with somebody else's weights, for as many classes as these have.

    Raises:
        WeightsError: as :func:`convert`.
    """
    own = convert(id, state_dict)
    model = create(id, own[key_map_of(find(id)).classifier].shape[0])
    model.load_state_dict(own)
    return model


def identify(state_dict: Mapping[str, Tensor]) -> Entry | None:
    """The entry whose network has exactly these tensors, whatever the number of classes; ``None`` if there is none.

    An architecture alone goes before a checkpoint of the same network.
    """
    tried: set[tuple[str, str, str]] = set()
    for entry in sorted(catalog(), key=lambda entry: (entry.weights is not None, entry.id)):
        network = (entry.publisher, entry.model, json.dumps(dict(entry.options)))
        count = entry.weights.tensors if entry.weights is not None else None
        if network in tried or count not in (None, len(state_dict)):
            continue
        tried.add(network)
        key_map = key_map_of(entry)
        has_classifier = key_map.their_key(key_map.classifier) in state_dict
        if has_classifier and not _misfits(key_map, _own_shapes(entry, key_map, state_dict), state_dict):
            return entry
    return None


def _own_shapes(entry: Entry, key_map: KeyMap, state_dict: Mapping[str, object]) -> Shapes:
    """Our tensors' shapes for as many classes as the weights have."""
    rows = _shape(state_dict.get(key_map.their_key(key_map.classifier)))[:1] or (entry.num_classes,)
    return _shapes(entry.model, json.dumps(dict(entry.options)), max(1, *rows))


@lru_cache(maxsize=512)
def _shapes(model: str, options: str, num_classes: int) -> Shapes:
    """Shapes of a network's tensors; nothing is allocated."""
    with torch.device("meta"):
        network = build_model(model, num_classes, json.loads(options))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _misfits(key_map: KeyMap, own: Shapes, state_dict: Mapping[str, object]) -> list[str]:
    """What speaks against the weights, in words; empty where all keys and shapes agree. (1,) equals ()."""
    wanted = {key_map.their_key(key): shape for key, shape in own.items()}
    reasons = [
        f"'{key}' has no place in it" for key in state_dict if key not in wanted and not key_map.is_unneeded(key)
    ]
    reasons += [
        f"'{key}' is missing" for key in wanted if key not in state_dict and not key.endswith("num_batches_tracked")
    ]
    for key, shape in wanted.items():
        if key in state_dict and (theirs := _shape(state_dict[key])) != shape and {theirs, shape} != {(), (1,)}:
            reasons.append(f"'{key}' has shape {theirs}, not {shape}")
    return reasons


def _shape(tensor: object) -> tuple[int, ...]:
    """Empty for what is no tensor, as in a whole training checkpoint."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
