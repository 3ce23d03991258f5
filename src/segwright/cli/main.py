"""The entry point: finds the command, and turns every error into two lines and an exit code."""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from segwright import __version__
from segwright.cli import (
    bench,
    data,
    data_check,
    data_show,
    data_split,
    data_stats,
    demo,
    evaluate,
    export,
    limits,
    models,
    predict,
    train,
)
from segwright.cli.console import WarningsToStderr, say_error, show_traceback
from segwright.cli.options import arrange
from segwright.errors import ConfigError, MissingExtraError, SegmentationError, did_you_mean

# Plain help: rich's would take as long to import as everything else together.
app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad data or model file, 4 a missing extra, 130 interrupted.",
)
for command in (demo.demo, train.train, evaluate.evaluate, predict.predict, bench.bench, export.export):
    app.command()(command)
data_app = typer.Typer(
    help="Data sets: check, show, count, split, convert or draw one; see which stride its labels allow.",
    rich_markup_mode=None,
)
for data_command in (
    data_check.check,
    data_show.show,
    data_stats.stats,
    data_split.split,
    data.convert,
    limits.limits,
    data.make,
):
    data_app.command()(data_command)
app.add_typer(models.app, name="models")
app.add_typer(data_app, name="data")

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # typer keeps the class itself in a private module
_EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "timm", "huggingface_hub", "accelerate", "tensorboard"), "train"),
    **dict.fromkeys(("scipy", "matplotlib", "numba", "onnx", "onnxscript"), "train"),
    "onnxruntime": "onnx",
    **dict.fromkeys(("openvino", "nncf"), "openvino"),
    "ray": "cluster",
}
_INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Semantic segmentation: train, evaluate and use the classic systems.

    Start with: segwright demo
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if version:
        print(f"segwright {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        words: after the program's name; ``None`` for those of the process.
    """
    words = arrange(sys.argv[1:] if words is None else words)
    # Pillow's word on a picture that we refuse in our own; by its text, since Pillow is not imported yet.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit of")
    logger, handler = logging.getLogger("segwright"), WarningsToStderr()
    if os.environ.get("RANK", "0") == "0":  # of several processes one warns
        logger.addHandler(handler)
    try:
        code = run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        hush()
        code = 1
    finally:
        logger.removeHandler(handler)
    return code


def run(words: list[str]) -> int:
    """Run a command line; every error but a closed pipe becomes two lines and an exit code."""
    command = typer.main.get_command(app)
    try:
        refuse_processes(words)
        code = command.main(args=words, prog_name="segwright", standalone_mode=False)
    except BrokenPipeError:
        raise
    except SystemExit as stop:  # how typer reports a closed pipe
        hush()
        code = stop.code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if "--debug" in words:
            show_traceback(error)
        known = explain(error, words)
        if not is_told_elsewhere(known):
            say_error(known.message, known.fix)
        return known.exit_code
    if code == _INTERRUPTED:
        say_error("stopped by Ctrl-C", "run the command again")
    return code if isinstance(code, int) else 0


def refuse_processes(words: Sequence[str]) -> None:
    """Of the commands train alone shares its work among the processes of a launcher; others would all do the same.

    Raises:
        ConfigError: another command, in several processes.
    """
    count, path = os.environ.get("WORLD_SIZE", "1"), command_path(words)
    if count != "1" and "RANK" in os.environ and path not in ("segwright train", "segwright"):
        raise ConfigError(f"{path} works in one process, and {count} were started", fix="start it without a launcher")


def is_told_elsewhere(error: SegmentationError) -> bool:
    """Whether another process of a launched run tells the user: one that knows, else the first on the same machine."""
    if error.is_told is None:
        return type(error) is not SegmentationError and os.environ.get("LOCAL_RANK", "0") != "0"
    return error.is_told


def explain(error: Exception, words: Sequence[str]) -> SegmentationError:
    """Any error of a command line as one that says what to do."""
    if isinstance(error, SegmentationError):
        return error
    if isinstance(error, _USAGE_ERROR):
        return usage_error(error, words)
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and package in _EXTRAS:
        return MissingExtraError(
            f"this command needs {package}, which is not installed", fix=f'pip install "segwright[{_EXTRAS[package]}]"'
        )
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, OSError) and error.errno is not None:
        fix = "free space on the disk" if error.errno == errno.ENOSPC else "check that the path is right and accessible"
        return SegmentationError(text, fix=fix)
    return SegmentationError(
        f"{type(error).__name__}: {text}", fix="this is a fault of segwright; run again with --debug and report it"
    )


def usage_error(error: Exception, words: Sequence[str]) -> SegmentationError:
    """A complaint of typer's about the command line in our words."""
    message = " ".join(getattr(error, "format_message")().split()).rstrip(".")  # noqa: B009  Exception has none
    message = message.replace(". Did you mean", "; did you mean")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else command_path(words)
    commands = getattr(context.command, "commands", {}) if context else {}
    if message.startswith("No such command") and "did you mean" not in message:  # typer 0.15 suggests nothing
        message += did_you_mean(message.split("'")[1], commands)
    known = SegmentationError(message[:1].lower() + message[1:], fix=f"{path} --help lists what there is")
    known.exit_code = 2
    return known


def command_path(words: Sequence[str]) -> str:
    """The command that a command line names: typer does not say it of an option that lacks a value."""
    path, command = ["segwright"], typer.main.get_command(app)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            path, command = [*path, word], inner
    return " ".join(path)


def hush() -> None:
    """Nobody reads stdout any more: let the rest of it go nowhere, and Python's own flush at the end as well."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else nowhere)
    os.close(nowhere)
