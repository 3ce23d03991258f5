"""Work shared among processes, its results in order.

Processes and not threads: for small files most of the time goes to Python, which one thread at a time may run.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from segwright.errors import RunError
from segwright.runtime.machine import available_cpus

Result = TypeVar("Result")

MOST_PROCESSES = 32  # each holds a picture and a mask in memory
_AHEAD = 2
"""Pieces that a process is given before it has answered, so that it never waits for the next."""
_HELD_BACK = (signal.SIGINT, signal.SIGTERM)
"""Signals that wait while processes are started; each process lets them through once it has its own handlers."""


def processes_for(seconds: float) -> int:
    """How many processes are worth starting for work of about ``seconds`` on one core; 1 for none."""
    is_cheap = _context().get_start_method() == "fork"
    if multiprocessing.current_process().daemon or seconds < (0.3 if is_cheap else 5.0):
        return 1
    return min(MOST_PROCESSES, available_cpus())


def in_processes(
    work: Callable[[int], Result], pieces: int, processes: int, name_of: Callable[[int], str] = str
) -> Iterator[Result]:
    """``work(0)``, ``work(1)``, ... in order, computed by several processes.

    They end when the iterator is closed, whatever ends it: Ctrl-C, an error or the last piece.

    Args:
        work: takes the number of a piece; where processes are not forked it must be picklable.
        pieces: how many there are.
        processes: how many share them; 1 works in this one.
        name_of: what a piece is, for the error.

    Raises:
        RunError: one of them has died.
    """
    if processes == 1:
        yield from map(work, range(pieces))
        return
    workers = _start(work, min(processes, pieces))
    try:
        yield from _ordered(pieces, [connection for _, connection in workers], name_of)
    finally:
        for process, connection in workers:
            connection.close()
            process.terminate()
        for process, _ in workers:
            process.join()


def _ordered(pieces: int, connections: list[Connection], name_of: Callable[[int], str]) -> Iterator[Any]:
    """Hand out the pieces as processes answer, and give the results back in order."""
    left, results, given = iter(range(pieces)), dict[int, Any](), 0
    asked: dict[Connection, list[int]] = {connection: [] for connection in connections}
    for connection in connections * _AHEAD:
        _ask(connection, left, asked)
    while given < pieces:
        for ready in wait(connections):
            assert isinstance(ready, Connection)
            try:
                result = ready.recv()
            except (EOFError, ConnectionError) as reason:
                what = name_of(asked[ready][0]) if asked[ready] else "its first files"
                raise RunError(
                    f"a process that reads files has died, killed by the system or by a damaged file; it was at {what}",
                    fix="look at these files; if the machine was short of memory, check with --processes 1",
                ) from reason
            if isinstance(result, Exception):
                raise result
            results[asked[ready].pop(0)] = result
            _ask(ready, left, asked)
        while given in results:
            yield results.pop(given)
            given += 1


def _ask(connection: Connection, left: Iterator[int], asked: dict[Connection, list[int]]) -> None:
    piece = next(left, None)
    if piece is not None:
        asked[connection].append(piece)
        with contextlib.suppress(OSError):  # that a process has died is known when its answer does not come
            connection.send(piece)


def _start(work: Callable[[int], object], count: int) -> list[tuple[multiprocessing.process.BaseProcess, Connection]]:
    context = _context()
    pipes = [context.Pipe() for _ in range(count)]
    is_forked = context.get_start_method() == "fork"
    workers: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
    with warnings.catch_warnings(), _signals_held_back():
        # Of Python 3.12 on: forks of a process with threads. Ours read files and hold no lock that a thread has.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        for ours, theirs in pipes:
            others = [end for pipe in pipes for end in pipe if end is not theirs] if is_forked else []
            process = context.Process(target=_serve, args=(theirs, work, others), daemon=True)  # type: ignore[attr-defined]
            process.start()
            workers.append((process, ours))
    for _, theirs in pipes:
        theirs.close()
    return workers


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block: a process that is half started could only fail on them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Callable[[int], object], others: list[Connection]) -> None:
    """A process: answers until nobody asks any more. Ctrl-C is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    gc.freeze()  # what the parent holds is neither looked at nor copied
    for other in others:
        other.close()  # else a parent that is killed would leave its processes waiting for ever
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            piece = connection.recv()
            try:
                answer = work(piece)
            except Exception as reason:
                answer = reason
            connection.send(answer)
    os._exit(0)


def _context() -> BaseContext:
    """Forked processes start at once; elsewhere than on Linux forks are not safe."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
