"""segwright train."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from segwright.cli.console import ConsoleReporter, say_next
from segwright.errors import ConfigError

if TYPE_CHECKING:
    from segwright.config import Config
    from segwright.engine import Run

_NEEDED = "segwright train DATA --model fast_scnn, or segwright train --resume RUN"


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="Folder of pictures and masks.")] = None,
    model: Annotated[str | None, typer.Option(help="Network; segwright models list. [default: fast_scnn]")] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="Run folder. [default: runs/DATE_DATA_MODEL]")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the pictures. [default: 100]")] = None,
    iters: Annotated[int | None, typer.Option(help="Optimizer steps, instead of epochs.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget, instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step. [default: automatic]")] = None,
    crop_size: Annotated[tuple[int, int] | None, typer.Option(metavar="H W", help="[default: automatic]")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate. [default: 0.045]")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="FILE", help="YAML of settings to start from.")] = None,
    weights: Annotated[str | None, typer.Option(help="To start from: imagenet, ID, FILE, RUN or none.")] = None,
    teacher: Annotated[str | None, typer.Option(help="A larger trained network to learn from, too.")] = None,
    upsampler: Annotated[str | None, typer.Option(help="bilinear, or dupsampling: fitted to DATA's labels.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16. [default: auto]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation. [default: 0]")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints. [default: automatic]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a stopped run.")] = None,
    allow_changes: Annotated[bool, typer.Option(help="With --resume: settings or DATA that differ.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings on stdout; train nothing.")] = False,
) -> None:
    """Train a network on a data set; leaves a run folder with the model file."""
    words = {
        "epochs": epochs, "iters": iters, "minutes": minutes, "batch_size": batch_size, "crop_size": crop_size,
        "lr": lr, "weights": weights, "teacher": teacher, "upsampler": upsampler, "device": device,
        "precision": precision, "seed": seed, "save_every": save_every,
    }  # fmt: skip
    if resume is not None:
        if dry_run or out is not None:
            raise ConfigError("--resume goes on in the run's own folder; --out and --dry-run do not apply", fix=_NEEDED)
        return go_on(resume, data, model, recipe, set_ or [], words, allow_changes=allow_changes)
    if allow_changes:
        raise ConfigError("--allow-changes goes with --resume", fix=_NEEDED)
    if data is None:
        raise ConfigError("no data set was given", fix=_NEEDED)
    return start(data, model, out, recipe, set_ or [], words, dry_run=dry_run)


def start(
    data: str,
    model: str | None,
    out: str | None,
    recipe: str | None,
    sets: list[str],
    words: dict[str, Any],
    *,
    dry_run: bool,
) -> None:
    """Train, or with ``dry_run`` say what would be done."""
    from segwright import engine
    from segwright.config import parse_words

    config = engine.make_run_config(data, model, recipe=recipe, settings=parse_words(sets), words=words)
    if dry_run:
        return print_plan(config)
    return finish(engine.run(config, out, reporter=ConsoleReporter()), data)


def go_on(
    path: str,
    data: str | None,
    model: str | None,
    recipe: str | None,
    sets: list[str],
    words: dict[str, Any],
    *,
    allow_changes: bool,
) -> None:
    """Resume a run; what is given beside it must be what the run has, or be allowed to differ."""
    from segwright import engine
    from segwright.config import parse_words, read_config

    wanted = None
    if any(value is not None for value in (data, model, recipe, *sets, *words.values())):
        settings = parse_words(sets)
        wanted = engine.make_resume_config(path, data, model, recipe=recipe, settings=settings, words=words)
    run = engine.resume(path, reporter=ConsoleReporter(), wanted=wanted, allow_changes=allow_changes)
    finish(run, read_config(run.path / "config.yaml").data.path)


def print_plan(config: "Config") -> None:
    """The settings as they would be used, on stdout; why they were chosen, on stderr."""
    import yaml

    from segwright.data import load_data
    from segwright.engine.plan import make_plan
    from segwright.engine.train import checked, tell_plan

    data, reporter = load_data(config.data.path), ConsoleReporter()
    report = checked(data, config, reporter) if config.loss.class_weights == "auto" else None  # it reads every file
    plan = make_plan(config, data, report=report)
    tell_plan(plan, data, reporter)
    print(yaml.safe_dump(plan.config.model_dump(mode="json"), sort_keys=False), end="")


def finish(run: "Run", data: str) -> None:
    """Print the run folder and name what comes next; of several processes the main one does."""
    from segwright.engine.processes import is_main_process

    if not is_main_process():
        return
    print(run.path)
    say_next("evaluate", run.path, data)
    say_next("predict", run.path, "PICTURES", "--format", "both")
