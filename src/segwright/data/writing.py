"""What all that write a data set into a new folder share: the folder must be free, and errors say who is at fault."""

import errno
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from segwright.errors import ConfigError, DataError, RunError
from segwright.runtime.files import TEMPORARY


def check_target(source: Path, target: Path) -> None:
    """Look at the two folders before anything is read.

    Raises:
        DataError: no source, or a target that holds something.
        ConfigError: the target lies in the source.
    """
    if not source.exists():
        raise DataError(f"'{source}' does not exist", fix="give the folder of the labelled data, or its label file")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise DataError(f"'{target}' holds something already", fix="give a new or empty folder")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"'{target}' lies in the data that is read", fix="give a folder outside of it: nothing there is touched"
        )


@contextmanager
def naming_os_errors(source: Path, target: Path) -> Iterator[None]:
    """What the operating system refuses inside of the block, as an error about the source or about the target.

    Raises:
        DataError: a file of the source cannot be read.
        RunError: the target cannot be written, or not under a name as long as a file's.
    """
    try:
        yield
    except OSError as reason:
        root = source if source.is_dir() else source.parent
        file, is_full = str(reason.filename or ""), reason.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if reason.errno == errno.ENAMETOOLONG and (place := _in_target(reason, target)):
            raise RunError(
                f"could not write '{place}': {reason.strerror}", fix="shorten the name of the file that it is made of"
            ) from reason
        if file and Path(file).is_relative_to(root) and not is_full:
            raise DataError(
                f"'{file}' cannot be read ({reason.strerror})", fix="grant access to it, or copy it again"
            ) from reason
        raise RunError(
            f"could not write '{target}': {reason.strerror or reason}",
            fix="give a folder in which you may write, on a disk with space",
        ) from reason


def _in_target(reason: OSError, target: Path) -> Path | None:
    """Where in the target the file should have come that could not be written; ``None`` for one that is elsewhere."""
    parts = Path(str(reason.filename2 or reason.filename or "")).parts  # of a link, the second is the new one
    temporary = next((index for index, part in enumerate(parts) if part.startswith(TEMPORARY)), None)
    return None if temporary is None else target.joinpath(*parts[temporary + 1 :])


def write_head(path: Path, lines: Iterable[str]) -> None:
    """Comments above a data.yaml that say where it comes from."""
    head = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    content = head + path.read_text(encoding="utf-8")
    path.write_text(content, encoding="utf-8", errors="backslashreplace")  # names of files need not be UTF-8


def equal_files(paths: Sequence[Path]) -> list[list[int]]:
    """Positions of files that are the same byte by byte; only files of one size are read."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        by_size[path.stat().st_size].append(index)
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for index in (index for same in by_size.values() if len(same) > 1 for index in same):
        with paths[index].open("rb") as file:
            by_digest[hashlib.file_digest(file, "sha256").digest()].append(index)
    return [same for same in by_digest.values() if len(same) > 1]
