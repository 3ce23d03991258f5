"""One process at a time writes into a run folder.

The lock is the operating system's, on the file ``run.lock``: it goes with the process that holds it, however that one
ends. The file says who holds it, for people and for disks whose locks other hosts do not see.
"""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from segwright.errors import ConfigError, RunError

if sys.platform != "win32":
    import fcntl

LOCK = "run.lock"


class Holder(TypedDict):
    """Who holds a lock; ``boot`` names the running system, which containers of one machine share."""

    pid: int
    host: str
    boot: str


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; what a process of this host that is gone has left is taken over.

    Where the system has no such locks (Windows), nothing is done.

    Args:
        folder: of the run; it exists.

    Raises:
        ConfigError: another process holds it; names its number and host.
        RunError: the folder cannot be written to.
    """
    if sys.platform == "win32":
        yield
        return
    path = folder / LOCK
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """An open descriptor of the file, which holds the lock."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            message = f"could not write {path}: {error.strerror or error}"
            raise RunError(message, fix="make the run folder writable") from error
        try:
            is_free = _is_free(descriptor)
            if is_free and _is_current(descriptor, path):
                _write(descriptor, path)
                return descriptor
            if not is_free:
                raise _in_use(path, _holder(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has ended, and removed the file, in between


def _is_free(descriptor: int) -> bool:
    """Take the operating system's lock; whether nobody else has the run folder."""
    try:
        # Not flock: processes that read ahead would inherit it, and keep it for a while after a kill.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a disk without locks
        return not _may_live(_holder(descriptor))
    holder = _holder(descriptor)
    return holder is None or _is_here(holder)  # another host's lock may be one that this system does not see


def _may_live(holder: Holder | None) -> bool:
    """Whether a process whose lock nobody can ask for may still be there."""
    if holder is None:
        return False
    if not _is_here(holder):
        return True
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_here(holder: Holder) -> bool:
    return holder["host"] == socket.gethostname() or holder["boot"] == _boot()


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> Holder | None:
    try:
        content = json.loads(os.pread(descriptor, 1000, 0))
        return Holder(pid=int(content["pid"]), host=str(content["host"]), boot=str(content["boot"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int, path: Path) -> None:
    text = json.dumps(Holder(pid=os.getpid(), host=socket.gethostname(), boot=_boot()))
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError as error:
        raise RunError(f"could not write {path}: {error.strerror or error}", fix="free space on the disk") from error


def _boot() -> str:
    name = Path("/proc/sys/kernel/random/boot_id")
    return name.read_text().strip() if name.is_file() else ""


def _in_use(path: Path, holder: Holder | None) -> ConfigError:
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    elsewhere = f", or, if it is gone, remove '{path}'" if holder and not _is_here(holder) else ""
    return ConfigError(
        f"run folder '{path.parent}' is in use by {who}", fix=f"wait until it has ended, or stop it{elsewhere}"
    )
