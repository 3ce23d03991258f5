"""Two processes on the CPU: one validation, one writer, one decision to stop."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import segwright
from segwright.engine import resume
from segwright.engine.distributed import in_any_process, mean_over_processes, process_count, same_everywhere
from tests.engine.runs import last_state, records

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys
from pathlib import Path
from accelerate import Accelerator
from segwright.engine import run
from segwright.engine.distributed import in_any_process, mean_over_processes, same_everywhere
from segwright.errors import Interrupted
from tests.engine.runs import Listener, signal_at, tiny_config

data, out, told = map(Path, sys.argv[1:])
rank = int(os.environ["RANK"])
listener = Listener()
settings = {"train__iters": None, "train__epochs": 1, "train__eval_every": 1, "train__log_every": 1}
whole = run(tiny_config(data, **settings), out / "whole", reporter=listener)
two = Accelerator(cpu=True)
facts = {
    "folder": str(whole.path),
    "miou": whole.scores.miou,
    "heard": len(listener.said) + len(listener.steps),
    "same": same_everywhere(f"rank {rank}", two),
    "mean": mean_over_processes((1.0 + rank, 4.0 * rank), two),
    "any": [in_any_process(rank == 1, two), in_any_process(False, two)],
}

class Stop(Exception):
    pass

from segwright.engine import signals
class OnlyTheSecondIsAsked(signals.StopRequest):
    def __enter__(self):
        self.requested = rank == 1
        return self
sys.modules["segwright.engine.train"].StopRequest = OnlyTheSecondIsAsked
try:
    run(tiny_config(data), out / "stopped")
except Interrupted as stop:
    facts["stopped"] = stop.message
(told / f"{rank}.json").write_text(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def two_processes(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes left in a folder, and what each of them tells."""
    out, told = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("told")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(scenes), str(out), str(told)]
    processes = [
        subprocess.Popen(words, cwd=ROOT, env={**os.environ, **launched, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=150) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return out, [json.loads((told / f"{rank}.json").read_text()) for rank in range(2)]


def test_validation_by_two_processes_gives_the_scores_of_one(
    two_processes: tuple[Path, list[dict[str, Any]]], scenes: Path
) -> None:
    out, told = two_processes
    alone = segwright.evaluate(out / "whole", scenes, device="cpu")
    best = max((line for line in records(out / "whole") if "miou" in line), key=lambda line: float(line["miou"]))
    assert best["scores"]["iou_per_class"] == alone.iou_per_class
    assert best["scores"]["images"] == alone.images == 3
    assert [facts["miou"] for facts in told] == [alone.miou, alone.miou]


def test_an_epoch_is_shared_by_the_processes(two_processes: tuple[Path, list[dict[str, Any]]]) -> None:
    out, _ = two_processes
    assert [line["step"] for line in records(out / "whole") if "loss" in line] == [1, 2]  # 8 pictures, 2 by 2 a step


def test_the_main_process_alone_writes_and_reports(two_processes: tuple[Path, list[dict[str, Any]]]) -> None:
    out, told = two_processes
    assert len(list((out / "whole" / "events").iterdir())) == 1
    assert sorted(path.name for path in out.iterdir()) == ["stopped", "whole"]
    assert told[0]["heard"] > 0
    assert told[1]["heard"] == 0


def test_processes_agree(two_processes: tuple[Path, list[dict[str, Any]]]) -> None:
    _, told = two_processes
    for facts in told:
        assert facts["same"] == "rank 0"
        assert facts["mean"] == [1.5, 2.0]
        assert facts["any"] == [True, False]


def test_request_to_one_process_stops_both_at_the_same_step(
    two_processes: tuple[Path, list[dict[str, Any]]],
) -> None:
    out, told = two_processes
    assert [facts["stopped"].partition(";")[0] for facts in told] == ["stopped at step 1 of 6"] * 2
    assert last_state(out / "stopped")[1]["step"] == 1
    assert resume(out / "stopped").path == out / "stopped"


def test_single_process_needs_no_group() -> None:
    class Alone:
        num_processes = 1

    accelerator: Any = Alone()
    assert process_count() == 1
    assert same_everywhere("text", accelerator) == "text"
    assert mean_over_processes((1.0, 2.0), accelerator) == (1.0, 2.0)
    assert in_any_process(True, accelerator)
