"""Losses: pixel cross-entropy, its hard-example forms, and the sum over a network's named outputs."""

from segwright.losses.auxiliary import AUX_LOSSES
from segwright.losses.dice import dice
from segwright.losses.distillation import distillation
from segwright.losses.label_codes import LabelCodeLoss
from segwright.losses.pixel import LOSSES, cross_entropy, ohem_cross_entropy, ohem_cross_entropy_by_loss
from segwright.losses.segmentation import SegmentationLoss
from segwright.losses.weights import class_weights

__all__ = [
    "AUX_LOSSES",
    "LOSSES",
    "LabelCodeLoss",
    "SegmentationLoss",
    "class_weights",
    "cross_entropy",
    "dice",
    "distillation",
    "ohem_cross_entropy",
    "ohem_cross_entropy_by_loss",
]
