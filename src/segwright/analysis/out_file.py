"""Where a page or a picture of a data set may be written."""

from collections.abc import Sequence
from pathlib import Path

from segwright.data.dataset import SegmentationData
from segwright.errors import ConfigError


def check_out_file(path: Path, suffixes: Sequence[str], data: SegmentationData) -> None:
    """Refuse a file that cannot be written, or that would become a part of the data, before the work is done.

    Args:
        path: the file.
        suffixes: that it may have, in lower case.
        data: whose folders it must keep out of.

    Raises:
        ConfigError: another ending, a folder, no such folder to put it in, or one of the data set's own.
    """
    if path.is_dir():
        raise ConfigError(f"--out '{path}' is a folder", fix="name a file that is none")
    if path.suffix.lower() not in suffixes:
        fix = f"write --out {path.with_suffix(suffixes[0])}"
        raise ConfigError(f"--out '{path}' does not end in {' or '.join(suffixes)}", fix=fix)
    if not path.parent.is_dir():
        raise ConfigError(f"folder '{path.parent}' of --out does not exist", fix="make it first, or name another")
    for split, folders in data.folders.items():
        for folder in (folders.images, folders.masks):
            if path.resolve().is_relative_to(folder.resolve()):
                raise ConfigError(
                    f"--out '{path}' lies in '{folder}', among the files of {split}", fix="write it to another folder"
                )
