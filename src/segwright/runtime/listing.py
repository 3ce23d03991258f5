"""The files below a folder at any depth: hidden ones are left out, links to folders are followed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from segwright.errors import DataError

Refuse = Callable[[OSError], None]


def unreadable_folder(reason: OSError) -> DataError:
    """The error for a folder that may not be read."""
    return DataError(f"folder '{reason.filename}' cannot be read ({reason.strerror})", fix="grant access to it")


def refuse_folder(reason: OSError) -> None:
    """Do not go on without a folder that may not be read.

    Raises:
        DataError: always.
    """
    raise unreadable_folder(reason) from reason


def walk(folder: str | Path, refuse: Refuse = refuse_folder) -> Iterator[tuple[str, list[str]]]:
    """Each folder and the names of its files, the given folder first.

    A link to a folder counts as that folder, unless it leads back to one in which it lies: links in a circle come to
    an end. One that leads nowhere counts as a file.

    Args:
        folder: where to begin.
        refuse: is told of a folder that may not be read; when it returns, the others follow.

    Raises:
        DataError: a folder that may not be read, unless ``refuse`` does something else.
    """
    above: dict[str, tuple[str, ...]] = {}  # the real folders through which the walk came to a folder
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real, way = os.path.realpath(parent), above.pop(parent, ())
        if Path(parent).is_symlink() and any(Path(place).is_relative_to(real) for place in way):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        above.update((os.path.join(parent, name), (*way, real)) for name in folders)  # noqa: PTH118  as os.walk has it
        yield parent, [name for name in names if not name.startswith(".")]


def files_below(folder: Path, refuse: Refuse = refuse_folder) -> Iterator[Path]:
    """The files that :func:`walk` finds, in no order; raises as it does."""
    return (Path(parent, name) for parent, names in walk(folder, refuse) for name in names)
