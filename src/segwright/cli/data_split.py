"""segwright data split."""

from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import Meter, percent, print_json, print_table, say, say_next
from segwright.cli.data import read_data
from segwright.cli.options import DataArgument, Json

if TYPE_CHECKING:
    from segwright.data.splitting import Division


def split(
    data: DataArgument,
    to: Annotated[str, typer.Option(metavar="DIR", help="A new or empty folder.")],
    shares: Annotated[
        list[float] | None,
        typer.Option(metavar="X...", help="Of train, val and perhaps test; their sum is 1. [default: 0.8 0.1 0.1]"),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="Which pictures stay together, by their names: a regular expression with one group in brackets, as "
            "'(seq\\d+)_', or how names begin, as '*_' or '*/'.",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed and names give the same splits, on any machine.")] = 0,
    link: Annotated[bool, typer.Option("--link", help="Write links to the files instead of copies.")] = False,
    from_split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Share out this split only and keep the others. [default: all, pooled]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Share a data set out into train, val and test, each with its share of every class: all of it, or nothing."""
    from segwright.data.splitting import SHARES, check_shares, split_data

    chosen = tuple(shares or SHARES)
    check_shares(chosen)
    source, meter = read_data(data), Meter()
    try:
        done = split_data(
            source,
            to,
            shares=chosen,
            group=group,
            seed=seed,
            link=link,
            from_splits=from_split or (),
            progress=lambda what, count, total: meter.update(
                what, count, total, f"{meter.rate(what, count):.1f} files/s"
            ),
        )
    finally:
        meter.close()
    for note in done.notes:
        say("note:", note)
    if as_json:
        print_json(done.to_json())
    else:
        print_division(done)
    say_next("data", "check", to)


def print_division(done: "Division") -> None:
    """Pictures and groups of each split, then each class's share of pixels and its masks there."""
    splits = list(done.images)
    rows = [["pictures", *(str(done.images[name]) for name in splits)]]
    if done.groups != done.images:
        rows.append(["groups", *(str(done.groups[name]) for name in splits)])
    for name in done.pixels[splits[0]]:
        cells = [f"{percent(done.share_of_pixels(split, name))} ({done.masks[split][name]})" for split in splits]
        rows.append([name, *cells])
    print_table(["% of pixels (masks)", *splits], rows)
