"""A resumed run equals an uninterrupted one, bit for bit on the CPU, wherever and however it was stopped."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from segwright.config import Config
from segwright.engine import resume, run
from segwright.engine.distributed import cpu_computes_bf16
from segwright.errors import Interrupted, WeightsError
from tests.engine.runs import (
    CrashError,
    Listener,
    assert_same_outcome,
    crash_at,
    last_state,
    records,
    signal_at,
    tiny_config,
)

ROOT = Path(__file__).parents[2]
needs_bf16 = pytest.mark.skipif(not cpu_computes_bf16(), reason="this CPU has no bf16 instructions")
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "bf16": {"train__optimizer": "adamw", "train__precision": "bf16", "train__lr": 0.001, "train__accumulate": 2},
    "accumulate": {"train__accumulate": 2, "train__ema": None, "loss__pixel_stride": 2},
    "workers": {"data__workers": 1, "loss__class_weights": "log", "train__clip_grad_norm": 1.0},
    "mixed": {"data__classmix": 0.5, "data__cutmix": 0.5, "data__rare_class_crops": 0.5, "data__short_side": 64},
    "taught": {"loss__distillation": 0.5, "loss__dice": 0.5, "loss__label_smoothing": 0.1},
}


def config_of(kind: str, scenes: Path, runs: Mapping[str, Path]) -> Config:
    """The settings of a kind; the one that is taught learns from the plain run."""
    teacher = {"model__teacher": str(runs["sgd"])} if kind == "taught" else {}
    return tiny_config(scenes, **KINDS[kind], **teacher)


@pytest.fixture(scope="module")
def uninterrupted(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by kind, made when first asked for."""

    class Runs(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            folder = tmp_path_factory.mktemp("whole") / kind
            self[kind] = run(config_of(kind, scenes, self), folder).path
            return folder

    return Runs()


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        *(("sgd", step) for step in range(1, 6)),
        *(pytest.param("bf16", step, marks=needs_bf16) for step in (1, 3, 4)),
        ("accumulate", 2),
        ("accumulate", 5),
        ("workers", 3),
        ("mixed", 3),
        ("taught", 3),
    ],
)
def test_run_stopped_by_ctrl_c_and_resumed_equals_uninterrupted_run(
    kind: str, step: int, scenes: Path, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        run(config_of(kind, scenes, uninterrupted), tmp_path / "run", reporter=signal_at(step, signal.SIGINT))
    assert last_state(tmp_path / "run")[1]["step"] == step
    resume(tmp_path / "run")
    assert_same_outcome(tmp_path / "run", uninterrupted[kind])


@pytest.mark.parametrize(("step", "saved"), [(1, 0), (3, 1), (5, 4)])
def test_run_that_crashed_between_two_checkpoints_equals_uninterrupted_run(
    step: int, saved: int, scenes: Path, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(CrashError):
        run(tiny_config(scenes), tmp_path / "run", reporter=crash_at(step))
    listener = Listener()
    resume(tmp_path / "run", reporter=listener)
    assert listener.steps == list(range(saved + 1, 7))
    assert_same_outcome(tmp_path / "run", uninterrupted["sgd"])


def test_resumed_run_records_no_step_twice(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        run(tiny_config(scenes, train__log_every=1), tmp_path / "run", reporter=crash_at(3))
    assert [record["step"] for record in records(tmp_path / "run") if "loss" in record] == [1, 2, 3]
    resume(tmp_path / "run")
    assert [record["step"] for record in records(tmp_path / "run") if "loss" in record] == [1, 2, 3, 4, 5, 6]
    assert [record["step"] for record in records(tmp_path / "run") if "miou" in record] == [2, 4, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_run_is_saved_and_says_how_to_go_on(number: int, scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="step 2 of 6") as caught:
        run(tiny_config(scenes), folder, reporter=signal_at(2, number))
    assert caught.value.fix == f"go on with: segwright train --resume '{folder}'"
    assert caught.value.exit_code == 130
    assert last_state(folder)[1]["step"] == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_ctrl_c_at_the_last_step_ends_the_run_as_usual(scenes: Path, tmp_path: Path) -> None:
    run(tiny_config(scenes, train__iters=2), tmp_path / "run", reporter=signal_at(2, signal.SIGINT))
    assert (tmp_path / "run" / "report.html").exists()


def test_second_ctrl_c_stops_at_once(scenes: Path, tmp_path: Path) -> None:
    def press_twice(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped at once after step 1") as stopped:
        run(tiny_config(scenes), tmp_path / "run", reporter=Listener(press_twice))
    assert stopped.value.fix == "run the command again"
    assert not (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()


def test_finished_run_is_not_touched(scenes: Path, tmp_path: Path) -> None:
    done = run(tiny_config(scenes, train__iters=2), tmp_path / "run")
    before = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in done.path.rglob("*")}
    listener = Listener()
    again = resume(done.path, reporter=listener)
    assert (again.scores, again.step) == (done.scores, done.step)
    assert listener.said == [("done", f"'{done.path}' is already finished (2 steps); nothing was touched")]
    after = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in done.path.rglob("*")}
    assert after == before


def test_resumed_run_does_not_need_the_weights_it_started_from(scenes: Path, tmp_path: Path) -> None:
    start = run(tiny_config(scenes, train__iters=1), tmp_path / "start").model
    with pytest.raises(Interrupted):
        config = tiny_config(scenes, model__weights=str(start))
        run(config, tmp_path / "run", reporter=signal_at(1, signal.SIGINT))
    start.unlink()
    assert resume(tmp_path / "run").path == tmp_path / "run"


LIVES = """
import os, random, signal, sys, time
from pathlib import Path
from segwright.engine import resume, run
from tests.engine.runs import Listener, tiny_config
data, out = map(Path, sys.argv[1:])
listener = Listener(lambda step: time.sleep(0.05))
moments = random.Random(5)
for life in range(3):
    events = len(list((out / "events").glob("*")))
    process = os.fork()
    if process == 0:
        if out.exists():
            resume(out, reporter=listener)
        else:
            run(tiny_config(data, train__iters=24, train__eval_every=12), out, reporter=listener)
        os._exit(1)
    while len(list((out / "events").glob("*"))) == events:  # until its loop begins
        time.sleep(0.01)
    time.sleep(moments.uniform(0.1, 0.6))
    os.kill(process, signal.SIGKILL)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL, "it ended before it was killed"
"""


def test_run_killed_three_times_at_any_moment_equals_uninterrupted_run(scenes: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    subprocess.run([sys.executable, "-c", LIVES, str(scenes), str(killed)], cwd=ROOT, check=True, timeout=120)
    assert not (killed / "report.html").exists()
    resume(killed)
    assert_same_outcome(
        killed, run(tiny_config(scenes, train__iters=24, train__eval_every=12), tmp_path / "whole").path
    )


def test_run_whose_checkpoints_are_gone_is_refused_and_its_model_kept(scenes: Path, tmp_path: Path) -> None:
    run(tiny_config(scenes), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(WeightsError, match="checkpoints are gone") as refused:
        resume(tmp_path / "run")
    assert "--weights" in refused.value.fix
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
