"""segwright data stats."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from segwright.cli.console import Meter, percent, print_json, print_table, say, say_next
from segwright.cli.data import read_data
from segwright.cli.options import DataArgument, Json
from segwright.errors import DataError

if TYPE_CHECKING:
    from segwright.analysis.statistics import SplitStatistics
    from segwright.data import SegmentationData

Rule = Literal["median_frequency", "log"]
_MOST_COLUMNS = 20


def stats(
    data: DataArgument,
    split: Annotated[
        list[str] | None, typer.Option(help="train, val or test; may be given several times. [default: all]")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page: .html.")] = None,
    as_json: Json = False,
) -> None:
    """What the splits hold: sizes, mean and std, how much of each class, which classes stand together."""
    source = read_data(data)
    if out is not None:
        from segwright.analysis.out_file import check_out_file

        check_out_file(out, (".html",), source)
    found = measure(source, list(dict.fromkeys(split or source.folders)))
    weights = class_factors(found)
    if out is not None:
        from segwright.analysis.statistics_page import write_statistics_page

        write_statistics_page(source, found, weights, out)
        say("wrote", str(out))
    if as_json:
        print_json(to_json(source, found, weights))
    else:
        print_splits(found, weights)
    say_next("data", "show", data)


def measure(data: "SegmentationData", splits: Sequence[str]) -> "list[SplitStatistics]":
    """Read the splits one after the other.

    Raises:
        DataError: no such split, or files that do not serve; names the check that lists them all.
    """
    from segwright.analysis.statistics import split_statistics

    for split in splits:
        data.folders_of(split)
    command = f"segwright data check {shlex.quote(str(data.source or data.name))}"
    found = []
    with closing(Meter()) as meter:
        for split in splits:
            try:
                found.append(split_statistics(data, split, progress=partial(meter.update, split)))
            except DataError as error:
                raise DataError(error.message, fix=f"{error.fix}; {command} lists all such files") from error
    return found


def weighted_split(found: "Sequence[SplitStatistics]") -> "SplitStatistics | None":
    """The split whose pixel counts make class weights: train, or the only one that was measured."""
    return next((part for part in found if part.split == "train"), found[0] if len(found) == 1 else None)


def class_factors(found: "Sequence[SplitStatistics]") -> dict[str, dict[str, float]]:
    """The class weights that training would use, by rule and class.

    Empty where several splits were measured and none of them is train, and where PyTorch is not installed, which is
    said.
    """
    chosen = weighted_split(found)
    if chosen is None:
        return {}
    try:
        from segwright.losses import class_weights
    except ModuleNotFoundError:
        say("note:", 'class weights are left out: they need pip install "segwright[train]"')
        return {}
    counts = chosen.class_counts
    factors = {rule: class_weights(counts, rule).tolist() for rule in get_args(Rule)}
    return {rule: dict(zip(chosen.classes, values, strict=True)) for rule, values in factors.items()}


def to_json(
    data: "SegmentationData", found: "Sequence[SplitStatistics]", factors: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "data": data.name,
        "classes": list(data.classes),
        "splits": {part.split: part.to_json() for part in found},
        "class_weights": factors,
    }


def print_splits(found: "Sequence[SplitStatistics]", factors: Mapping[str, Mapping[str, float]]) -> None:
    """Sizes, colours and classes of each split, and which classes stand together where the table has room."""
    from segwright.analysis.statistics import describe_colours, describe_sizes
    from segwright.analysis.statistics_page import MOST_TOGETHER

    weighted = weighted_split(found)
    for part in found:
        print(f"{part.split}: {part.images} {'picture' if part.images == 1 else 'pictures'}, {describe_sizes(part)}")
        print("\n".join(describe_colours(part)))
        print(f"{percent(part.ignored)} % of the pixels are ignored\n")
        print_classes(part, factors if part is weighted else {})
        print()
        if len(part.classes) <= _MOST_COLUMNS:
            print_together(part)
        else:
            where = "--json" if len(part.classes) > MOST_TOGETHER else "--json, or --out FILE.html"
            print(f"which of the {len(part.classes)} classes stand together: {where}")
        print()


def print_classes(part: "SplitStatistics", factors: Mapping[str, Mapping[str, float]]) -> None:
    """A row per class."""
    rules = [rule.replace("_", " ") for rule in factors]
    rows = []
    for name, found in part.classes.items():
        area = percent(found.mean_area) if found.masks else "-"
        row = [name, percent(found.share), str(found.pixels), str(found.masks), area]
        rows.append(row + [f"{weights[name]:.3g}" for weights in factors.values()])
    print_table(["class", "share %", "pixels", "masks", "% of such a mask", *rules], rows)


def print_together(part: "SplitStatistics") -> None:
    """How many masks hold both the class of the row and that of the column."""
    numbered = [f"{index} {name}" for index, name in enumerate(part.classes)]
    rows = [[name, *map(str, row)] for name, row in zip(numbered, part.co_occurrence, strict=True)]
    print_table(["masks with both", *map(str, range(len(numbered)))], rows)
