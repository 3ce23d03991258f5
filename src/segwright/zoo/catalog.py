"""The catalog: whose networks we can rebuild, with which model and options, and which of them have weights."""

from functools import lru_cache

from segwright.errors import WeightsError, did_you_mean
from segwright.models import SegmentationModel, build_model
from segwright.zoo.entry import Entry
from segwright.zoo.published import published_entries
from segwright.zoo.systems import ARCHITECTURES


@lru_cache(maxsize=1)
def _entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in sorted((*ARCHITECTURES, *published_entries()), key=lambda entry: entry.id)}


def catalog() -> list[Entry]:
    """All entries, in the order of their ids."""
    return list(_entries().values())


def find(id: str) -> Entry:
    """The entry called ``id``.

    Raises:
        WeightsError: no such entry; the nearest id is named.
    """
    entries = _entries()
    if id not in entries:
        raise WeightsError(f"'{id}' is no id of the catalog{did_you_mean(id, entries)}", fix="segwright models list")
    return entries[id]


def create(id: str, num_classes: int | None = None) -> SegmentationModel:
    """The network of an entry, with fresh weights.

    Args:
        id: of the catalog, ``source/name``.
        num_classes: channels of the logits; ``None`` for as many as the published network has.

    Raises:
        WeightsError: no such entry.
        ConfigError: fewer than one class.

    Example:
        >>> create("mmseg/fast_scnn", num_classes=7).num_classes
        7
    """
    entry = find(id)
    return build_model(entry.model, entry.num_classes if num_classes is None else num_classes, entry.options)
