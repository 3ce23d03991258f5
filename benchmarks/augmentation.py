"""Window first, then resize, against Pillow's resize, then crop: one training sample's picture and mask.

Times what training does with a decoded 1024x2048 picture for a 512x1024 crop at scales 0.5 to 2, the two forms
interleaved, in CPU time of one thread. Run: python benchmarks/augmentation.py
"""

import argparse
import time

import numpy as np
import torch
from interleaved import interleaved
from numpy.typing import NDArray
from PIL import Image

from segwright.data.transforms import Augmentation, draw_window, nearest_positions, resize_uint8

SIZE, CROP = (1024, 2048), (512, 1024)


def pillow_form(picture: Image.Image, mask: Image.Image, scale: float, rng: np.random.Generator) -> None:
    """Resize the whole picture and mask, then crop: the reference loaders' form."""
    size = (round(SIZE[1] * scale), round(SIZE[0] * scale))
    large, labels = picture.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)
    left, top = (int(rng.integers(0, side - crop + 1)) for side, crop in zip(size, CROP[::-1], strict=True))
    box = (left, top, left + CROP[1], top + CROP[0])
    np.asarray(large.crop(box))
    np.asarray(labels.crop(box))


def window_form(picture: NDArray[np.uint8], mask: NDArray[np.uint8], scale: float, rng: np.random.Generator) -> None:
    """Cut the window out of picture and mask, then resize: ours."""
    window = draw_window(rng, SIZE, Augmentation(CROP, scale=(scale, scale)))
    cut = picture[window.top : window.top + window.height, window.left : window.left + window.width]
    resize_uint8(cut, (window.out_height, window.out_width))
    rows, columns = nearest_positions(window, SIZE)
    mask[rows].take(columns, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, 19, SIZE, dtype=np.uint8)
    picture, mask = Image.fromarray(pixels), Image.fromarray(labels)
    scales = iter(rng.uniform(0.5, 2.0, 2 * rounds + 2).repeat(2))
    medians = interleaved(
        {
            "Pillow: resize, then crop": lambda: pillow_form(picture, mask, next(scales), rng),
            "segwright: window, then resize": lambda: window_form(pixels, labels, next(scales), rng),
        },
        rounds=rounds,
        clock=time.process_time,
    )
    slow, fast = medians.values()
    print(f"ratio {slow / fast:.1f}x")


if __name__ == "__main__":
    main()
