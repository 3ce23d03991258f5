"""Label maps of a few ellipses and boxes, as data sets and as patches, and the slow ways to compare with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.analysis.patches import LabelPatches

Masks = list[NDArray[np.uint8]]
VOID = 255


def draw_maps(count: int, num_classes: int, size: tuple[int, int], seed: int, void: bool = False) -> Masks:
    """Two to five shapes each, of random classes on class 0; with ``void``, the edge of the last is unlabelled."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = []
    for _ in range(count):
        mask = np.zeros(size, np.uint8)
        for _ in range(random.integers(2, 6)):
            down = np.abs(rows - random.uniform(0, size[0])) / (random.uniform(0.05, 0.25) * size[0])
            across = np.abs(columns - random.uniform(0, size[1])) / (random.uniform(0.05, 0.25) * size[1])
            distance = down**2 + across**2 if random.random() < 0.5 else np.maximum(down, across) ** 2
            mask[distance <= 1] = random.integers(num_classes)
        if void:
            mask[(distance > 0.7) & (distance < 1.3)] = VOID
        masks.append(mask)
    return masks


def patches_of(masks: Masks, num_classes: int, ratio: int, **options: int) -> LabelPatches:
    return LabelPatches.from_masks(masks, ratio=ratio, num_classes=num_classes, void=VOID, **options)


def windows_of(masks: Masks, ratio: int) -> list[NDArray[np.uint8]]:
    """(r, r) windows, one by one, of masks that are continued with void."""
    windows = []
    for mask in masks:
        height, width = (-(-side // ratio) * ratio for side in mask.shape)
        padded = np.full((height, width), VOID, np.uint8)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        windows += [
            padded[top : top + ratio, left : left + ratio]
            for top in range(0, height, ratio)
            for left in range(0, width, ratio)
        ]
    return windows


def one_hot_patches(masks: Masks, num_classes: int, ratio: int) -> NDArray[np.float64]:
    """(n, N) one-hot vectors in the order class, row, column; void has none; patches of void only are left out."""
    windows = [window for window in windows_of(masks, ratio) if (window != VOID).any()]
    return np.array([[window == index for index in range(num_classes)] for window in windows], float).reshape(
        len(windows), -1
    )


def write_data(folder: Path, masks: Masks, classes: Sequence[str], split: str = "train") -> Path:
    """A data set of these masks; its pictures are black."""
    for index, mask in enumerate(masks):
        for kind, pixels in (("images", np.zeros((*mask.shape, 3), np.uint8)), ("masks", mask)):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / split / f"{index:03d}.png")
    names = ", ".join(f"{index}: {name}" for index, name in enumerate(classes))
    (folder / "data.yaml").write_text(
        f"path: .\n{split}: {{images: images/{split}, masks: masks/{split}}}\nclasses: {{{names}}}\n"
    )
    return folder
