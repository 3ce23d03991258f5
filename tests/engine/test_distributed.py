"""Two processes on the CPU: the results of one, one writer, one decision to stop, one end."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import segwright
from segwright.data.synthetic import write_dataset
from segwright.engine import resume, run
from segwright.engine.distributed import in_any_process, mean_losses, mean_over_processes, same_everywhere, sharing_of
from segwright.models.weights import read_safetensors
from tests.engine.precise import double_precision
from tests.engine.runs import assert_same_outcome, last_state, records, tiny_config
from tests.engine.two_processes import EQUAL, STRAIGHT

ROOT = Path(__file__).parents[2]
Told = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two_processes(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What two processes left in a folder, and what each of them tells; the second has died at last."""
    out, told = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("told")
    other = write_dataset(tmp_path_factory.mktemp("other") / "streets", counts={"train": 5, "val": 3}, size=(64, 96))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, "-W", "ignore", "-m", "tests.engine.two_processes", *map(str, (scenes, other, out, told))]
    processes = [
        subprocess.Popen(words, cwd=ROOT, env={**os.environ, **launched, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 9]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return out, [json.loads((told / f"{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_train_as_one_with_their_batch(two_processes: Told, scenes: Path, tmp_path: Path) -> None:
    """Losses, weights, momentum, statistics and scores, with dropout and unequal numbers of labelled pixels."""
    out, _ = two_processes
    with double_precision():
        run(tiny_config(scenes, **EQUAL, train__batch_size=4), tmp_path / "one")
    (ones, _), (twos, _) = last_state(tmp_path / "one"), last_state(out / "equal")
    assert ones.keys() == twos.keys()
    for name, tensor in ones.items():
        assert (tensor.double() - twos[name].double()).abs().max() <= 1e-7 * (1 + tensor.double().abs().max()), name
    for one, two in zip(records(tmp_path / "one"), records(out / "equal"), strict=True):
        assert one.keys() == two.keys()
        assert one.get("scores", {}).get("iou_per_class") == two.get("scores", {}).get("iou_per_class")
        assert one.get("loss", 0) == pytest.approx(two.get("loss", 0), rel=1e-7)


def test_validation_by_two_processes_gives_the_scores_of_one(two_processes: Told, scenes: Path) -> None:
    out, told = two_processes
    alone = segwright.evaluate(out / "whole", scenes, device="cpu")
    best = max((line for line in records(out / "whole") if "miou" in line), key=lambda line: float(line["miou"]))
    assert best["scores"]["iou_per_class"] == alone.iou_per_class
    assert best["scores"]["images"] == alone.images == 3
    assert [facts["miou"] for facts in told] == [alone.miou, alone.miou]


def test_an_epoch_is_shared_by_the_processes(two_processes: Told) -> None:
    out, _ = two_processes
    assert [line["step"] for line in records(out / "whole") if "loss" in line] == [1, 2]  # 8 pictures, 2 by 2 a step


def test_the_main_process_alone_writes_and_reports(two_processes: Told) -> None:
    out, told = two_processes
    assert len(list((out / "whole" / "events").iterdir())) == 1
    assert sorted(path.name for path in out.iterdir()) == ["deserted", "equal", "left", "stopped", "straight", "whole"]
    assert told[0]["heard"] > 0
    assert told[1]["heard"] == 0


def test_processes_agree(two_processes: Told) -> None:
    _, told = two_processes
    for facts in told:
        assert facts["same"] == "rank 0"
        assert facts["mean"] == [1.5, 2.0]
        assert facts["any"] == [True, False]


def test_request_to_one_process_stops_both_and_they_go_on_as_if_they_had_not(two_processes: Told) -> None:
    out, told = two_processes
    assert [facts["stopped"].partition(";")[0] for facts in told] == ["stopped at step 1 of 3"] * 2
    assert_same_outcome(out / "straight", out / "stopped")


def test_one_process_goes_on_with_the_whole_batch_of_two(two_processes: Told) -> None:
    out, _ = two_processes
    assert last_state(out / "left")[1]["step"] == 1
    assert resume(out / "left").path == out / "left"
    _, metadata = read_safetensors(out / "left" / "checkpoints" / "last.safetensors")
    assert last_state(out / "left")[1]["step"] == STRAIGHT["train__iters"]
    assert json.loads(metadata["config"])["train"]["batch_size"] == 4


def test_what_one_process_finds_wrong_is_told_once_with_its_rank(two_processes: Told) -> None:
    _, told = two_processes
    expected = ["DataError", "rank 1 of 2: 'a.png' is gone"]
    assert [facts["own error"] for facts in told] == [[*expected, False], [*expected, True]]


def test_processes_with_other_pictures_or_settings_are_refused(two_processes: Told) -> None:
    _, told = two_processes
    for facts in told:
        assert facts["other data"][0] == "DataError"
        assert facts["other data"][1].startswith("rank 1 of 2: split 'train' is 5 pictures")
        assert facts["other settings"][:2] == [
            "ConfigError",
            "rank 1 of 2: setting train.lr is 0.02 here and 0.01 in rank 0",
        ]


def test_process_that_is_left_alone_names_the_one_that_died(two_processes: Told) -> None:
    _, told = two_processes
    assert told[0]["deserted"] == ["rank 1 of 2 ended without a word", 1, False]
    assert "deserted" not in told[1]


def test_single_process_needs_no_group() -> None:
    class Alone:
        num_processes = 1

    accelerator: Any = Alone()
    assert same_everywhere("text", accelerator) == "text"
    assert mean_over_processes((1.0, 2.0), accelerator) == (1.0, 2.0)
    assert in_any_process(True, accelerator)
    assert mean_losses({}, accelerator) == {}
    assert sharing_of(accelerator) is None
