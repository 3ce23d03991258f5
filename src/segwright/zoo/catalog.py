"""The catalog: whose networks we can rebuild, and with which model and options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segwright.errors import WeightsError, did_you_mean
from segwright.models import SegmentationModel, build_model


@dataclass(frozen=True)
class Entry:
    """One network that somebody else published.

    Args:
        id: ``source/name``.
        model: registered name of our model.
        options: of our model's builder, such that it computes what theirs does.
        num_classes: of the published network.
        source: where its code is, in which version, and how it departs from the paper.
    """

    id: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 19
    source: str = ""


_ENTRIES = (
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


def catalog() -> list[Entry]:
    """All entries, in the order of their ids."""
    return sorted(_ENTRIES, key=lambda entry: entry.id)


def find(id: str) -> Entry:
    """The entry called ``id``.

    Raises:
        WeightsError: no such entry; the nearest id is named.
    """
    entries = {entry.id: entry for entry in _ENTRIES}
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
