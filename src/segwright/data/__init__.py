"""Pictures and masks: where they are, what the values mean, and how training draws from them."""

from segwright.data.check import DataReport, Problem, check_data
from segwright.data.dataset import Pair, SegmentationData
from segwright.data.loader import SampleLoader, StreamSampler, TrainingSamples, training_loader
from segwright.data.masks import Labels, MaskReader
from segwright.data.source import load_data
from segwright.data.transforms import Augmentation

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
