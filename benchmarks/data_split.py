"""How near ``segwright data split`` brings each split to its share of every class, against a division by chance.

Draws data sets whose classes are in 90 % of the pictures down to four pictures, with pixels of very different number
(log-normal), shares them out 0.8 0.1 0.1, and prints by how much a class's pixels in a split miss their share on
average, in points, and how many classes are missing in a split. No timing. Run: python benchmarks/data_split.py
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from segwright.data.stratify import stratify

SHARES = (0.8, 0.1, 0.1)


def draw(pictures: int, num_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(pictures, num_classes) pixels; every class is in four pictures at least."""
    has = rng.random((pictures, num_classes)) < np.geomspace(0.9, 4 / pictures, num_classes)
    for column in has.T:
        column[rng.choice(pictures, 4, replace=False)] = True
    return (has * rng.lognormal(8, 1.5, has.shape)).astype(np.int64)


def misses(pixels: NDArray[np.int64], split: NDArray[np.int64]) -> tuple[float, int]:
    """Mean distance to the share in points, and how often a split lacks a class."""
    held = np.array([pixels[split == k].sum(axis=0) for k in range(len(SHARES))])
    far = np.abs(held / pixels.sum(axis=0) - np.array(SHARES)[:, None])
    return 100 * float(far.mean()), int((held == 0).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    draws = parser.parse_args().draws
    print("pictures  classes   points by chance   ours   ratio   missing by chance   ours")
    for pictures, num_classes in ((50, 5), (300, 19), (1000, 19)):
        rows = []
        for seed in range(draws):
            rng = np.random.default_rng(seed)
            pixels = draw(pictures, num_classes, rng)
            chance = rng.choice(len(SHARES), pictures, p=SHARES)
            ours = stratify(np.ones(pictures, np.int64), (pixels > 0).astype(np.int64), pixels, SHARES)
            rows.append((*misses(pixels, chance), *misses(pixels, ours)))
        by_chance, lacking, near, lacking_ours = np.mean(rows, axis=0)
        ratio = by_chance / near
        print(
            f"{pictures:8}  {num_classes:7}   {by_chance:16.2f}   {near:4.2f}   {ratio:4.1f}x   {lacking:17.1f}   "
            f"{lacking_ours:4.1f}"
        )


if __name__ == "__main__":
    main()
