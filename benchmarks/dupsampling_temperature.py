"""Training loss of DUpsampling with a learned temperature and with a plain softmax, step by step (section 3.2).

Draws street scenes, or takes a data set, and trains the same network from the same seed four times: with W's columns of
length 1, as a fit gives them, and as long as segwright makes them (``LabelCodes.put_into``). Beside the losses stands
the floor ln(1 + (C - 1) / e) of a plain softmax on a perfect reconstruction, and the loss that a network without
features has, ln C.

    python benchmarks/dupsampling_temperature.py [--data DIR] [--iters 240] [--lr 0.02]
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import segwright
from segwright.analysis.label_codes import LabelCodes
from segwright.data import load_data
from segwright.data.synthetic import write_dataset
from segwright.layers.dupsampling import DUpsample

CROP = (96, 128)
SCALED = LabelCodes.put_into


def unscaled(codes: LabelCodes, upsampler: DUpsample) -> None:
    upsampler.set_codes(codes.reconstruction, codes.projection)


def train(data: Path, out: Path, iters: int, lr: float, *, temperature: bool, is_scaled: bool) -> tuple[list[str], str]:
    """Loss at each logged step; the last temperature and the validation mIoU."""
    LabelCodes.put_into = SCALED if is_scaled else unscaled  # type: ignore[method-assign]
    options = {"backbone": "resnet18", "low_level": [], "output_stride": 16, "temperature": temperature}
    settings = {"model.options": options, "train.log_every": max(1, iters // 8), "train.eval_every": iters,
                "train.warmup_iters": 0, "train.weight_decay": 1e-4, "train.no_decay": ["norm", "bias"]}  # fmt: skip
    run = segwright.train(
        data, "dupsampling", out=out, iters=iters, lr=lr, batch_size=8, crop_size=CROP, device="cpu", settings=settings
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    t = float(segwright.load_model(out).upsampler.temperature.detach())
    losses = [f"{record['loss']:.3f}" for record in records if "loss" in record]
    return losses, f"T {t:.3f}, val mIoU {100 * run.scores.miou:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--iters", type=int, default=240)
    parser.add_argument("--lr", type=float, default=0.02)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = words.data or write_dataset(Path(folder) / "scenes", counts={"train": 80, "val": 16}, size=CROP, seed=0)
        classes = len(load_data(data).classes)
        floor = math.log1p((classes - 1) / math.e)
        print(f"{classes} classes: floor of a plain softmax {floor:.3f}, no features {math.log(classes):.3f}")
        for is_scaled in (False, True):
            for temperature in (False, True):
                name = f"columns {'scaled' if is_scaled else 'of length 1'}, T {'learned' if temperature else '= 1'}"
                losses, end = train(
                    data, Path(folder) / name, words.iters, words.lr, temperature=temperature, is_scaled=is_scaled
                )
                print(f"{name:<28} {'  '.join(losses)}  {end}", flush=True)


if __name__ == "__main__":
    main()
