"""The catalog: whose networks we can rebuild, and with which model and options."""

from segwright.errors import WeightsError, did_you_mean
from segwright.models import SegmentationModel, build_model
from segwright.zoo.entry import Entry
from segwright.zoo.systems import ARCHITECTURES


def catalog() -> list[Entry]:
    """All entries, in the order of their ids."""
    return sorted(ARCHITECTURES, key=lambda entry: entry.id)


def find(id: str) -> Entry:
    """The entry called ``id``.

    Raises:
        WeightsError: no such entry; the nearest id is named.
    """
    entries = {entry.id: entry for entry in ARCHITECTURES}
    if id not in entries:
        raise WeightsError(
            f"'{id}' is no id of the catalog{did_you_mean(id, entries)}", fix="segwright.zoo.catalog() lists all ids"
        )
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
