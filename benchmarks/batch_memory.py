"""What the automatic batch size counts on for one crop, against what a training step's memory really grows by.

The plan adds up what autograd keeps of one crop and multiplies it. Each line here trains for one step at two batch
sizes, in a process of its own per step; the growth of the peak per crop, over what was kept, is the factor needed.

    python benchmarks/batch_memory.py [--batches 1 3]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from memory import peak_megabytes

from segwright.config import Config
from segwright.data import SegmentationData, load_data
from segwright.data.synthetic import write_dataset
from segwright.engine import make_run_config
from segwright.engine.build import build_loss, build_network
from segwright.engine.distributed import StridedNetwork
from segwright.engine.memory import BACKWARD_FACTOR, DTYPES, measure_need

CASES = {
    "fast_scnn": ({}, (256, 512)),
    "deeplabv3": ({"backbone": "resnet18"}, (256, 512)),
    "danet": ({"backbone": "resnet18"}, (192, 384)),
    "bisenet": ({"backbone": "resnet18"}, (256, 384)),
    "gated_scnn": ({"trunk": "resnet18"}, (192, 256)),
}


def config_of(name: str, precision: str, folder: str) -> Config:
    options, crop = CASES[name]
    settings = {"model.options": options, "data.crop_size": crop, "train.device": "cpu", "train.precision": precision}
    return make_run_config(folder, name, settings=settings)


def train_once(config: Config, data: SegmentationData, batch: int) -> None:
    torch.manual_seed(0)
    model = build_network(config, data, weights=None).train()
    loss, size = build_loss(config, model, data, None, torch.device("cpu")), config.data.crop_size
    assert size is not None
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    images, masks = torch.randn(batch, 3, *size), torch.randint(len(data.classes), (batch, *size))
    with torch.autocast("cpu", DTYPES.get(config.train.precision), enabled=config.train.precision in DTYPES):
        total = loss(StridedNetwork(model)(images), masks)["loss"]
    total.backward()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, nargs=2, default=(1, 3))
    parser.add_argument("--one", nargs=4, metavar=("NAME", "PRECISION", "DATA", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        name, precision, folder, batch = options.one
        train_once(config_of(name, precision, folder), load_data(folder), int(batch))
        return print(peak_megabytes())
    few, many = options.batches
    folder = str(write_dataset(Path(tempfile.mkdtemp()) / "scenes", counts={"train": 2, "val": 1}, size=(64, 96)))
    print("network     precision  kept MB  peak grows by  factor")
    for name in CASES:
        for precision in ("fp32", "bf16"):
            need = measure_need(config_of(name, precision, folder), load_data(folder))
            command = [sys.executable, __file__, "--one", name, precision, folder]
            low, high = (
                float(subprocess.run([*command, str(batch)], check=True, capture_output=True, text=True).stdout)
                for batch in (few, many)
            )
            kept, grown = need.per_picture / BACKWARD_FACTOR / 2**20, (high - low) / (many - few)
            print(f"{name:<11} {precision:<9} {kept:8.0f} {grown:14.0f} {grown / kept:7.2f}", flush=True)
    return None


if __name__ == "__main__":
    main()
