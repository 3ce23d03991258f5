"""Convolutions with large rates: torch's own kernel against nine shifted 1x1 convolutions, alone and in DeepLabv3.

First atrous pyramid layers, 2048 -> 256 channels, in channels-last order; then DeepLabv3-ResNet50 at output stride 8,
as it is, with the exact rewrites one after another, and with all. Ratios above 1 say that the rewritten one is faster.
Which of the two wins is a matter of the processor: with AMX, oneDNN's bf16 kernel collapses at large rates, without it
does not. Run: python benchmarks/dilated_convolution.py
"""

import argparse
import time
from collections.abc import Callable

import torch
from interleaved import interleaved
from torch import nn

from segwright.deploy.rewrite import Step, rewrite, rewrites_of
from segwright.inference.rewriting.convolutions import ShiftedConv2d, degenerate_taps
from segwright.models import SegmentationModel, create_model

SIZES = ((64, 128), (64, 64), (33, 33))
RATES = (2, 4, 6, 12, 18, 24, 36)
STEPS: dict[str, tuple[Step, ...]] = {
    "channels last": ("channels_last",),
    "and folded": ("drop", "fold", "channels_last"),
    "and shifted": ("drop", "fold", "shift", "channels_last"),
    "and pointwise": ("drop", "fold", "shift", "pointwise", "channels_last"),
}


def forward(module: nn.Module, maps: torch.Tensor, precision: str) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return module.strided_logits(maps) if isinstance(module, SegmentationModel) else module(maps)

    return call


def layers(precision: str, rounds: int, clock: Callable[[], float]) -> None:
    for height, width in SIZES:
        maps = torch.randn(1, 2048, height, width).contiguous(memory_format=torch.channels_last)
        if precision == "bf16":
            maps = maps.bfloat16()  # as inside of a network; the weights stay float32
        for rate in RATES:
            conv = nn.Conv2d(2048, 256, 3, padding=rate, dilation=rate).to(memory_format=torch.channels_last)
            ways = {
                "torch": forward(conv, maps, precision),
                "shifted": forward(ShiftedConv2d(conv), maps, precision),
            }
            old, new = interleaved(ways, rounds=rounds, clock=clock).values()
            valid = sum(taps * share for taps, share in degenerate_taps(rate, (height, width)).items()) / 9
            print(f"{precision} {height}x{width} rate {rate}: {old / new:.2f}x; {100 * valid:.0f} % of the taps valid")


def network(precision: str, size: tuple[int, int], rounds: int, clock: Callable[[], float]) -> None:
    model = create_model("deeplabv3", num_classes=19, output_stride=8).eval()
    images = torch.randn(1, 3, *size)
    last = images.contiguous(memory_format=torch.channels_last)
    ways = {"as it is": forward(model, images, precision)}
    for name, steps in STEPS.items():
        ways[name] = forward(rewrite(model, steps=steps), last, precision)
    start = time.perf_counter()
    auto = rewrite(model, size=size, precision="bf16" if precision == "bf16" else "fp32")
    spent = time.perf_counter() - start
    ways["auto"] = forward(auto, last, precision)
    times = interleaved(ways, rounds=rounds, clock=clock)
    for name, seconds in times.items():
        print(f"{precision} DeepLabv3 {size[0]}x{size[1]}, {name}: {times['as it is'] / seconds:.2f}x")
    done = rewrites_of(auto)
    assert done is not None
    print(f"auto took {spent:.1f} s and chose {done.steps} from rate {done.min_rate}; gains by rate {done.gains}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["layers", "network"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    for precision in options.precisions:
        if options.only != "network":
            layers(precision, options.rounds, clock)
        if options.only != "layers":
            network(precision, (options.size[0], options.size[1]), options.rounds, clock)


if __name__ == "__main__":
    main()
