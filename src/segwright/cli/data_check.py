"""segwright data check."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import print_json, printable, progress, say, say_error, say_next
from segwright.cli.data import read_data
from segwright.cli.data_fix import Checked, ResizeMasks, fix_data_set
from segwright.cli.options import DataArgument, Json
from segwright.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from segwright.data import DataReport, SegmentationData

PAGE = "data_check.html"

MaxPixels = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Refuse larger pictures. [default: what Pillow allows]")
]
MaxBytes = Annotated[int | None, typer.Option(metavar="N", min=1, help="Refuse larger files. [default: 2000000000]")]
Processes = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="That read at a time. [default: as many as CPUs]")
]
Allow = Annotated[list[str] | None, typer.Option(metavar="CODE", help="Errors that are meant so. Repeat for several.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Read all again, also files unchanged since an earlier check.")]


def check(
    data: DataArgument,
    as_json: Json = False,
    write: Annotated[bool, typer.Option("--write", help="Write the data.yaml of a folder that has none.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Where the page goes. [default: {PAGE} in DATA]")
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no page.")] = False,
    max_pixels: MaxPixels = None,
    max_bytes: MaxBytes = None,
    processes: Processes = None,
    allow: Allow = None,
    fresh: Fresh = False,
    fix: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a copy, mended where nothing is lost by it, and check it.")
    ] = None,
    resize_masks: ResizeMasks = False,
) -> None:
    """Read every picture and mask, and list what is wrong; exit code 3 when something must be mended."""
    from segwright.data import check_data

    _check_options(html is not None and no_html, resize_masks and fix is None)
    source = _read(data, as_json=as_json)
    if write:
        write_data_yaml(source, Path(data))
    with_options = partial(
        check_data, max_pixels=max_pixels, max_bytes=max_bytes, processes=processes, fresh=fresh, allow=allow or ()
    )
    with progress("checking") as tell:
        report = with_options(source, progress=tell)
    if report.unchanged:
        say("note:", f"{report.what_is_unchanged}; --fresh reads all again")
    if not as_json:
        print_report(report, source)
    if not no_html:
        say("wrote", str(write_page(report, source, Path(data), html)))
    last = Checked(Path(data), source, report)
    if fix is not None:
        last = fix_data_set(source, fix, resize_masks=resize_masks, check=with_options)
    if as_json:
        print_json(report.to_json() | ({} if fix is None else {"fixed": last.to_json()}))
    elif fix is not None:
        print(f"copy     {fix}")
        print_report(last.report, last.data)
    _say_next(last, is_copy=fix is not None)
    if not last.report.ok:
        raise typer.Exit(3)


def _say_next(last: Checked, *, is_copy: bool) -> None:
    """What to do with the data set that was checked last."""
    from segwright.data.checks.problem import ALLOWABLE
    from segwright.data.fixing import MENDABLE

    found = {problem.code for problem in last.report.problems}
    allowed = ",".join(code for code in ALLOWABLE if code in found)
    if last.report.ok and {"train", "val"} <= last.data.folders.keys():
        settings = ("--set", f"data.allow=[{allowed}]") if allowed else ()
        say_next("train", last.folder, "--model", "fast_scnn", *settings)
    elif not (last.report.ok or is_copy or MENDABLE.isdisjoint(found)):
        say_next("data", "check", last.folder, "--fix", "NEW")


def _read(data: str, *, as_json: bool) -> "SegmentationData":
    """The data set; scripts are told by a document, too, that there is none to check."""
    from segwright.data import DataReport
    from segwright.data.checks.problem import error

    try:
        return read_data(data)
    except DataError as reason:
        if as_json:
            print_json(DataReport({}, {}, (error("no-data-set", data, reason),)).to_json())
        raise


def _check_options(has_two_pages: bool, resizes_without_copy: bool) -> None:
    if has_two_pages:
        raise ConfigError("--html and --no-html exclude each other", fix="give one of them")
    if resizes_without_copy:
        raise ConfigError("--resize-masks says nothing without --fix", fix="add --fix DIR, or leave it out")


def write_page(report: "DataReport", data: "SegmentationData", source: Path, chosen: Path | None) -> Path:
    """Write the page with pictures; where the data set's folder may not be written, into the current one.

    Args:
        report: of the check.
        data: what was checked.
        source: its folder or data.yaml, as given.
        chosen: the user's file.

    Returns:
        the file.
    """
    from segwright.analysis.check_page import write_check_page

    path = chosen or (source.parent if source.is_file() else source).expanduser() / PAGE
    try:
        write_check_page(report, data, path)
    except RunError as error:
        if chosen is not None or path.resolve() == Path(PAGE).resolve():
            raise
        say("note:", f"{error.message}; the page goes into the current folder")
        path = Path(PAGE)
        write_check_page(report, data, path)
    return path


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
    """Counts on stdout, problems on stderr with what to do about each; of one code the first twenty."""
    from segwright.data.checks.problem import shortened

    images = ", ".join(f"{count} {split}" for split, count in report.images.items())
    print(f"images   {images}")
    print(f"classes  {len(data.classes)}: {', '.join(data.classes)}")
    for problem, others in shortened(report.problems):
        message, fix = printable(f"[{problem.code}] {problem.message}"), printable(problem.fix)
        if problem.severity == "error":
            say_error(message, fix)
        else:
            say("warning:", f"{message}; {fix}", colour=33)
        if others:
            say("note:", f"[{problem.code}] and {others} more like this; --json lists all")
    errors = sum(problem.severity == "error" for problem in report.problems)
    print(f"errors   {errors}, warnings {len(report.problems) - errors}")
