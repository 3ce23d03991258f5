"""Folders that are either whole or not there, whatever ends the work: an error, Ctrl-C or a termination."""

import contextlib
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from segwright.errors import Interrupted
from segwright.runtime.files import TEMPORARY

_HANG_UP = getattr(signal, "SIGHUP", None)  # Windows has none
_STOPS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANG_UP) if number is not None)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``; it becomes ``target`` when the block ends well, else it is removed.

    SIGTERM and SIGHUP end the block as Ctrl-C does, in the main thread, which alone can catch them.

    Args:
        target: a folder that is not there, or an empty one. Its parents are made, and removed again where the block
            raises.

    Raises:
        Interrupted: SIGTERM or SIGHUP; nothing is left behind.
        OSError: the operating system refused to make the folder, or to move it into its place.
    """
    target = target.absolute()
    missing = [folder for folder in target.parents if not folder.exists()]
    temporary = target.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    with _Stops() as stops:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            stops.ignored = True  # from here on it takes no time
            if target.exists():
                target.rmdir()
            temporary.rename(target)
        except BaseException:
            stops.ignored = True  # a second Ctrl-C must not keep what the first one began to remove
            _remove(temporary, missing)
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent`` that is removed behind the block, whatever ends it.

    Args:
        parent: is made if need be, and removed again where it is empty then.

    Raises:
        Interrupted: SIGTERM or SIGHUP, where no block around this one has caught it.
        OSError: the operating system refused to make the folder.
    """
    parent = parent.absolute()
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    temporary = parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    with _Stops() as stops:
        try:
            temporary.mkdir(parents=True)
            yield temporary
        finally:
            stops.ignored = True
            _remove(temporary, missing)


def _remove(temporary: Path, parents: Sequence[Path]) -> None:
    """A folder with all that is in it, and those of its parents, the nearest first, that are empty then."""
    shutil.rmtree(temporary, ignore_errors=True)
    for folder in parents:
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()


class _Stops:
    """Inside the block, the first SIGINT, SIGTERM or SIGHUP raises ``KeyboardInterrupt``, and later ones do nothing.

    A ``KeyboardInterrupt``, since readers of damaged files catch any ``Exception``. Behind the block it is
    :class:`Interrupted` where it was no Ctrl-C. Signals that the process ignores, as under nohup, stay ignored.
    """

    def __init__(self) -> None:
        self.ignored = False
        self._caught: int | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> "_Stops":
        if threading.current_thread() is threading.main_thread():
            for number in _STOPS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._former[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if isinstance(error, KeyboardInterrupt) and self._caught not in (None, signal.SIGINT):
            name = signal.Signals(self._caught or 0).name
            raise Interrupted(f"stopped by {name}; nothing was written", fix="run the command again") from None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.ignored or self._caught is not None:
            return
        self._caught = number
        raise KeyboardInterrupt
