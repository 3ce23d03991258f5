import errno
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from segwright.config import TrainSettings
from segwright.engine.checkpoint import LAST, PREVIOUS, TrainState, has_checkpoint, load, save
from segwright.engine.optim import WeightAverage, build_optimizer
from segwright.errors import RunError, WeightsError

SGD, ADAMW = TrainSettings(), TrainSettings(optimizer="adamw", lr=0.01)


def fresh(settings: TrainSettings = SGD, seed: int = 0, **others: Any) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))
    return TrainState(model, build_optimizer(model, settings), WeightAverage(model, 0.9), **others)


def step(state: TrainState) -> None:
    state.model(torch.randn(2, 3, 8, 8)).square().mean().backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    if state.average:
        state.average.update(state.model, state.step)
    state.step += 1


def weights(state: TrainState) -> dict[str, torch.Tensor]:
    assert state.average
    average = {f"average.{name}": value for name, value in state.average.model.state_dict().items()}
    return {name: value.clone() for name, value in {**state.model.state_dict(), **average}.items()}


@pytest.mark.parametrize("settings", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_restored_state_goes_on_as_the_saved_one(settings: TrainSettings, tmp_path: Path) -> None:
    state = fresh(settings, best=0.5, best_step=2, skipped=3)
    for _ in range(3):
        step(state)
    save(state, tmp_path, {})
    restored = fresh(settings, seed=1)
    load(restored, tmp_path)
    assert (restored.step, restored.best, restored.best_step, restored.skipped) == (3, 0.5, 2, 3)
    after_load = torch.get_rng_state()
    step(restored)
    torch.set_rng_state(after_load)
    step(state)
    expected = weights(state)
    for name, value in weights(restored).items():
        assert torch.equal(value, expected[name]), name


def test_random_state_is_restored(tmp_path: Path) -> None:
    state = fresh()
    torch.manual_seed(5)
    save(state, tmp_path, {})
    wanted = torch.rand(4)
    torch.manual_seed(6)
    load(state, tmp_path)
    assert torch.equal(torch.rand(4), wanted)


def test_losses_not_yet_logged_and_the_scale_of_gradients_are_restored(tmp_path: Path) -> None:
    losses = [{"loss": torch.tensor(0.1), "main": torch.tensor(0.2)}, {"loss": torch.tensor(0.3), "main": torch.nan}]
    losses[1]["main"] = torch.tensor(float("nan"))
    scaler = GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.ones(()))  # the scale exists from the first use on
    save(fresh(unlogged=losses, scaler=scaler), tmp_path, {})
    restored = fresh(scaler=GradScaler("cpu"))
    load(restored, tmp_path)
    assert restored.scaler
    assert restored.scaler.get_scale() == 1024.0
    assert [record["loss"].item() for record in restored.unlogged] == [record["loss"].item() for record in losses]
    assert [record["main"].isnan().item() for record in restored.unlogged] == [False, True]


def test_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = fresh()
    for _ in range(2):
        step(state)
        save(state, tmp_path, {})
    path = tmp_path / LAST
    path.write_bytes(path.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        load(state, tmp_path)
    assert state.step == 1
    assert LAST in caplog.text
    assert PREVIOUS in caplog.text


def test_truncated_checkpoint_does_not_replace_the_one_before(tmp_path: Path) -> None:
    state = fresh()
    for _ in range(2):
        step(state)
        save(state, tmp_path, {})
    whole = (tmp_path / PREVIOUS).read_bytes()
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:-10])
    save(state, tmp_path, {})
    assert (tmp_path / PREVIOUS).read_bytes() == whole


def test_missing_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    state = fresh()
    for _ in range(2):
        step(state)
        save(state, tmp_path, {})
    (tmp_path / LAST).unlink()
    assert has_checkpoint(tmp_path)
    load(state, tmp_path)
    assert state.step == 1


def test_two_damaged_checkpoints_are_refused_and_named(tmp_path: Path) -> None:
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(WeightsError, match=r"last\.safetensors.*previous\.safetensors"):
        load(fresh(), tmp_path)


def test_pickle_is_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / LAST).write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(WeightsError, match="is a pickle"):
        load(fresh(), tmp_path)
    torch.save({"model": torch.zeros(2)}, tmp_path / LAST)
    with pytest.raises(WeightsError, match="is a pickle"):
        load(fresh(), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save(fresh(), tmp_path, {})
    model = nn.Linear(3, 2)
    with pytest.raises(WeightsError, match="does not fit the network"):
        load(TrainState(model, build_optimizer(model, SGD), None), tmp_path)


def test_checkpoint_without_an_average_does_not_fit_a_run_with_one(tmp_path: Path) -> None:
    state = fresh()
    state.average = None
    save(state, tmp_path, {})
    with pytest.raises(WeightsError, match="does not fit the network"):
        load(fresh(), tmp_path)


def test_full_disk_leaves_the_old_checkpoint_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = fresh()
    save(state, tmp_path, {})
    before = (tmp_path / LAST).read_bytes()

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    step(state)
    with pytest.raises(RunError, match="No space left"):
        save(state, tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
    assert (tmp_path / LAST).read_bytes() == before


def test_each_save_leaves_the_two_newest_and_no_other_file(tmp_path: Path) -> None:
    state = fresh()
    for _ in range(3):
        step(state)
        save(state, tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
