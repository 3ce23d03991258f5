"""FastFCN's strided trunk with joint pyramid upsampling against the dilated trunk of output stride 8, encoding on both.

Multiply-adds are counted on the meta device, latency is measured on this machine, the networks of one depth
interleaved; the paper reports over three times fewer seconds with ResNet-101 on a GPU (32.02 against 10.51 pictures a
second at 512x512). Run: python benchmarks/jpu.py
"""

import argparse
import time
from collections.abc import Callable

import torch
from interleaved import interleaved
from torch.utils.flop_counter import FlopCounterMode

from segwright.models import SegmentationModel, create_model

NETWORKS = {"dilated": "encnet", "joint pyramid upsampling": "fastfcn"}


def gmacs(name: str, backbone: str, classes: int, size: tuple[int, int]) -> float:
    """Multiply-adds of convolutions and matrix products for one picture, in billions."""
    with torch.device("meta"):
        model, images = create_model(name, num_classes=classes, backbone=backbone).eval(), torch.empty(1, 3, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return float(counter.get_total_flops()) / 2e9


def forward(model: SegmentationModel, images: torch.Tensor) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        return model(images).logits

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet50s", "resnet101s"])
    parser.add_argument("--classes", type=int, default=59)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (options.size[0], options.size[1])
    is_alone = options.device == "cpu" and options.threads == 1  # its own time then, whatever else the machine does
    clock = time.process_time if is_alone else time.perf_counter
    for backbone in options.backbones:
        counts = [gmacs(name, backbone, options.classes, size) for name in NETWORKS.values()]
        images = torch.randn(1, 3, *size, device=options.device).contiguous(memory_format=torch.channels_last)
        ways = {}
        for label, name in NETWORKS.items():
            model = create_model(name, num_classes=options.classes, backbone=backbone).eval().to(options.device)
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            call = forward(model, images)
            ways[f"{backbone}, {label}"] = call if options.device == "cpu" else synchronised(call)
        slow, fast = interleaved(ways, rounds=options.rounds, clock=clock).values()
        dilated, joint = counts
        print(f"{backbone}: {dilated:.2f} -> {joint:.2f} GMACs ({dilated / joint:.2f}x), time {slow / fast:.2f}x")


def synchronised(call: Callable[[], object]) -> Callable[[], object]:
    """The call, and waiting for the GPU."""

    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait


if __name__ == "__main__":
    main()
