"""From a path to a data set: by its data.yaml, as a benchmark that is read where it lies, or by its layout."""

import shlex
from pathlib import Path

from segwright.data.dataset import SegmentationData, read_data_yaml
from segwright.data.formats.in_place import read_in_place
from segwright.data.formats.reading import Options
from segwright.data.formats.registry import evidence_of
from segwright.data.layouts import UnknownLayoutError, recognise
from segwright.errors import DataError, did_you_mean

_ARCHIVES = (".zip",)
_OWN_FILES = (".yaml", ".yml")


def load_data(source: str | Path) -> SegmentationData:
    """Read a data.yaml, a folder that has one, a benchmark's folder, or a folder whose layout is recognised.

    Args:
        source: path of the file or the folder.

    Raises:
        DataError: nothing there, nothing recognised, another format (named, with the command that brings it), or a
            data.yaml that does not make sense.
    """
    path = Path(source).expanduser()
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise DataError(
            f"data set '{source}' does not exist{did_you_mean(path.name, siblings)}",
            fix="give a folder of pictures and masks, or a data.yaml",
        )
    own = path if path.is_file() else path / "data.yaml"
    found = None if own.is_file() else read_in_place(path)
    if found is not None:
        return found
    try:
        return read_data_yaml(own) if own.is_file() else recognise(path)
    except DataError as error:
        raise _foreign(path, own, with_mask_files=isinstance(error, UnknownLayoutError)) or error from None


def _foreign(path: Path, own: Path, *, with_mask_files: bool) -> DataError | None:
    """The error for a data set in a format that is brought first; ``None`` where it is in none.

    Where there is a data.yaml that does not make sense, only a format with such a file explains it.
    """
    command = f"segwright data convert {shlex.quote(str(path))} --to NEW"
    if path.is_file() and path.suffix.lower() in _ARCHIVES:
        return DataError(f"'{path}' is an archive", fix=f"bring it: {command}")
    evidence = evidence_of(path, Options(), with_mask_files=with_mask_files)
    if own.is_file() and own.suffix.lower() in _OWN_FILES:
        evidence = {name: found for name, found in evidence.items() if name == "yolo"}
    if not evidence:
        return None
    if len(evidence) == 1:
        (name, found), *_ = evidence.items()
        return DataError(f"'{path}' is a data set in the format {name} ({found})", fix=f"bring it: {command}")
    found = "; ".join(f"{name} ({found})" for name, found in evidence.items())
    return DataError(
        f"'{path}' can be read in {len(evidence)} ways: {found}", fix=f"{command} --from {'|'.join(evidence)}"
    )
