"""One file per system: the networks of others that are built like it, and how they name their tensors."""

from segwright.zoo.entry import Entry
from segwright.zoo.key_map import KeyMap, MapBuilder
from segwright.zoo.systems import (
    bisenet,
    danet,
    deeplabv3,
    deeplabv3plus,
    encnet,
    fast_scnn,
    fastfcn,
    fcn,
    gated_scnn,
    icnet,
    pspnet,
)

_SYSTEMS = (bisenet, danet, deeplabv3, deeplabv3plus, encnet, fast_scnn, fastfcn, fcn, gated_scnn, icnet, pspnet)

ARCHITECTURES: tuple[Entry, ...] = tuple(entry for system in _SYSTEMS for entry in system.ENTRIES)
"""Reference networks, without published weights."""

KEY_MAPS: dict[tuple[str, str], MapBuilder] = {
    (source, system.MODEL): builder for system in _SYSTEMS for source, builder in system.KEY_MAPS.items()
}
"""By source (the first word of an id) and our model."""


def key_map_of(entry: Entry) -> KeyMap:
    """How the publisher of an entry names the tensors of its network."""
    return KEY_MAPS[entry.publisher, entry.model](entry.options)
