"""Pairs of pictures and masks on disk, whose masks are given as arrays."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.data.dataset import Folders, SegmentationData
from segwright.data.masks import Labels

CLASSES = ("sky", "road", "car")
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 200, 0))
LABELS = Labels(CLASSES, PALETTE)
IGNORED = 255


def mask_of(*values: int, size: tuple[int, int] = (12, 16)) -> NDArray[np.uint8]:
    """A mask in as many upright bands as there are values."""
    height, width = size
    columns = np.arange(width) * len(values) // width
    return np.broadcast_to(np.array(values, np.uint8)[columns], (height, width)).copy()


def write_pairs(
    root: Path, masks: Mapping[str, Sequence[NDArray[np.uint8]]], labels: Labels = LABELS, colour: int = 100
) -> SegmentationData:
    """A data set of PNGs, each of one grey of its own, and the given masks: ``images/<split>/a.png``, ``b.png``, ..."""
    folders: dict[str, Folders] = {}
    greys = itertools.count(colour)
    for split, arrays in masks.items():
        folders[split] = Folders(root / "images" / split, root / "masks" / split)
        for folder in (folders[split].images, folders[split].masks):
            folder.mkdir(parents=True)
        for number, mask in enumerate(arrays):
            name = f"{chr(ord('a') + number)}.png"
            Image.fromarray(np.full((*mask.shape[:2], 3), next(greys), np.uint8)).save(folders[split].images / name)
            Image.fromarray(mask).save(folders[split].masks / name)
    return SegmentationData(root.name, folders, labels)
