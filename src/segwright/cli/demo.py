"""segwright demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import ConsoleReporter, percent, progress, say, say_next
from segwright.cli.data import make_scenes
from segwright.cli.outputs import plan_jobs
from segwright.cli.predict import predict_all

if TYPE_CHECKING:
    from segwright.engine import Run

COUNTS = {"train": 120, "val": 16, "test": 24}
SIZE = (360, 480)
_PICTURES = 6
SETTINGS = {
    "data.crop_size": (256, 320),
    "train.batch_size": 8,
    "loss.class_weights": "log",  # signs and people are small
    "loss.pixel_stride": 2,  # a quarter of the pixels teaches nearly as well, and steps are shorter
    "loss.aux_pixel_stride": 4,
    "train.optimizer": "adamw",  # learns faster than SGD in so few steps
    "train.lr": 0.003,
    "train.weight_decay": 0.01,
    "train.no_decay": ("depthwise", "norm", "bias"),
}


def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the demo.")] = "demo",
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 3,
) -> None:
    """Draw street scenes, train on them, evaluate, predict, and show where the pictures are."""
    from segwright.evaluation import evaluate
    from segwright.inference import Predictor

    data, predictions = Path(out, "data"), Path(out, "predictions")
    if (data / "data.yaml").exists():
        say("data", f"'{data}' is there already and is used again")
    else:
        make_scenes(data, COUNTS, SIZE)
    run = train_or_resume(data, Path(out, "run"), minutes)
    with progress("evaluating") as tell:
        scores = evaluate(run.model, data, split="test", progress=tell)
    pictures = sorted(str(path) for path in (data / "images" / "test").iterdir())[:_PICTURES]
    jobs = plan_jobs(pictures, predictions, with_mask=True, with_overlay=True, with_confidence=False)
    predict_all(Predictor(run.model), jobs)
    print(f"test mIoU   {percent(scores.miou)} % on {scores.images} street scenes never seen in training")
    print(f"model       {run.model}")
    for job in jobs:
        print(f"picture     {job.overlay}")
    say_next("evaluate", run.path, data, "--split", "test")
    say_next("predict", run.path, "YOUR_PICTURE.jpg", "--format", "both")


def train_or_resume(data: Path, path: Path, minutes: float) -> "Run":
    """A run of the demo: new, gone on with where it was interrupted, or the finished one."""
    from segwright import engine

    if (path / "config.yaml").exists():
        say("run", f"'{path}' is there already and is gone on with; to train anew, remove it or give another --out")
        return engine.resume(path, reporter=ConsoleReporter())
    settings = {**SETTINGS, "train.minutes": minutes}
    return engine.train(data, "fast_scnn", out=path, reporter=ConsoleReporter(), settings=settings)
