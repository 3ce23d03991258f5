"""Scores from one confusion matrix over the whole split, never from averages over images."""

from segwright.metrics.confusion import ConfusionMatrix
from segwright.metrics.scores import CITYSCAPES_CATEGORIES, Scores

__all__ = ["CITYSCAPES_CATEGORIES", "ConfusionMatrix", "Scores"]
