"""Two training samples made into one: ClassMix pastes classes, CutMix a box."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from segwright.types import Sample

Region = Callable[[Sample, int, np.random.Generator], Tensor]
"""Sample that is pasted, ignored value, random numbers -> (H, W) bool, the pixels to paste."""


def class_region(sample: Sample, ignore_index: int, rng: np.random.Generator) -> Tensor:
    """The pixels of half of the sample's classes, drawn at random (ClassMix, section 3.1).

    Of an odd number of classes the smaller half, so that something of the other sample is left.
    """
    classes = [int(value) for value in np.unique(sample.mask.numpy()) if value != ignore_index]
    pasted = rng.permutation(len(classes))[: len(classes) // 2]
    return torch.isin(sample.mask, torch.tensor([classes[index] for index in pasted], dtype=sample.mask.dtype))


def box_region(sample: Sample, ignore_index: int, rng: np.random.Generator) -> Tensor:
    """A box of the sample's proportions, of a uniformly drawn area and place (CutMix, section 3.2)."""
    side = sqrt(rng.random())
    region = torch.zeros_like(sample.mask, dtype=torch.bool)
    places = []
    for length in region.shape:
        centre, half = rng.random() * length, side * length / 2
        places.append(slice(max(0, round(centre - half)), min(length, round(centre + half))))
    region[tuple(places)] = True
    return region


def pasted(sample: Sample, other: Sample, region: Tensor) -> Sample:
    """``sample``, under the pixels of ``other`` where ``region`` (H, W) is true; images keep their memory order."""
    image = torch.where(region, other.image, sample.image)
    return sample._replace(image=image, mask=torch.where(region, other.mask, sample.mask))
