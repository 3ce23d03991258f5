"""Files that are either whole or not there: written beside their place, then moved into it."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segwright.errors import RunError

TEMPORARY = ".segwright-"
"""What the names of files and folders begin with that are there for a while."""

_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path in the same folder and with the same suffix; it becomes ``path`` when the block ends well.

    Readers see the old file or the new one, never a part. When the block raises, the temporary file is removed and
    the old file stays as it was.

    Args:
        path: where the file shall be; a link is followed. Its folder must exist.
        durable: wait until the file is on the disk, so that it also survives a power cut; off for files that are
            cheap to make again.

    Raises:
        RunError: the operating system refused to write (disk full, no such folder, no permission), in the block too.
            A writer that reports a full disk by an exception of its own lets that one through: hand it an open file.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = path.resolve()
    temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{target.suffix}")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(target)
    except BaseException as reason:
        with contextlib.suppress(OSError):  # what made the writing fail says more
            temporary.unlink(missing_ok=True)
        if isinstance(reason, OSError):
            raise _could_not_write(path, reason) from reason
        raise
    if durable:
        _flush_folder(target.parent)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` does.

    Raises:
        RunError: the operating system refused to write.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        RunError: the operating system refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise RunError(f"folder '{folder}' cannot be made ({reason.strerror})", fix="give another --out") from reason


def is_temporary(folder: Path) -> bool:
    """Whether a folder is one that is removed with all that is in it."""
    return folder.name.startswith(TEMPORARY)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name durable; the file itself is whole and in place already, whatever happens here."""
    with contextlib.suppress(OSError):  # Windows and some network drives cannot flush a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _could_not_write(path: Path, reason: OSError) -> RunError:
    if reason.errno in _DISK_IS_FULL:
        fix = "free space, or write to another disk"
    elif reason.errno == errno.ENOENT:
        fix = f"make the folder '{path.parent}' first"
    elif reason.errno == errno.ENAMETOOLONG:
        fix = "shorten the name"
    else:
        fix = "write to a folder in which you may write"
    return RunError(f"could not write {path}: {reason.strerror or reason}", fix=fix)
