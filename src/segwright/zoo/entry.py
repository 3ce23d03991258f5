"""One network that somebody else published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segwright.info import Preprocessing

PREPROCESSING = {  # ImageNet's for all others
    "caffe": Preprocessing((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255), "BGR"),
}
"""By publisher, where it differs."""


@dataclass(frozen=True)
class Weights:
    """A published checkpoint: where it lies, and what its publishers say of it.

    Args:
        url: of the file, whose name ends in the first eight digits of its SHA-256.
        dataset: key in ``published.datasets()``.
        miou: mean IoU in percent as published, picture whole or in windows, one scale.
        miou_multi_scale: likewise, averaged over scales and mirrored pictures.
        protocol: how both were measured.
        licence: of the weights, by their publishers; the training data's terms come on top.
        parameters: as published, auxiliary heads included.
        tensors: in the file.
    """

    url: str
    dataset: str
    miou: float | None
    miou_multi_scale: float | None
    protocol: str
    licence: str
    parameters: int | None = None
    tensors: int | None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_start(self) -> str:
        """The first digits of the file's hash."""
        return self.file.rpartition("-")[2].partition(".")[0]


@dataclass(frozen=True)
class Entry:
    """A network of somebody else's that we can rebuild.

    Args:
        id: ``source/name``.
        model: registered name of our model.
        options: of our model's builder, such that it computes what theirs does.
        num_classes: of the published network.
        source: where its code is, in which version, and how it departs from the paper.
        weights: the published checkpoint; ``None`` for an architecture alone.
    """

    id: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 19
    source: str = ""
    weights: Weights | None = None

    @property
    def publisher(self) -> str:
        """The first word of the id; it tells how the tensors are named."""
        return self.id.partition("/")[0]

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures enter the network with its publisher's weights."""
        return PREPROCESSING.get(self.publisher, Preprocessing())


def smp_entries(model: str, options: Mapping[str, Any], source: str) -> tuple[Entry, ...]:
    """Networks of one system in segmentation-models-pytorch, on each of its ResNets."""
    return tuple(
        Entry(
            f"smp/{model}_resnet{depth}",
            model,
            {"backbone": f"resnet{depth}", **options, "align_corners": True, "variant": "smp"},
            source=f"segmentation-models-pytorch 0.5.0: {source}",
        )
        for depth in (18, 34, 50, 101, 152)
    )
