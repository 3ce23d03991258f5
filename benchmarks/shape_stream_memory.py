"""Peak memory and time of Gated-SCNN's shape stream, with and without its savings.

The stream works at the images' own size with up to 64 channels: in evaluation it runs band by band, and in training it
keeps the ends of its steps only and computes the rest again. Each line is a process of its own; its peak is the
resident memory that the kernel counted for it, less what it had before the first forward pass.

    python benchmarks/shape_stream_memory.py [--trunk resnet50] [--size 512 1024] [--crop 384 384] [--rounds 3]
"""

import argparse
import subprocess
import sys
import time
from statistics import median

import torch
from memory import peak_megabytes

from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import gated_scnn
from segwright.models.gated_scnn import GatedSCNN

WAYS = ("predict whole", "predict bands", "train kept", "train recomputed")


def predict(model: GatedSCNN, size: tuple[int, int]) -> None:
    with torch.no_grad():
        model.eval()(torch.rand(1, 3, *size))


def train(model: GatedSCNN, size: tuple[int, int]) -> None:
    loss = SegmentationLoss(
        cross_entropy, model.aux_weights, aux_losses=model.aux_losses, joint_losses=model.joint_losses
    )
    masks = torch.randint(19, (1, size[0] // 16, size[1] // 16)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    loss(model.train().strided_logits(torch.rand(1, 3, *size)), masks)["loss"].backward()


def measure(way: str, trunk: str, size: tuple[int, int], rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = gated_scnn(19, trunk=trunk, recompute=way == "train recomputed")
    if way == "predict whole":
        model.shape_stream.band_pixels = 1 << 40
    step = predict if way.startswith("predict") else train
    before, times = peak_megabytes(), []
    for _ in range(rounds):
        start = time.process_time()
        step(model, size)
        model.zero_grad()
        times.append(time.process_time() - start)
    print(
        f"{way:<17} {size[0]}x{size[1]}  peak +{peak_megabytes() - before:6.0f} MB  {median(times):7.2f} s of one core"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trunk", default="resnet50")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--crop", type=int, nargs=2, default=(384, 384))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        size = options.size if options.way.startswith("predict") else options.crop
        measure(options.way, options.trunk, tuple(size), options.rounds)
        return
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    for way in WAYS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way], check=True)


if __name__ == "__main__":
    main()
