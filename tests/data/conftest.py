"""A data set of eight pictures whose colours tell their masks."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

YAML = """\
path: .
train: {images: images/train, masks: masks/train}
val: {images: images/val, masks: masks/val}
classes: {0: sky, 1: road, 2: car}
"""
COLOURS = {0: (70, 130, 180), 1: (250, 60, 60), 2: (40, 240, 60), 255: (0, 0, 0)}
COUNTS = {"train": 5, "val": 3}


def draw_mask(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Sky over road, with a car and an ignored patch in it; different for each seed."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.ones(size, np.uint8)
    mask[: height // 2 + seed % 7] = 0
    for value in (2, 255):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[top : top + height // 4, left : left + width // 3] = value
    return mask


def paint(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture whose colours encode the mask; ignored pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    table[list(COLOURS)] = list(COLOURS.values())
    return table[mask]


@pytest.fixture
def scene() -> Callable[..., tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """A picture and its mask by seed and (height, width)."""

    def draw(seed: int = 0, size: tuple[int, int] = (48, 64)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        mask = draw_mask(seed, size)
        return paint(mask), mask

    return draw


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """Writes pictures and masks of 48x64 into folders by split, and a data.yaml unless ``yaml`` is empty."""

    def write(
        name: str = "data",
        yaml: str = YAML,
        counts: Mapping[str, int] = COUNTS,
        images: str = "images/{split}",
        masks: str = "masks/{split}",
    ) -> Path:
        root, seed = tmp_path / name, 0
        for split, count in counts.items():
            image_folder, mask_folder = root / images.format(split=split), root / masks.format(split=split)
            image_folder.mkdir(parents=True, exist_ok=True)
            mask_folder.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                mask = draw_mask(seed, (48, 64))
                Image.fromarray(paint(mask)).save(image_folder / f"{split}_{seed}.png")
                Image.fromarray(mask).save(mask_folder / f"{split}_{seed}.png")
                seed += 1
        if yaml:
            (root / "data.yaml").write_text(yaml, encoding="utf-8")
        return root

    return write


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a data.yaml without any picture."""

    def write(text: str) -> Path:
        path = tmp_path / "data.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
