"""Two processes never write into one run folder, and a lock never outlives its process for long."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segwright.engine import resume, run
from segwright.engine.lock import LOCK, locked
from segwright.errors import ConfigError, RunError
from tests.engine.runs import tiny_config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")

HOLDER = "import sys, time; from pathlib import Path; from segwright.engine.lock import locked\n"
HOLD = f"{HOLDER}with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Holds the lock until it is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_second_process_is_refused_with_the_number_and_host_of_the_first(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        with pytest.raises(ConfigError, match=f"in use by process {first.pid} on {socket.gethostname()}"):
            locked(tmp_path).__enter__()
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == first.pid  # the first still has it


def test_resume_beside_a_running_process_is_refused_before_anything_is_touched(scenes: Path, tmp_path: Path) -> None:
    done = run(tiny_config(scenes, train__iters=1), tmp_path / "run").path
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    with another_process(done), pytest.raises(ConfigError, match="in use by process"):
        resume(done)
    (done / LOCK).unlink()
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before


def test_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (tmp_path / LOCK).is_file()
        with locked(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_lock_does_not_stay_with_processes_that_were_forked_while_it_was_held(tmp_path: Path) -> None:
    fork = f"{HOLDER}import os\nwith locked(Path(sys.argv[1])):\n    if os.fork() == 0: time.sleep(5)\n    os._exit(0)"
    subprocess.run([sys.executable, "-c", fork, str(tmp_path)], check=True, timeout=60)
    start = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - start < 4  # the child still lives


def test_lock_of_another_host_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "boot": "another"}))
    with pytest.raises(ConfigError, match="process 1 on elsewhere") as caught:
        locked(tmp_path).__enter__()
    assert f"remove '{tmp_path / LOCK}'" in caught.value.fix
    assert (tmp_path / LOCK).exists()


def test_half_written_lock_is_taken_over_and_goes_with_the_block(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"pid": 1')
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_gone_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=LOCK):
        locked(tmp_path / "nowhere").__enter__()
