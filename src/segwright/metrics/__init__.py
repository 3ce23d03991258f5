"""Scores from one confusion matrix over the whole split; only the boundary F-score is a mean over images."""

from segwright.metrics.boundary import BoundaryF, DistanceScores
from segwright.metrics.confusion import ConfusionMatrix
from segwright.metrics.scores import CITYSCAPES_CATEGORIES, Scores

__all__ = ["CITYSCAPES_CATEGORIES", "BoundaryF", "ConfusionMatrix", "DistanceScores", "Scores"]
