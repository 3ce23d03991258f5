"""Scores of a confusion matrix: IoU, accuracy and Dice per class, their means, and category IoU."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ConfigError, did_you_mean

Counts = NDArray[np.int64]
Ratios = NDArray[np.float64]

CITYSCAPES_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""The seven evaluated categories of Cityscapes over its 19 training classes."""


@dataclass(frozen=True)
class Scores:
    """What one evaluation found; every score lies in 0..1, and ``None`` stands for 0 / 0.

    Args:
        miou: mean of ``iou_per_class``.
        iou_per_class: TP / (TP + FP + FN); ``None`` for a class in neither truth nor prediction.
        pixel_accuracy: correct pixels / all labelled pixels.
        mean_accuracy: mean of ``accuracy_per_class``.
        accuracy_per_class: TP / (TP + FN); ``None`` for a class that is not in the truth.
        frequency_weighted_iou: mean of the IoUs, weighted by each class's share of the labelled pixels.
        dice_per_class: 2 TP / (2 TP + FP + FN), also called F1; ``None`` as for IoU.
        mean_dice: mean of ``dice_per_class``.
        category_iou: IoU of groups of classes, inside which confusions count as correct; empty without categories.
        category_miou: mean of ``category_iou``; ``None`` without categories.
        classes_counted: number of classes with an IoU.
        images: number of images.
        boundary_f: boundary F-score by tolerance in pixels; empty where it was not asked for.
        protocol: how the predictions were made and scored, for whoever compares.
    """

    miou: float
    iou_per_class: dict[str, float | None]
    pixel_accuracy: float
    mean_accuracy: float
    accuracy_per_class: dict[str, float | None]
    frequency_weighted_iou: float
    dice_per_class: dict[str, float | None]
    mean_dice: float
    category_iou: dict[str, float | None]
    category_miou: float | None
    classes_counted: int
    images: int
    boundary_f: Mapping[str, float] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What ``segwright evaluate --json`` prints."""
        return {
            "miou": self.miou,
            "iou_per_class": dict(self.iou_per_class),
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "boundary_f": dict(self.boundary_f),
            "images": self.images,
            "protocol": dict(self.protocol),
        }


def scores_of(
    counts: Counts,
    classes: Sequence[str],
    *,
    absent: Literal["skip", "zero"],
    categories: Mapping[str, Sequence[str]],
    images: int,
) -> Scores:
    """Scores of pixel counts.

    Args:
        counts: (C, C + 1), [truth, prediction], predictions outside the classes last; at least one pixel.
        classes: C names.
        absent: whether scores that are 0 / 0 are left out of the means or count as 0.
        categories: category name to its classes.
        images: number of images.

    Raises:
        ConfigError: a category with an unknown class.
    """
    hits, truth, predicted = counts.diagonal(), counts.sum(axis=1), counts[:, :-1].sum(axis=0)
    union = truth + predicted - hits
    iou, accuracy, dice = _ratios(hits, union), _ratios(hits, truth), _ratios(2 * hits, union + hits)
    category_iou = _category_iou(counts, classes, categories)
    return Scores(
        miou=_mean(iou, absent),
        iou_per_class=_by_name(classes, iou),
        pixel_accuracy=float(hits.sum() / truth.sum()),
        mean_accuracy=_mean(accuracy, absent),
        accuracy_per_class=_by_name(classes, accuracy),
        frequency_weighted_iou=float((truth / truth.sum()) @ np.nan_to_num(iou)),
        dice_per_class=_by_name(classes, dice),
        mean_dice=_mean(dice, absent),
        category_iou=_by_name(list(categories), category_iou),
        category_miou=_none_for_nan(_mean(category_iou, absent)),
        classes_counted=int((union > 0).sum()),
        images=images,
    )


def _category_iou(counts: Counts, classes: Sequence[str], categories: Mapping[str, Sequence[str]]) -> Ratios:
    """IoU per category; what is predicted as another class of the same category is correct."""
    hits, unions = np.zeros(len(categories), np.int64), np.zeros(len(categories), np.int64)
    for position, (category, members) in enumerate(categories.items()):
        for name in members:
            if name not in classes:
                raise ConfigError(
                    f"category '{category}' names the class '{name}'{did_you_mean(name, classes)}",
                    fix=f"use the data set's classes: {', '.join(classes)}",
                )
        inside = np.array([name in members for name in classes])
        hits[position] = counts[:, :-1][np.ix_(inside, inside)].sum()
        unions[position] = counts[inside].sum() + counts[:, :-1][np.ix_(~inside, inside)].sum()
    return _ratios(hits, unions)


def _ratios(parts: Counts, wholes: Counts) -> Ratios:
    """``parts / wholes``, NaN for 0 / 0; NaN stays inside this file."""
    ratios = np.full(len(parts), math.nan)
    np.divide(parts, wholes, out=ratios, where=wholes > 0)
    return ratios


def _mean(ratios: Ratios, absent: Literal["skip", "zero"]) -> float:
    counted = np.nan_to_num(ratios) if absent == "zero" else ratios[~np.isnan(ratios)]
    return float(counted.mean()) if counted.size else math.nan


def _by_name(names: Sequence[str], ratios: Ratios) -> dict[str, float | None]:
    return {name: _none_for_nan(ratio) for name, ratio in zip(names, ratios.tolist(), strict=True)}


def _none_for_nan(ratio: float) -> float | None:
    return None if math.isnan(ratio) else ratio
