"""segwright data convert | make."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import print_json, progress, say, say_next
from segwright.cli.options import Json
from segwright.errors import ConfigError

if TYPE_CHECKING:
    from segwright.data import SegmentationData
    from segwright.data.formats import Options

_FORMATS = (
    "voc, coco, coco_panoptic, labelme, yolo, cvat, supervisely, label_studio, cityscapes, ade20k, "
    "pascal_context, coco_stuff, camvid, mat, levels, colour, index"
)


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder of labelled data, or its one label file.")],
    to: Annotated[str, typer.Option(metavar="DIR", help="A new or empty folder.")],
    name: Annotated[str, typer.Option("--from", metavar="FORMAT", help=f"auto, {_FORMATS}.")] = "auto",
    classes: Annotated[str, typer.Option(metavar="A,B,C", help="Class names, by mask value or grey level.")] = "",
    palette: Annotated[Path | None, typer.Option(metavar="FILE", help="Lines like road,128,64,128.")] = None,
    levels: Annotated[str, typer.Option(metavar="0,255", help="Grey levels of the classes; the nearest wins.")] = "",
    ignore: Annotated[
        str, typer.Option(metavar="A,B", help="Classes or values left out of scores. [default: names like void]")
    ] = "",
    background: Annotated[str, typer.Option(help="Class of pixels without a shape, or ignore.")] = "background",
    overlap: Annotated[
        str | None, typer.Option(help="Which shape is drawn first: area (the larger) or order. [default: the format's]")
    ] = None,
    coarse: Annotated[bool, typer.Option("--coarse", help="Read the coarse labels where there are two kinds.")] = False,
    ignore_outside: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Masks of the field of view; where they are 0 is ignored.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse larger pictures. [default: what Pillow allows]")
    ] = None,
    max_bytes: Annotated[int, typer.Option(help="Refuse larger JSON and XML files.")] = 2_000_000_000,
    as_json: Json = False,
) -> None:
    """Write data of another format as pictures, index masks and a data.yaml: all of it, or nothing."""
    from segwright.data.formats import Options

    options = Options(
        classes=tuple(_words(classes)),
        palette=palette,
        levels=parse_levels(levels),
        ignore=tuple(_words(ignore)) or None,
        overlap=overlap,
        max_pixels=Options.max_pixels if max_pixels is None else max_pixels,
        max_bytes=max_bytes,
        background=background,
        coarse=coarse,
        ignore_outside=ignore_outside,
    )
    write_converted(source, to, name, options, as_json=as_json)


def write_converted(source: str, to: str, name: str, options: "Options", *, as_json: bool) -> None:
    """Convert a data set and say what was understood, decided and left out."""
    from segwright.data.formats import convert

    def tell(name: str, understood: str) -> None:
        say("understood", f"{understood} (--from {name})")

    with progress("converting") as count:
        done = convert(source, to, name=name, options=options, tell=tell, progress=count)
    for note in done.notes:
        say("note:", note)
    if as_json:
        print_json(done.to_json())
    else:
        print(to)
    say_next("data", "check", to)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_levels(text: str) -> tuple[int, ...]:
    """``0,127,254`` as numbers.

    Raises:
        ConfigError: anything else.
    """
    words = _words(text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ConfigError(f"--levels takes grey levels, got '{text}'", fix="write for example --levels 0,127,254")
    return tuple(int(word) for word in words)


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
