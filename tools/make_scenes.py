"""Draws docs/scenes.jpg, the picture in the README. Run ``python tools/make_scenes.py``."""

from pathlib import Path

import numpy as np
from PIL import Image

from segwright.data.synthetic import PALETTE, draw_scene
from segwright.runtime.masks import colourise

PICTURE = Path(__file__).parents[1] / "docs" / "scenes.jpg"
SEEDS = (3, 11, 24, 42)


def main() -> None:
    """Four scenes above their labels."""
    columns = []
    for seed in SEEDS:
        image, mask = draw_scene(seed, (270, 360))
        columns.append(np.concatenate([image, colourise(mask, PALETTE)], axis=0))
    Image.fromarray(np.concatenate(columns, axis=1)).save(PICTURE, quality=88)


if __name__ == "__main__":
    main()
