"""ICNet beside PSPNet-50 on one image of 1025x2049 on the CPU: time, in turn, and peak memory, each in its own process.

With one thread the time is the processor's, which other programs disturb less. The paper is said to report five times
the speed and a fifth of the memory, on a GPU. Run: python benchmarks/icnet_pspnet.py --threads 1
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from interleaved import interleaved
from memory import peak_megabytes

from segwright.models import create_model

NETWORKS: dict[str, dict[str, str]] = {"icnet": {}, "pspnet": {"backbone": "resnet50s"}}


def forward(name: str, size: tuple[int, int]) -> Callable[[], object]:
    """A call that gives one image's logits at the network's own stride."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=19, **NETWORKS[name]).eval()
    images = torch.randn(1, 3, *size)

    def call() -> object:
        with torch.inference_mode():
            return model.strided_logits(images)

    return call


def memory_of(name: str, size: tuple[int, int], threads: int) -> dict[str, float]:
    """MB before and at the peak of one forward pass, in a fresh process."""
    command = [sys.executable, __file__, "--memory", name, "--threads", str(threads), "--size", *map(str, size)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(zip(("before", "peak"), map(float, output.split()), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(1025, 2049), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", choices=list(NETWORKS), help="print MB before and at the peak of this network only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (options.size[0], options.size[1])
    if options.memory:
        call, before = forward(options.memory, size), peak_megabytes()
        call()
        print(before, peak_megabytes())
        return
    memory = {name: memory_of(name, size, options.threads) for name in NETWORKS}
    for name, megabytes in memory.items():
        print(f"{name:<6}  {megabytes['peak']:9.0f} MB peak, {megabytes['before']:.0f} MB before the forward pass")
    clock = time.process_time if options.threads == 1 else time.perf_counter
    medians = interleaved(
        {name: forward(name, size) for name in NETWORKS}, rounds=options.rounds, warmup=0, clock=clock
    )
    grown = {name: megabytes["peak"] - megabytes["before"] for name, megabytes in memory.items()}
    print(f"PSPNet-50 takes {medians['pspnet'] / medians['icnet']:.1f} times as long,", end=" ")
    print(f"{memory['pspnet']['peak'] / memory['icnet']['peak']:.1f} times the memory of the process", end=" ")
    print(f"and {grown['pspnet'] / grown['icnet']:.1f} times that of the forward pass")


if __name__ == "__main__":
    main()
