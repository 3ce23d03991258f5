"""Whether training waits for data: images/s of the loader alone, of forward and backward alone, and of the whole loop.

The three are measured in turn, several rounds, on synthetic street scenes (or --data), with the recipe's settings, from
the second epoch on, when small data is decoded and in memory.
Run: python benchmarks/training_loop.py
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from accelerate import Accelerator

from segwright.config import Config, read_config, with_settings
from segwright.data import load_data
from segwright.data.synthetic import write_dataset
from segwright.engine.build import Training, build_loader, build_training
from segwright.engine.codes import RunCodes
from segwright.engine.distributed import build_accelerator
from segwright.engine.plan import make_plan
from segwright.engine.reporter import reporter_of_this_process
from segwright.engine.train import train_step

RECIPE = Path(__file__).parents[1] / "recipes" / "fast_scnn_camvid.yaml"


def loader_alone(config: Config, training: Training, accelerator: Accelerator, steps: int) -> float:
    loader = iter(build_loader(training, config, accelerator, first_step=0, last_step=steps + 1))
    next(loader)  # the workers are up
    start = time.perf_counter()
    count = sum(len(images) for images, _, _ in loader)
    return count / (time.perf_counter() - start)


def compute_alone(config: Config, training: Training, accelerator: Accelerator, steps: int) -> float:
    images, masks, _ = next(iter(build_loader(training, config, accelerator, first_step=0, last_step=1)))
    start = time.perf_counter()
    for _ in range(steps):
        train_step(training, config, images, masks, accelerator)
    return steps * len(images) / (time.perf_counter() - start)


def whole_loop(config: Config, training: Training, accelerator: Accelerator, steps: int) -> float:
    loader = iter(build_loader(training, config, accelerator, first_step=0, last_step=steps + 1))
    next(loader)
    start, count = time.perf_counter(), 0
    for images, masks, _ in loader:
        train_step(training, config, images, masks, accelerator)
        count += len(images)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="data set; none: 60 synthetic scenes")
    parser.add_argument("--workers", type=int, help="reading processes; none: as training would choose")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        data = load_data(options.data or write_dataset(Path(folder) / "scenes", counts={"train": 60, "val": 4}))
        config = with_settings(
            read_config(RECIPE),
            {"data.path": str(options.data or folder), "train.iters": 1000, "data.workers": options.workers},
        )
        config = make_plan(config, data).config
        accelerator = build_accelerator(config.train)
        plain = with_settings(config, {"loss.class_weights": "none"})
        codes = RunCodes(plain, data, reporter_of_this_process(None))
        training = build_training(plain, data, None, accelerator, codes)
        parts: dict[str, Callable[[Config, Training, Accelerator, int], float]] = {
            "loader": loader_alone,
            "forward and backward": compute_alone,
            "whole loop": whole_loop,
        }
        rates: dict[str, list[float]] = {name: [] for name in parts}
        loader_alone(config, training, accelerator, options.steps)  # the first epoch decodes the files
        for _ in range(options.rounds):
            for name, part in parts.items():
                rates[name].append(part(config, training, accelerator, options.steps))
    medians = {name: median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:<22} {rate:7.1f} images/s  ({min(rates[name]):.1f} to {max(rates[name]):.1f})")
    slower = min(medians["loader"], medians["forward and backward"])
    print(f"the whole is {100 * medians['whole loop'] / slower:.0f} % of the slower of the two")


if __name__ == "__main__":
    main()
