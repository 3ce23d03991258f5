"""From coarse logits to a mask: torch's two steps, plain NumPy's, and ours in NumPy and in compiled loops, in one run.

One thread each, processor time. Smooth logits are like a trained network's: few coarse cells have corners of different
classes. Noise is the worst case: nearly all have. All ways must agree but for ties.

    OMP_NUM_THREADS=1 python benchmarks/resize_argmax.py [--size 1024 2048] [--classes 19] [--rounds 5] [--quick]
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from interleaved import interleaved
from numpy.typing import NDArray
from torch.nn import functional as F

from segwright.runtime import mean_argmax, prepare, resize_argmax
from segwright.runtime.bilinear import grid, interpolate

Logits = NDArray[np.float32]
Size = tuple[int, int]
Ways = dict[str, Callable[[], NDArray[np.integer]]]


def smooth(classes: int, size: Size) -> Logits:
    """Blobs of classes: about 8 % of the cells are mixed at 128x256."""
    seeds = 3 * torch.randn(1, classes, 4, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(seeds, size=size, mode="bicubic")[0].numpy()


def noise(classes: int, size: Size) -> Logits:
    return np.random.default_rng(0).normal(size=(classes, *size)).astype(np.float32)


def mixed_cells(logits: Logits) -> float:
    winners = logits.argmax(0)
    corners = winners[:-1, :-1], winners[1:, :-1], winners[:-1, 1:], winners[1:, 1:]
    return 1 - float(np.mean([np.ptp(corners, axis=0) == 0]))


def resized(logits: Logits, size: Size, align_corners: bool) -> torch.Tensor:
    images = torch.from_numpy(logits)[None]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=align_corners)[0]


def plain(logits: Logits, size: Size, align_corners: bool) -> NDArray[np.integer]:
    return interpolate(logits, *grid(logits, size, align_corners=align_corners)).argmax(0)


def by(tool: str, call: Callable[[], NDArray[np.integer]]) -> Callable[[], NDArray[np.integer]]:
    def run() -> NDArray[np.integer]:
        os.environ["SEGWRIGHT_COMPILED"] = "always" if tool == "compiled" else "never"
        return call()

    return run


def compare(title: str, ways: Ways, rounds: int) -> None:
    print(f"\n{title}")
    base = next(iter(ways))
    expected = ways[base]()
    for name, way in ways.items():
        assert (way() != expected).mean() < 1e-4, name
    medians = interleaved(ways, rounds=rounds, warmup=0, clock=time.process_time)
    print(", ".join(f"{medians[base] / seconds:.1f} x {name}" for name, seconds in medians.items()))


def masks(logits: Logits, size: Size, align_corners: bool) -> Ways:
    last = np.ascontiguousarray(logits.transpose(1, 2, 0)).transpose(2, 0, 1)
    ways: Ways = {
        "torch": lambda: resized(logits, size, align_corners).argmax(0).numpy(),
        "plain NumPy": lambda: plain(logits, size, align_corners),
    }
    for tool in ("NumPy", "compiled"):
        ways[f"ours, {tool}"] = by(tool, lambda: resize_argmax(logits, size, align_corners=align_corners).mask)
        ways[f"ours, {tool}, channels last"] = by(
            tool, lambda: resize_argmax(last, size, align_corners=align_corners).mask
        )
    return ways


def confidences(logits: Logits, size: Size) -> Ways:
    def by_torch() -> NDArray[np.integer]:
        return resized(logits, size, False).softmax(0).max(0).indices.numpy()

    return {"torch": by_torch} | {
        f"ours, {tool}": by(tool, lambda: resize_argmax(logits, size, with_confidence=True).mask)
        for tool in ("NumPy", "compiled")
    }


def means(logits: Logits, size: Size) -> Ways:
    maps = [logits, np.ascontiguousarray(logits[:, ::2, ::2])]

    def by_torch() -> NDArray[np.integer]:
        total = resized(maps[0], size, False).softmax(0)
        total += resized(maps[1], size, False).softmax(0)
        return total.argmax(0).numpy()

    return {"torch": by_torch} | {
        f"ours, {tool}": by(tool, lambda: mean_argmax(maps, size).mask) for tool in ("NumPy", "compiled")
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="ratio 8 alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not prepare():
        print("numba is missing: 'compiled' is NumPy here")
    size = (options.size[0], options.size[1])
    cases = [(8, False)] if options.quick else [(8, False), (8, True), (16, False), (4, False)]
    with torch.inference_mode():
        for ratio, align_corners in cases:
            coarse = (size[0] // ratio, size[1] // ratio)
            for kind in (smooth, noise):
                logits = kind(options.classes, coarse)
                title = f"{kind.__name__}, {options.classes}x{coarse[0]}x{coarse[1]} -> {size[0]}x{size[1]}"
                share = f"{100 * mixed_cells(logits):.1f} % of the cells mixed"
                compare(
                    f"{title}, align_corners={align_corners}, {share}",
                    masks(logits, size, align_corners),
                    options.rounds,
                )
        logits = smooth(options.classes, (size[0] // 8, size[1] // 8))
        compare("mask and confidence, smooth, ratio 8", confidences(logits, size), options.rounds)
        compare("mean of two maps, smooth, ratios 8 and 16", means(logits, size), options.rounds)


if __name__ == "__main__":
    main()
