"""Training loss of DUpsampling with a learned temperature and with a plain softmax, step by step (section 3.3).

Draws street scenes, or takes a data set, and trains the same network from the same seed twice. Beside the losses
stands the floor ln(1 + (C - 1) / e) of a plain softmax on a perfect reconstruction.

    python benchmarks/dupsampling_temperature.py [--data DIR] [--iters 240] [--lr 0.02]
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import segwright
from segwright.data import load_data
from segwright.data.synthetic import write_dataset

CROP = (96, 128)


def losses_of(data: Path, out: Path, iters: int, lr: float, temperature: bool) -> tuple[list[float], float, float]:
    """Loss at each logged step, the last temperature, and the best validation mIoU."""
    options = {"backbone": "resnet18", "low_level": [], "output_stride": 16, "temperature": temperature}
    settings = {"model.options": options, "train.log_every": max(1, iters // 12), "train.eval_every": iters,
                "train.warmup_iters": 0, "train.weight_decay": 1e-4, "train.no_decay": ["norm", "bias"]}  # fmt: skip
    run = segwright.train(
        data, "dupsampling", out=out, iters=iters, lr=lr, batch_size=8, crop_size=CROP, device="cpu", settings=settings
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    model = segwright.load_model(out)
    return (
        [record["loss"] for record in records if "loss" in record],
        float(model.upsampler.temperature),
        100 * run.scores.miou,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--iters", type=int, default=240)
    parser.add_argument("--lr", type=float, default=0.02)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = words.data or write_dataset(Path(folder) / "scenes", counts={"train": 80, "val": 16}, size=CROP, seed=0)
        classes = len(load_data(data).classes)
        learned, temperature, score = losses_of(data, Path(folder) / "learned", words.iters, words.lr, True)
        fixed, _, plain_score = losses_of(data, Path(folder) / "fixed", words.iters, words.lr, False)
    floor = math.log1p((classes - 1) / math.e)
    print(f"{classes} classes; floor of a plain softmax on a perfect reconstruction: {floor:.3f}")
    print("step   learned T   plain softmax")
    for number, (ours, theirs) in enumerate(zip(learned, fixed, strict=True), start=1):
        print(f"{number * max(1, words.iters // 12):4d}   {ours:9.3f}   {theirs:13.3f}")
    print(f"T at the end {temperature:.3f}; val mIoU {score:.2f} with it, {plain_score:.2f} without")


if __name__ == "__main__":
    main()
