"""segwright data check | make."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import print_json, progress, say, say_error, say_next
from segwright.cli.options import DataArgument, Json
from segwright.errors import ConfigError

if TYPE_CHECKING:
    from segwright.data import DataReport, SegmentationData

app = typer.Typer(
    help="Data sets: check one, see which stride its labels allow, or draw scenes.", rich_markup_mode=None
)


@app.command()
def check(
    data: DataArgument,
    as_json: Json = False,
    write: Annotated[bool, typer.Option("--write", help="Write the data.yaml of a folder that has none.")] = False,
) -> None:
    """Read every picture and mask, and list what is wrong; exit code 3 when something must be mended."""
    from segwright.data import check_data

    source = read_data(data)
    if write:
        write_data_yaml(source, Path(data))
    with progress("checking") as tell:
        report = check_data(source, progress=tell)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report, source)
    if not report.ok:
        raise typer.Exit(3)
    if {"train", "val"} <= source.folders.keys():
        say_next("train", data, "--model", "fast_scnn")


@app.command()
def make(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    train: Annotated[int, typer.Option(help="Scenes to train on.")] = 120,
    val: Annotated[int, typer.Option(help="Scenes to validate on.")] = 24,
    test: Annotated[int, typer.Option(help="Scenes to test on.")] = 24,
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width in pixels.")] = "360x480",
    seed: Annotated[int, typer.Option(help="The same seed draws the same scenes.")] = 0,
) -> None:
    """Draw street scenes with their masks: a data set to try things on."""
    if train == 0:
        raise ConfigError("--train 0 leaves nothing to train on", fix="give --train 1 or above")
    counts = {"train": train, "val": val, "test": test}
    print(make_scenes(Path(out), {split: count for split, count in counts.items() if count}, parse_size(size), seed))
    say_next("data", "check", out)


def make_scenes(out: Path, counts: dict[str, int], size: tuple[int, int], seed: int = 0) -> Path:
    """Draw a data set, showing the progress."""
    from segwright.data.synthetic import write_dataset

    total = sum(counts.values())
    with progress("drawing", "scenes") as tell:
        return write_dataset(out, counts=counts, size=size, seed=seed, progress=lambda done: tell(done, total))


def parse_size(text: str) -> tuple[int, int]:
    """``360x480`` as (360, 480).

    Raises:
        ConfigError: anything else.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match:
        raise ConfigError(f"--size takes HEIGHTxWIDTH, got '{text}'", fix="write for example --size 360x480")
    return int(match[1]), int(match[2])


def read_data(path: str) -> "SegmentationData":
    """Read a data set and say what was understood of a folder without a data.yaml."""
    from segwright.data import load_data

    data = load_data(path)
    for sentence in data.understood:
        say("understood", sentence)
    return data


def write_data_yaml(data: "SegmentationData", path: Path) -> None:
    """Write what was understood of a folder.

    Raises:
        ConfigError: there is a data.yaml already.
        DataError: a split that data.yaml cannot describe.
    """
    from segwright.runtime import write_atomically

    if not data.understood:
        raise ConfigError(f"'{path}' has a data.yaml already", fix="leave --write out, or edit the file")
    file = path / "data.yaml"
    write_atomically(file, data.to_yaml(path).encode())
    say("wrote", str(file))


def print_report(report: "DataReport", data: "SegmentationData") -> None:
    """Counts on stdout, problems on stderr with what to do about each."""
    images = ", ".join(f"{count} {split}" for split, count in report.images.items())
    print(f"images   {images}")
    print(f"classes  {len(data.classes)}: {', '.join(data.classes)}")
    for problem in report.problems:
        if problem.severity == "error":
            say_error(f"[{problem.code}] {problem.message}", problem.fix)
        else:
            say("warning:", f"[{problem.code}] {problem.message}; {problem.fix}", colour=33)
    errors = sum(problem.severity == "error" for problem in report.problems)
    print(f"errors   {errors}, warnings {len(report.problems) - errors}")
