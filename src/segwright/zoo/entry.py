"""One network that somebody else published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A network of somebody else's that we can rebuild.

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
