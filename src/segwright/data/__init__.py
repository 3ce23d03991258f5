"""Pictures and masks: where they are, what the values mean, and how training draws from them.

Reading and checking a data set needs no PyTorch: it is loaded when a name that draws samples is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segwright.data.check import DataReport, Problem, check_data
from segwright.data.dataset import Pair, SegmentationData
from segwright.data.masks import Labels, MaskReader
from segwright.data.source import load_data

if TYPE_CHECKING:
    from segwright.data.loader import SampleLoader, StreamSampler, TrainingSamples, training_loader
    from segwright.data.transforms import Augmentation

_PLACES = {
    "Augmentation": "segwright.data.transforms",
    "SampleLoader": "segwright.data.loader",
    "StreamSampler": "segwright.data.loader",
    "TrainingSamples": "segwright.data.loader",
    "training_loader": "segwright.data.loader",
}

__all__ = [
    "Augmentation",
    "DataReport",
    "Labels",
    "MaskReader",
    "Pair",
    "Problem",
    "SampleLoader",
    "SegmentationData",
    "StreamSampler",
    "TrainingSamples",
    "check_data",
    "load_data",
    "training_loader",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segwright.data' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
