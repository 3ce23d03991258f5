"""Processes that read ahead: which sample each of them is at, and how its batches travel.

A batch is moved into shared memory where errors still reach the training process: left to the queue, a full /dev/shm
(64 MB in a fresh container) would make the training process wait for ever.
"""

import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.sharedctypes import RawArray

import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import DataError, RunError, SegmentationError

logger = logging.getLogger(__name__)

MORE_SHARED_MEMORY = "give the container more (docker run --shm-size=2g), or read with --set data.workers=0"
_DEAD_READER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?P<how>.*)", re.DOTALL)

TensorBatch = tuple[Tensor, Tensor, list[str]]
ArrayBatch = tuple[NDArray, NDArray, list[str]]  # type: ignore[type-arg]


class ReadingPlaces:
    """At which sample each reading process is, readable after one has died.

    Args:
        workers: how many processes read.
    """

    def __init__(self, workers: int) -> None:
        self._numbers = RawArray("q", [0, -1] * workers)  # process id and position, for each

    def begin(self, worker: int) -> None:
        """In a reading process, before its first sample."""
        global _note
        torch.set_num_threads(1)  # the readers share the cores with training
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a SIGTERM to all processes is the training process's
        self._numbers[2 * worker] = os.getpid()
        _note = partial(self.put, worker)

    def put(self, worker: int, position: int) -> None:
        """``worker`` is about to read a sample."""
        self._numbers[2 * worker + 1] = position

    def dead(self) -> list[int]:
        """The processes that have ended; their numbers."""
        living = {process.pid for process in multiprocessing.active_children()}
        return [process for process in self._numbers[::2] if process not in living]

    def of_process(self, process: int) -> int | None:
        """The sample that a process has begun last; ``None`` for none, or another's process."""
        pairs = zip(self._numbers[::2], self._numbers[1::2], strict=True)
        return next((position for known, position in pairs if known == process and position >= 0), None)


_note: Callable[[int], None] | None = None
"""Where a reading process says at which sample it is; none in the training process."""


def note_position(position: int) -> None:
    """Remember the sample that this process is about to read, if it is a reading one."""
    if _note is not None:
        _note(position)


def sent(batch: TensorBatch) -> TensorBatch | ArrayBatch:
    """A batch as it leaves a reading process: in shared memory, or, where that is full, as arrays through a pipe."""
    images, masks, names = batch
    try:
        for tensor in (images, masks):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        return images, masks, names
    except RuntimeError as error:
        if "shared memory" not in str(error) and "No space left" not in str(error):
            raise
    return images.permute(0, 2, 3, 1).numpy(), masks.numpy(), names


def received(batch: TensorBatch | ArrayBatch) -> TensorBatch:
    """The batch that a reading process has sent."""
    images, masks, names = batch
    if isinstance(images, Tensor) and isinstance(masks, Tensor):
        return images, masks, names
    logger.warning("shared memory (/dev/shm) is full: batches travel by a slower way; %s", MORE_SHARED_MEMORY)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks), names


def dead_reader(error: Exception, places: ReadingPlaces, name_of: Callable[[int], str]) -> RunError | None:
    """What torch's loader says of a reading process that has died, with the picture it was at.

    Args:
        error: torch's, or of the connection to the process.
        places: of the readers.
        name_of: the picture of a position.

    Returns:
        ``None`` where the error is another one.
    """
    found = _DEAD_READER.search(str(error))
    if isinstance(error, ConnectionError | EOFError):
        processes, how = places.dead(), "connection lost"
    elif found is not None:
        processes = [int(process) for process in found["pids"].split(",")]
        how = found["how"].partition(". ")[0].rstrip(". ")
    else:
        return None
    positions = [places.of_process(process) for process in processes]
    read = ", ".join(f"'{name_of(position)}'" for position in positions if position is not None) or "a first picture"
    if "Bus error" in how:
        return RunError(f"shared memory (/dev/shm) is full ({how}, while reading {read})", fix=MORE_SHARED_MEMORY)
    return RunError(
        f"a process that read ahead has died ({how}); it was at {read}",
        fix="where the system was short of memory, read with fewer of them or keep less: "
        "--set data.workers=1 --set data.memory_mb=0",
    )


def reading_failed(image: str, reason: Exception) -> SegmentationError:
    """Whatever else goes wrong while a sample is read, with its picture."""
    text = " ".join(str(reason).split()) or "no message"
    if isinstance(reason, MemoryError):
        return RunError(
            f"not enough memory to read picture '{image}'",
            fix="read with fewer processes or keep less: --set data.workers=1 --set data.memory_mb=0",
        )
    return DataError(
        f"picture '{image}' or its mask cannot be made into a sample ({type(reason).__name__}: {text})",
        fix="look at the two files, or remove the pair",
    )
