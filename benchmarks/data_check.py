"""The check of a data set against Pillow alone, which decodes the same files on all cores and does nothing else.

    python benchmarks/data_check.py [--pairs 10000] [--data FOLDER] [--rounds 7] [--cpu]

Draws small pairs (JPEG pictures, PNG masks of 64x64 to 96x128) into a folder that is removed afterwards, or takes those
of a data set that is there. Prints the check's rate as a share of Pillow's; above 0.8 is the aim. ``--cpu`` counts the
CPU time of all processes in place of the wall clock's, for a machine on which other work runs.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from interleaved import interleaved
from PIL import Image

from segwright.data import check_data, load_data
from segwright.runtime.machine import available_cpus

CLASSES = ("sky", "road", "car")
COLOURS = np.array([[70, 130, 180], [90, 85, 95], [200, 40, 60]], np.uint8)
YAML = "path: .\ntrain: {images: images/train, masks: masks/train}\nval: {images: images/val, masks: masks/val}\n"


def draw(root: Path, pairs: int) -> None:
    """Sky, road and a car in noise, in files of some kilobytes."""
    rng = np.random.default_rng(0)
    for folder in ("images/train", "images/val", "masks/train", "masks/val"):
        (root / folder).mkdir(parents=True)
    for index in range(pairs):
        split = "val" if index % 5 == 0 else "train"
        height, width = ((64, 64), (64, 96), (96, 128))[index % 3]
        mask = np.ones((height, width), np.uint8)
        mask[: height // 2 + index % 9] = 0
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[top : top + height // 4, left : left + width // 3] = 2
        noise = rng.integers(-20, 20, (height, width, 1))
        picture = (COLOURS[mask] + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(root / f"images/{split}/{index:05d}.jpg", quality=85)
        Image.fromarray(mask).save(root / f"masks/{split}/{index:05d}.png")
    (root / "data.yaml").write_text(f"{YAML}classes: {list(CLASSES)}\n")


def decode(paths: list[Path]) -> None:
    for path in paths:
        Image.open(path).load()


def decode_all(paths: list[Path], cores: int) -> None:
    parts = [paths[start : start + 128] for start in range(0, len(paths), 128)]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork")) as pool:
        list(pool.map(decode, parts))


def cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(os.times()[:4])


def compare(data: Path, rounds: int, clock: Callable[[], float]) -> None:
    source = load_data(data)
    paths = [path for split in source.folders for pair in source.pairs(split) for path in (pair.image, pair.mask)]
    cores = available_cpus()
    print(f"{len(paths) // 2} pairs, {cores} cores")
    ways = {"Pillow": partial(decode_all, paths, cores), "check_data": partial(check_data, data)}
    medians = interleaved(ways, rounds=rounds, clock=clock)
    for name, seconds in medians.items():
        print(f"{name:<10}  {len(paths) / 2 / seconds:8.0f} pairs/s")
    print(f"check_data at {medians['Pillow'] / medians['check_data']:.2f} times Pillow's rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    clock = cpu_seconds if options.cpu else time.perf_counter
    if options.data is not None:
        compare(options.data, options.rounds, clock)
        return
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), options.pairs)
        compare(Path(folder), options.rounds, clock)


if __name__ == "__main__":
    main()
