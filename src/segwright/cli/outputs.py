"""Where predictions go: the tree below each source is kept below the output folder, and nothing is overwritten."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segwright.cli.console import say
from segwright.errors import ConfigError, DataError

if TYPE_CHECKING:
    from segwright.inference.jobs import Job


def plan_jobs(
    sources: Sequence[str],
    out: Path,
    *,
    with_mask: bool,
    with_overlay: bool,
    with_confidence: bool,
    listed: Path | None = None,
) -> list["Job"]:
    """The files to write for every picture: STEM.png, STEM_overlay.jpg, STEM_confidence.png; of rasters .tif for .png.

    Args:
        sources: files, folders and patterns.
        out: the folder for the predictions.
        with_mask, with_overlay, with_confidence: which of them are wanted.
        listed: a text file with a picture's path per line; below ``out`` they keep their tree from the folder on that
            they have in common. One that does not exist is no error here.

    Raises:
        DataError: a source that does not exist or holds no picture, or a list that cannot be read or is empty.
        ConfigError: nothing was given, ``out`` is a file, outputs would land beside source pictures, or two pictures
            would share one.
        MissingExtraError: a picture is too large to be read without rasterio, which is not installed.
    """
    from segwright.inference.jobs import Job
    from segwright.runtime.raster import import_rasterio
    from segwright.runtime.windowed import is_raster

    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out '{out}' is a file", fix="give a folder")
    if not sources and listed is None:
        raise ConfigError("no picture was given", fix="give pictures, folders, quoted patterns, or --list FILE")
    jobs = []
    places = {**(_places(sources, out) if sources else {}), **(_listed_places(listed) if listed else {})}
    for source, place in places.items():
        if is_in_parts := is_raster(source):
            import_rasterio(f"picture '{source}'")
        mask, overlay, confidence = _outputs(out / place, is_in_parts)
        jobs.append(
            Job(
                source,
                mask if with_mask else None,
                overlay if with_overlay else None,
                confidence if with_confidence else None,
            )
        )
    _check(jobs, out)
    return jobs


def _outputs(place: Path, is_raster: bool) -> tuple[Path, Path, Path]:
    """The files of a picture at a place below the output folder: mask, overlay and confidence."""
    stem, suffix = place.stem, "tif" if is_raster else "png"
    return (
        place.with_name(f"{stem}.{suffix}"),
        place.with_name(f"{stem}_overlay.jpg"),
        place.with_name(f"{stem}_confidence.{suffix}"),
    )


def _places(sources: Sequence[str], out: Path) -> dict[Path, Path]:
    """Pictures, each once, and their paths below the output folder."""
    from segwright.runtime import find_images

    places: dict[Path, Path] = {}
    seen: set[Path] = set()
    for source in sources:
        root = _root(source)
        for path in _without_former(root, find_images([source]), out):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                places[path] = path.relative_to(root)
    return places


def _listed_places(path: Path) -> dict[Path, Path]:
    """The pictures of a list and their paths below the output folder."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as reason:
        raise DataError(f"list '{path}' cannot be read ({reason.strerror})", fix="check the path") from reason
    if any(b"\0" in line for line in lines):
        raise DataError(f"list '{path}' is no text", fix="give a file with the path of a picture in each line")
    # Not resolved: a link stays where it is, and each picture counts once by its name.
    sources = {os.path.abspath(name): Path(name) for line in lines if (name := os.fsdecode(line.strip()))}  # noqa: PTH100
    if not sources:
        raise DataError(f"list '{path}' names no picture", fix="write the path of a picture in each line")
    root = os.path.commonpath([os.path.dirname(source) for source in sources])  # noqa: PTH120
    return {source: Path(place).relative_to(root) for place, source in sources.items()}


def _root(source: str) -> Path:
    """The folder below which a source's tree is kept."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file() or not glob.has_magic(source):
        return path.parent
    plain = Path(*_until_magic(path.parts))
    return plain if plain.is_dir() else plain.parent


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _without_former(root: Path, paths: list[Path], out: Path) -> list[Path]:
    """Leaves out what an earlier call wrote into an output folder that lies inside the source.

    Raises:
        ConfigError: the output folder holds other pictures as well, so that it is a part of the source.
        DataError: nothing is left.
    """
    if out.resolve() == root.resolve() or not out.resolve().is_relative_to(root.resolve()):
        return paths
    kept: list[Path] = []
    inside: list[Path] = []
    for path in paths:
        (inside if path.resolve().is_relative_to(out.resolve()) else kept).append(path)
    if not kept:
        raise DataError(f"'{root}' holds no picture outside the output folder '{out}'", fix="give another --out")
    former = {
        output.resolve()
        for path in kept
        for is_raster in (False, True)
        for output in _outputs(out / path.relative_to(root), is_raster)
    }
    if any(path.resolve() not in former for path in inside):
        raise _out_among_sources(out)
    if inside:
        say("note:", f"{len(inside)} pictures in the output folder '{out}' are left out")
    return kept


def _out_among_sources(out: Path) -> ConfigError:
    return ConfigError(f"--out '{out}' is a folder of source pictures", fix="give another --out")


def _check(jobs: Sequence["Job"], out: Path) -> None:
    folders = {folder for job in jobs for folder in (job.source.parent.resolve(), job.source.resolve().parent)}
    owners: dict[Path, Path] = {}
    for job in jobs:
        for output in job.outputs():
            if output.parent.resolve() in folders:
                raise _out_among_sources(out)
            owner = owners.setdefault(output.resolve(), job.source)
            if owner != job.source:
                raise ConfigError(
                    f"'{owner}' and '{job.source}' would both be written to '{output}'",
                    fix="give their common folder as the source, rename one, or predict them with two --out",
                )
