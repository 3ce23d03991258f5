"""segwright train."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from segwright.cli.console import ConsoleReporter, say_next
from segwright.errors import ConfigError

if TYPE_CHECKING:
    from segwright.engine import Run

_NEEDED = "segwright train DATA --model fast_scnn, or segwright train --resume RUN"


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="Folder of pictures and masks, or data.yaml.")] = None,
    model: Annotated[str | None, typer.Option(help="Network; segwright models list. [default: fast_scnn]")] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="Run folder. [default: runs/DATE_DATA_MODEL]")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the pictures. [default: 100]")] = None,
    iters: Annotated[int | None, typer.Option(help="Optimizer steps, instead of epochs.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget, instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step. [default: 12]")] = None,
    crop_size: Annotated[tuple[int, int] | None, typer.Option(metavar="H W", help="[default: from the pictures]")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate. [default: 0.045]")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="FILE", help="YAML of settings to start from.")] = None,
    weights: Annotated[str | None, typer.Option(help="Model file or run folder to start from; imagenet; none.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16. [default: auto]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation. [default: 0]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; repeatable.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run as if it never stopped.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings on stdout; train nothing.")] = False,
) -> None:
    """Train a network on a data set; leaves a run folder with the model file."""
    words = {
        "epochs": epochs, "iters": iters, "minutes": minutes, "batch_size": batch_size, "crop_size": crop_size,
        "lr": lr, "weights": weights, "device": device, "precision": precision, "seed": seed,
    }  # fmt: skip
    others = [data, model, out, recipe, set_, *words.values()]
    if resume is not None:
        if dry_run or any(value is not None for value in others):
            raise ConfigError("--resume goes on with the run's own settings and takes no others", fix=_NEEDED)
        return finish(_resume(resume), None)
    if data is None:
        raise ConfigError("no data set was given", fix=_NEEDED)
    start(data, model, out, recipe, set_ or [], words, dry_run=dry_run)
    return None


def start(
    data: str, model: str | None, out: str | None, recipe: str | None, sets: list[str], words: dict[str, Any], *, dry_run: bool
) -> None:
    """Train, or with ``dry_run`` say what would be done."""
    from segwright import engine
    from segwright.config import parse_words

    settings = parse_words(sets)
    config = engine.make_run_config(data, model, recipe=recipe, settings=settings, words=words)
    if config.model.weights == "imagenet":
        raise ConfigError(
            f"model '{config.model.name}' has no ImageNet weights",
            fix="leave --weights out to start fresh, or give a model file or a run folder",
        )
    if dry_run:
        return print_plan(config)
    return finish(engine.run(config, out, reporter=ConsoleReporter()), data)
