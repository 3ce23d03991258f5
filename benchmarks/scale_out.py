"""Pictures per second of ``segwright predict``: in one process, and by one and two workers on Ray.

From files to mask files, on drawn street scenes and Fast-SCNN with random weights; the engines take turns, on a cluster
that is there already. The rate is the slope of pictures done over time, so that what precedes the first picture does
not count; that is told beside it. Each process computes with ``--threads``, but two workers with at most half of the
cores each.

    python benchmarks/scale_out.py [--pictures 200] [--size 512x1024] [--threads 1] [--rounds 3]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np

SEGWRIGHT = [sys.executable, "-c", "import sys; from segwright.cli.main import main; sys.exit(main())"]


def draw(folder: Path, pictures: int, size: str) -> list[Path]:
    """Links to eight drawn scenes."""
    words = ["data", "make", str(folder / "scenes"), "--train", "1", "--val", "1", "--test", "8", "--size", size]
    subprocess.run([*SEGWRIGHT, *words], check=True, capture_output=True)
    scenes = sorted((folder / "scenes" / "images" / "test").iterdir())
    links = [folder / "pictures" / f"{index:05}.jpg" for index in range(pictures)]
    links[0].parent.mkdir()
    for index, link in enumerate(links):
        link.hardlink_to(scenes[index % len(scenes)])
    return links


PAUSE = 10
"""Seconds before each turn, in which Ray ends the workers of the one before and starts idle ones."""


def rate(done: Callable[[], Iterator[object]]) -> tuple[float, float]:
    """Pictures per second, and seconds to the first picture."""
    start = time.perf_counter()
    times = [time.perf_counter() - start for _ in done()]
    slope, _ = np.polyfit(times, np.arange(len(times)), 1)
    return float(slope), times[0]


def measure(model: Path, pictures: Sequence[Path], folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    from segwright.deploy.scale_out import Cluster, Work
    from segwright.inference import Predictor
    from segwright.inference.jobs import Job, write

    jobs = [Job(path, folder / "masks" / f"{path.stem}.png", None, None) for path in pictures]
    options = {"device": "cpu", "runtime": "torch"}

    def local() -> Iterator[object]:
        predictor = Predictor(str(model), **options)
        predictor.expect(len(jobs))
        for job in jobs:
            yield write(predictor(job.source), job)

    results: dict[str, list[tuple[float, float]]] = {}
    with Cluster() as cluster:

        def on_ray(workers: int) -> Iterator[object]:
            work = Work(str(model), options, len(jobs))
            return cluster.run(jobs, work, cluster.share(workers, "cpu", len(jobs)))

        ways = {"local": local, "ray, 1 worker": lambda: on_ray(1), "ray, 2 workers": lambda: on_ray(2)}
        for _ in range(rounds):
            for name, way in ways.items():
                time.sleep(PAUSE)
                results.setdefault(name, []).append(rate(way))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--size", default="512x1024")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is imported, and for the workers

    from segwright.models import create_model
    from segwright.models.weights import save_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(create_model("fast_scnn", num_classes=19).eval(), folder / "model.safetensors")
        pictures = draw(folder, args.pictures, args.size)
        results = measure(folder / "model.safetensors", pictures, folder, args.rounds)
    print(f"{args.pictures} pictures of {args.size}, {args.threads} threads a process, medians of {args.rounds} rounds")
    base = median(first for first, _ in results["local"])
    for way, figures in results.items():
        speed, start = (median(values) for values in zip(*figures, strict=True))
        spread = ", ".join(f"{value:.1f}" for value, _ in figures)
        print(f"{way:<15} {speed:6.1f} pictures/s ({spread})  {speed / base:.2f}x  {start:5.1f} s to the first picture")


if __name__ == "__main__":
    main()
