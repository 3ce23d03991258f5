import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from segwright.data.checks.workers import in_processes, processes_for
from segwright.errors import DataError, RunError


def slow_at_first(piece: int) -> int:
    time.sleep(0.05 if piece == 0 else 0)
    return piece * piece


def failing(piece: int) -> int:
    if piece == 2:
        raise DataError("piece 2 is bad", fix="mend it")
    return piece


def dying(piece: int) -> int:
    if piece == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def waiting(piece: int) -> int:
    time.sleep(0 if piece == 0 else 60)
    return piece


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_results_come_in_order(processes: int) -> None:
    assert list(in_processes(slow_at_first, 20, processes)) == [piece * piece for piece in range(20)]
    assert list(in_processes(slow_at_first, 0, processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_work_is_raised_and_no_process_stays(processes: int) -> None:
    with pytest.raises(DataError, match="piece 2 is bad; mend it"):
        list(in_processes(failing, 20, processes))
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_told_with_the_piece_it_was_at() -> None:
    with pytest.raises(RunError, match="has died, killed by the system or by a damaged file; it was at file 3"):
        list(in_processes(dying, 20, 2, lambda piece: f"file {piece}"))
    assert multiprocessing.active_children() == []


def test_processes_end_at_once_when_nobody_listens_any_more() -> None:
    results = in_processes(waiting, 20, 2)
    start = time.monotonic()
    assert next(results) == 0
    results.close()
    assert multiprocessing.active_children() == []
    assert time.monotonic() - start < 30


def test_little_work_is_done_in_this_process() -> None:
    assert processes_for(0.01) == 1
    assert processes_for(1000.0) >= 1


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    parent = context.Process(target=_work_as_a_parent, args=(tmp_path,))
    parent.start()
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    children = [int(path.name) for path in tmp_path.iterdir()]
    deadline = time.monotonic() + 20
    while any(_is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_is_running(child) for child in children)


def _work_as_a_parent(folder: Path) -> None:
    def note(piece: int) -> int:
        (folder / str(os.getpid())).touch()
        time.sleep(0.2)
        return piece

    list(in_processes(note, 10_000, 2))


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
