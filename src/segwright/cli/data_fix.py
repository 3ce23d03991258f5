"""The copy that ``segwright data check --fix`` writes: what was mended, what was left out, and what stays wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segwright.cli.console import progress, say

if TYPE_CHECKING:
    from segwright.data import DataReport, SegmentationData

ResizeMasks = Annotated[
    bool,
    typer.Option(
        "--resize-masks", help="With --fix: give masks of another size their picture's, by the nearest value."
    ),
]

Check = Callable[..., "DataReport"]


@dataclass(frozen=True)
class Checked:
    """A data set that was checked.

    Args:
        folder: the data set's, as the user gave it.
        data: the data set.
        report: of the check.
        done: what was mended and left out on the way into this copy.
    """

    folder: Path
    data: "SegmentationData"
    report: "DataReport"
    done: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        report = self.report.to_json()
        return {**self.done, "ok": report["ok"], "problems": report["problems"]}


def fix_data_set(data: "SegmentationData", to: Path, *, resize_masks: bool, check: Check) -> Checked:
    """Write a mended copy of a data set into a new or empty folder, and check it as the data set was checked."""
    from segwright.data import load_data
    from segwright.data.fixing import fix_data

    with progress("mending") as tell:
        record = fix_data(data, to, resize_masks=resize_masks, progress=tell)
    for sentence in record.sentences():
        say("note:" if sentence.startswith("left out") else "mended", sentence)
    if not record.mended and not record.left_out:
        say("note:", "there was nothing to mend")
    say("wrote", str(to))
    copy = load_data(to)
    with progress("checking the copy") as tell:
        report = check(copy, progress=tell)
    return Checked(to, copy, report, record.to_json())
