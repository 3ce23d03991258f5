"""The boundary F-score of a picture: ours beside one written as the released Gated-SCNN has it, in the same run.

The other way takes each class and tolerance by itself and dilates its boundary with a disk, here by one OR of the
whole picture per pixel of the disk; where SciPy is installed, its binary_dilation is timed too. All must agree.

    python benchmarks/boundary_f_score.py [--size 512 1024] [--classes 19] [--rounds 3]
"""

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
from interleaved import interleaved
from numpy.typing import NDArray

from segwright.metrics import BoundaryF
from segwright.metrics.boundary import PIXELS

Mask = NDArray[np.bool_]
Dilate = Callable[[Mask, int], Mask]


def scene(size: tuple[int, int], classes: int, seed: int) -> NDArray[np.uint8]:
    """Areas of random classes around random points, with a strip of ignored rows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    nearest, mask = np.full(size, np.inf), np.zeros(size, np.uint8)
    for _ in range(6 * classes):
        v, u = rng.random(2) * size
        away = (y - v) ** 2 + (x - u) ** 2
        mask = np.where(away < nearest, rng.integers(classes, dtype=np.uint8), mask)
        nearest = np.minimum(nearest, away)
    return mask


def predicted(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask with its boundaries a few pixels off."""
    return np.roll(mask, (2, 5), axis=(0, 1))


def boundary(mask: Mask) -> Mask:
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def dilated_by_shifts(mask: Mask, radius: int) -> Mask:
    padded, grown = np.pad(mask, radius), np.zeros_like(mask)
    for down in range(-radius, radius + 1):
        for across in range(-radius, radius + 1):
            if down**2 + across**2 <= radius**2:
                rows = slice(radius + down, radius + down + len(mask))
                grown |= padded[rows, radius + across : radius + across + mask.shape[1]]
    return grown


def dilated_by_scipy(mask: Mask, radius: int) -> Mask:
    from scipy.ndimage import binary_dilation

    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    grown: Mask = binary_dilation(mask, y**2 + x**2 <= radius**2)
    return grown


def plain(prediction: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int, dilate: Dilate) -> list[float]:
    means = []
    for radius in PIXELS:
        scores = []
        for number in range(classes):
            ours, theirs = boundary((prediction == number) & (mask != 255)), boundary(mask == number)
            precision = (ours & dilate(theirs, radius)).sum() / ours.sum() if ours.any() else 1.0
            recall = (theirs & dilate(ours, radius)).sum() / theirs.sum() if theirs.any() else 1.0
            both = precision + recall
            scores.append(2 * precision * recall / both if both else 0.0)
        means.append(float(np.mean(scores)))
    return means


def ours(prediction: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> list[float]:
    score = BoundaryF(classes)
    score.update(prediction, mask)
    return list(score.compute().values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    mask = scene(tuple(options.size), options.classes, seed=0)
    prediction = predicted(mask)
    mask[-options.size[0] // 16 :] = 255
    ways: dict[str, Callable[[], list[float]]] = {
        "ours": lambda: ours(prediction, mask, options.classes),
        "shifts": lambda: plain(prediction, mask, options.classes, dilated_by_shifts),
    }
    if importlib.util.find_spec("scipy"):
        ways["scipy"] = lambda: plain(prediction, mask, options.classes, dilated_by_scipy)
    for name, way in ways.items():
        assert np.allclose(way(), ways["ours"](), rtol=0, atol=1e-12), name
    print(
        f"{options.size[0]}x{options.size[1]}, {options.classes} classes, {PIXELS} px, one thread:",
        ours(prediction, mask, options.classes),
    )
    medians = interleaved(ways, rounds=options.rounds, warmup=0, clock=time.process_time)
    print(", ".join(f"{seconds / medians['ours']:.0f} x {name}" for name, seconds in medians.items()))


if __name__ == "__main__":
    main()
