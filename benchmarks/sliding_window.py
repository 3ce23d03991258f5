"""Sliding window on a large picture: decided strip by strip, against the scores of all classes at every pixel at once.

The network is a stand-in that costs nothing, so that only the blending is measured.

    python benchmarks/sliding_window.py [--size 4096 8192] [--window 768 768] [--classes 19]
"""

import argparse
import subprocess
import sys
import time

import numpy as np
from interleaved import interleaved
from memory import peak_megabytes

from segwright.runtime.blend import Blended, blended_argmax
from segwright.runtime.decide import resize, resize_argmax
from segwright.runtime.tiles import Box, window_boxes

STRIDE = 8


class StandIn:
    """The same noise for every window."""

    def __init__(self, window: tuple[int, int], classes: int) -> None:
        shape = (classes, -(-window[0] // STRIDE), -(-window[1] // STRIDE))
        self.logits = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def __call__(self, box: Box) -> np.ndarray:
        return self.logits


def in_strips(size: tuple[int, int], window: tuple[int, int], net: StandIn) -> np.ndarray:
    return blended_argmax([Blended(size, window, net)], size, len(net.logits)).mask


def at_once(size: tuple[int, int], window: tuple[int, int], net: StandIn) -> np.ndarray:
    """Plain averaging at full size, as most implementations do it."""
    scores, visits = np.zeros((len(net.logits), *size), np.float32), np.zeros(size, np.float32)
    for box in window_boxes(size, window):
        scores[:, *box.place] += resize(net(box), (box.height, box.width))
        visits[box.place] += 1
    return resize_argmax(np.divide(scores, visits, out=scores), size).mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(2048, 4096))
    parser.add_argument("--window", type=int, nargs=2, default=(768, 768))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-of", choices=["in_strips", "at_once"], help="run one way and print its peak memory")
    args = parser.parse_args()
    size, window = tuple(args.size), tuple(args.window)
    net = StandIn(window, args.classes)
    ways = {"in_strips": lambda: in_strips(size, window, net), "at_once": lambda: at_once(size, window, net)}
    if args.peak_of:
        before = peak_megabytes()
        ways[args.peak_of]()
        print(f"{args.peak_of}: {peak_megabytes() - before:.0f} MB over what was there before")
        return
    medians = interleaved(ways, rounds=args.rounds, clock=time.process_time)
    print(f"at once / in strips: {medians['at_once'] / medians['in_strips']:.2f}")
    for way in ways:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--peak-of", way], check=True)


if __name__ == "__main__":
    main()
