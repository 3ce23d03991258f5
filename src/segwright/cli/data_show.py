"""segwright data show."""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import printable, progress, say, say_next
from segwright.cli.data import read_data
from segwright.cli.options import DataArgument
from segwright.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from segwright.analysis.previews import Candidate
    from segwright.data import SegmentationData

_MOST = 100
_TILE_WIDTH = 320


def show(
    data: DataArgument,
    split: Annotated[
        str | None, typer.Option(help="train, val or test. [default: val, or the first where there is none]")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help=f"How many pairs, at most {_MOST}.")] = 8,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Only pairs whose mask holds this class.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The sheet: .jpg or .png.")] = Path("data_show.jpg"),
    seed: Annotated[int, typer.Option(help="Another seed shows other pairs.")] = 0,
) -> None:
    """Show pairs of a split as one picture: each picture, its mask in colours, and both in one."""
    from segwright.analysis.contact_sheet import SUFFIXES, draw_sheet, save_sheet
    from segwright.analysis.out_file import check_out_file
    from segwright.analysis.previews import draw_previews, typical_tile

    source = read_data(data)
    if not 1 <= count <= _MOST:
        raise ConfigError(f"--count is {count}", fix=f"give 1 to {_MOST}")
    check_out_file(out, SUFFIXES, source)
    split = split or ("val" if "val" in source.folders else next(iter(source.folders)))
    chosen, of_how_many = choose(source, split, count, class_name, seed)
    tile = typical_tile([candidate.image for candidate in chosen if candidate.image], _TILE_WIDTH)
    previews = draw_previews(chosen, source.labels, tile)
    facts = f"{split}: {len(chosen)} of {of_how_many} {'pair' if of_how_many == 1 else 'pairs'}"
    facts += f", with class {class_name}" if class_name else ""
    former = " (the former one is replaced)" if out.exists() else ""
    save_sheet(draw_sheet(source.name, f"{facts}, chosen with seed {seed}", previews, source.labels, tile), out)
    say("wrote", f"{out}: {facts}{former}")
    print(out)
    faulty = [preview.name for preview in previews if preview.overlay is None]
    if faulty:
        first = printable(faulty[0])
        say("warning:", f"{len(faulty)} of these pairs cannot be laid over each other, first '{first}'", colour=33)
    say_next("data", "check" if faulty else "stats", data)


def choose(
    data: "SegmentationData", split: str, count: int, class_name: str | None, seed: int
) -> "tuple[list[Candidate], int]":
    """Pairs drawn at random, in order of name, and how many there are; no mask is read unless a class is wanted.

    Raises:
        ConfigError: an unknown class.
        DataError: no such split, nothing in it, or no mask with the class.
    """
    from segwright.analysis.choice import candidates_with, list_candidates
    from segwright.data import MaskReader

    if class_name is not None and class_name not in data.classes:
        near = did_you_mean(class_name, data.classes)
        raise ConfigError(f"--class '{class_name}' is none of the classes{near}", fix=f"give {', '.join(data.classes)}")
    candidates = list_candidates(data, split)
    if not candidates:
        folders = data.folders_of(split)
        raise DataError(
            f"{split} has no pictures in '{folders.images}' and no masks in '{folders.masks}'",
            fix="put pictures and masks there, or mend the paths in data.yaml",
        )
    order = random.Random(seed).sample(candidates, len(candidates))
    if class_name is None:
        return sorted(order[:count]), len(candidates)
    with progress("searching", "masks") as tell:
        chosen = candidates_with(order, MaskReader(data.labels), data.classes.index(class_name), count, tell)
    if not chosen:
        raise DataError(f"no mask of {split} that can be read holds class '{class_name}'", fix="give another --split")
    if len(chosen) < count:
        say("note:", f"class '{class_name}' is in {len(chosen)} of the {len(candidates)} pairs of {split}")
    return sorted(chosen), len(candidates)
