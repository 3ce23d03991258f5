"""What a run mends by itself, and what it says where it cannot."""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from segwright.config import read_config
from segwright.engine import resume, run, train
from segwright.engine.build import Training
from segwright.engine.recovery import with_smaller_batches
from segwright.errors import DataError, Interrupted, RunError
from tests.engine.runs import Listener, assert_same_outcome, last_state, records, signal_at, tiny_config

LONG = {"train__iters": 12, "train__eval_every": 12, "train__save_every": 2, "train__log_every": 1}
LOADED_MESSAGE = "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"


def events(path: Path) -> list[dict[str, Any]]:
    return [record for record in records(path) if "event" in record]


def spoil(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[Training], bool]) -> None:
    """Make the loss NaN while ``is_bad``."""
    losses = Training.losses

    def spoilt(training: Training, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
        found = losses(training, pictures, masks)
        return {**found, "loss": found["loss"] * torch.nan} if is_bad(training) else found

    monkeypatch.setattr(Training, "losses", spoilt)


def small_memory(monkeypatch: pytest.MonkeyPatch, most: int, error: Callable[[], Exception]) -> list[int]:
    """Let a forward pass of more pictures than ``most`` run out of memory; the sizes of all batches."""
    losses, seen = Training.losses, []

    def limited(training: Training, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
        seen.append(len(pictures))
        state = torch.get_rng_state()
        found = losses(training, pictures, masks)  # it fails late, when running statistics have moved
        if len(pictures) > most:
            torch.set_rng_state(state)  # dropout would else draw other numbers than in the run it is compared with
            raise error()
        return found

    monkeypatch.setattr(Training, "losses", limited)
    return seen


def too_fast(training: Training) -> bool:
    """From the fourth step on, unless the learning rate was lowered."""
    return training.state.step >= 3 and training.state.optimizer.param_groups[0]["lr"] > 0.002


def test_run_goes_back_once_and_trains_on_with_a_lower_learning_rate(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, too_fast)
    listener = Listener()
    done = run(tiny_config(scenes, **LONG), tmp_path / "run", reporter=listener)
    (event,) = events(done.path)
    assert event == {
        "step": 3,
        "event": "went back to a checkpoint",
        "from_step": 8,
        "to_step": 2,
        "lr_factor": 0.1,
    }
    (told,) = [text for topic, text in listener.said if topic == "warning" and "going back" in text]
    assert "5 steps in a row, up to step 8; going back to the checkpoint of step 2, once, with 0.1 times" in told
    lines = [record for record in records(done.path) if "lr" in record]
    assert [record["step"] for record in lines] == list(range(1, 13))
    assert lines[2]["lr"] < 0.11 * lines[1]["lr"]
    assert (lines[-1]["skipped"], last_state(done.path)[1]["lr_factor"]) == (5, 0.1)
    assert listener.steps == [1, 2, 3, 4, 5, 6, 7, *range(3, 13)]


@pytest.mark.parametrize("step", [5, 9])
def test_run_that_goes_back_and_is_stopped_and_resumed_equals_uninterrupted_run(
    step: int, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda training: training.state.step >= 4 and training.state.lr_factor == 1)
    settings = {**LONG, "train__save_every": 4}
    whole = run(tiny_config(scenes, **settings), tmp_path / "whole").path
    with pytest.raises(Interrupted):
        run(tiny_config(scenes, **settings), tmp_path / "run", reporter=signal_at(step, signal.SIGINT))
    resume(tmp_path / "run")
    if step == 5:  # it went back to the checkpoint of the stop, whose weights are those of step 4
        for path in (whole, tmp_path / "run"):
            assert events(path)[0]["from_step"] == 9
    else:
        assert_same_outcome(tmp_path / "run", whole)


def test_second_time_without_a_finite_loss_ends_the_run_and_keeps_the_names_of_the_files(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda training: training.state.step >= 3)
    with pytest.raises(RunError, match=r"5 steps in a row, again .*; last batch: .*scene_000\d.jpg") as caught:
        run(tiny_config(scenes, **LONG, train__accumulate=2), tmp_path / "run")
    assert caught.value.fix.endswith(f"segwright train --resume {tmp_path / 'run'} --lr 0.0001 --allow-changes")
    kept = json.loads((tmp_path / "run" / "bad_batch.json").read_text())["steps"]
    assert [step["step"] for step in kept] == [4, 5, 6, 7, 8]
    assert all(len(step["files"]) == 4 and all(Path(file).is_file() for file in step["files"]) for step in kept)
    assert kept[-1]["files"][0] in caught.value.message
    assert last_state(tmp_path / "run")[1]["step"] == 2  # steps that were left out are not saved


def test_learning_rate_of_a_million_ends_with_advice(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not finite in 5 steps in a row, again") as caught:
        run(tiny_config(scenes, **{**LONG, "train__iters": 60}, train__lr=1e6), tmp_path / "run")
    assert "--lr 10000 " in caught.value.fix


@pytest.mark.parametrize(
    "error",
    [lambda: torch.OutOfMemoryError("CUDA out of memory."), lambda: RuntimeError(LOADED_MESSAGE)],
    ids=["device", "cpu"],
)
def test_batch_that_does_not_fit_is_halved_and_the_step_done_on_the_same_samples(
    error: Callable[[], Exception], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"train__batch_size": 4, "train__iters": 3, "train__eval_every": 3, "train__log_every": 1}
    given = run(tiny_config(scenes, **{**settings, "train__batch_size": 2}, train__accumulate=2), tmp_path / "given")
    seen, listener = small_memory(monkeypatch, 2, error), Listener()
    done = run(tiny_config(scenes, **settings), tmp_path / "run", reporter=listener)
    assert seen == [4, 2, 2, 2, 2, 2, 2]
    assert events(done.path) == [{"step": 1, "event": "out of memory", "batch_size": 2, "accumulate": 2}]
    assert any("going on with 2 batches of 2 a step" in text for _, text in listener.said)
    assert read_config(done.path / "config.yaml").train.batch_size == 4  # the user's
    tensors, others = last_state(done.path)[0], last_state(given.path)[0]
    weights = [name for name in tensors if name.startswith(("model/", "optimizer/"))]
    weights = [name for name in weights if "num_batches_tracked" not in name]  # counts the failed batch, for nothing
    assert [name for name in weights if not torch.equal(tensors[name], others[name])] == []


def test_memory_that_shrinks_during_the_run_keeps_momentum_and_a_resumed_run_begins_with_small_batches(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(scenes, train__batch_size=4, train__log_every=1)
    limits = {"most": 4}

    def shrink(step: int) -> None:
        if step == 2:
            limits["most"] = 1
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    losses, seen = Training.losses, []

    def limited(training: Training, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
        seen.append(len(pictures))
        if len(pictures) > limits["most"]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert training.state.step < 1 or training.state.optimizer.state_dict()["state"]
        return losses(training, pictures, masks)

    monkeypatch.setattr(Training, "losses", limited)
    with pytest.raises(Interrupted):
        run(config, tmp_path / "run", reporter=Listener(shrink))
    assert seen == [4, 4, 4, 2, *[1] * 8]
    seen.clear()
    resume(tmp_path / "run")
    assert seen == [1] * 8
    assert [(event["step"], event["batch_size"]) for event in events(tmp_path / "run")] == [(3, 2), (3, 1)]


@pytest.mark.parametrize(("batch_size", "seen"), [(1, [1]), (16, [16, 8, 4, 2])])
def test_memory_that_never_suffices_ends_the_run_with_advice(
    batch_size: int, seen: list[int], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = small_memory(monkeypatch, 0, lambda: torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(RunError, match=rf"out of memory on cpu with batches of {seen[-1]} crops of 32x48") as caught:
        run(tiny_config(scenes, train__batch_size=batch_size), tmp_path / "run")
    assert sizes == seen
    assert "--model" in caught.value.fix


@pytest.mark.parametrize(("most", "seen"), [(2, {4, 2}), (0, {4, 2, 1})])
def test_measurement_for_a_time_budget_takes_the_batches_that_fit_or_ends_with_advice(
    most: int, seen: set[int], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = small_memory(monkeypatch, most, lambda: torch.OutOfMemoryError("CUDA out of memory."))
    config = tiny_config(scenes, train__iters=None, train__minutes=0.001, train__batch_size=4, train__eval_every=None)
    if most:
        planned = read_config(run(config, tmp_path / "run").path / "config.yaml").train
        assert (planned.iters, planned.batch_size, planned.accumulate) == (1, 4, 1)
    else:
        with pytest.raises(RunError, match="out of memory while measuring how long a step takes") as caught:
            run(config, tmp_path / "run")
        assert "smaller --model" in caught.value.fix
        assert not (tmp_path / "run").exists()
    assert set(sizes) == seen


def test_other_runtime_errors_are_not_taken_for_want_of_memory(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = small_memory(monkeypatch, 0, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(tiny_config(scenes), tmp_path / "run")
    assert seen == [2]


def test_validation_without_memory_is_one_error(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **others: object) -> None:
        raise RuntimeError(LOADED_MESSAGE)

    monkeypatch.setattr(sys.modules["segwright.engine.train"], "confusion_matrix", refuse)
    with pytest.raises(RunError, match="out of memory while validating after step 2") as caught:
        run(tiny_config(scenes), tmp_path / "run")
    assert caught.value.fix


def test_memory_that_is_short_outside_a_batch_is_one_error_that_leaves_nothing_half_written(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise MemoryError("Cannot allocate memory (os error 12)")  # as safetensors says it

    listener = Listener(lambda step: monkeypatch.setattr("segwright.engine.checkpoint.write_safetensors", refuse))
    with pytest.raises(RunError, match="out of memory while training") as caught:
        run(tiny_config(scenes, train__save_every=2), tmp_path / "run", reporter=listener)
    assert caught.value.fix
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "halvings", "wanted"),
    [(12, 1, 1, (6, 2)), (12, 1, 3, (1, 12)), (7, 2, 1, (1, 14)), (16, 1, 3, (2, 8)), (9, 1, 1, (3, 3))],
)
def test_pictures_of_a_step_stay_as_many(
    batch_size: int, accumulate: int, halvings: int, wanted: tuple[int, int], scenes: Path
) -> None:
    config = tiny_config(scenes, train__batch_size=batch_size, train__accumulate=accumulate)
    train = with_smaller_batches(config, halvings).train
    assert (train.batch_size, train.accumulate) == wanted


def test_file_that_is_deleted_during_the_run_is_named_and_the_run_saved_and_resumable(
    scenes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(scenes, tmp_path / "streets")
    lost = data / "images" / "train" / "scene_0003.jpg"
    kept = lost.rename(lost.with_suffix(".gone"))
    shutil.copy(kept, lost)
    settings = {"data__memory_mb": 0, "train__save_every": 100, "train__eval_every": 6}
    listener = Listener(lambda step: lost.unlink(missing_ok=True))
    with pytest.raises(DataError, match=r"scene_0003\.jpg") as caught:
        run(tiny_config(data, **settings), tmp_path / "run", reporter=listener)
    assert f"--resume {tmp_path / 'run'}" in caught.value.fix
    assert last_state(tmp_path / "run")[1]["step"] == listener.steps[-1] > 0
    kept.rename(lost)
    resume(tmp_path / "run")
    assert_same_outcome(tmp_path / "run", run(tiny_config(data, **settings), tmp_path / "whole").path)


def test_step_without_a_finite_loss_between_good_ones_is_only_left_out(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda training: training.state.step % 6 < 4)
    done = run(tiny_config(scenes, **LONG), tmp_path / "run")
    assert events(done.path) == []
    assert last_state(done.path)[1]["skipped"] == 8


def test_save_every_is_a_word_of_train(scenes: Path, tmp_path: Path) -> None:
    settings = {"data.crop_size": (32, 48), "data.workers": 0, "train.threads": 1}
    done = train(scenes, out=tmp_path / "run", iters=1, batch_size=2, device="cpu", save_every=7, settings=settings)
    assert read_config(done.path / "config.yaml").train.save_every == 7
