"""What a run leaves behind, and what it does when something goes wrong."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segwright.config import read_config
from segwright.data import check_data, load_data
from segwright.engine import resume, run
from segwright.engine.build import Normalise, build_loss, build_network
from segwright.engine.folder import RunFolder
from segwright.errors import ConfigError, DataError, RunError
from segwright.losses import class_weights
from segwright.models import load_model_file
from tests.engine.runs import Listener, assert_same_outcome, last_state, records, tiny_config, write_stripes


def test_run_leaves_every_file_of_the_run_folder(scenes: Path, tmp_path: Path) -> None:
    listener = Listener()
    done = run(tiny_config(scenes), tmp_path / "run", reporter=listener)
    files = {path.relative_to(done.path).as_posix() for path in done.path.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("events/events.out.tfevents")}
    assert len(events) == 1
    assert files - events == {
        "config.yaml",
        "data.json",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
        "checkpoints/last.safetensors",
        "checkpoints/previous.safetensors",
        "samples/batch_000000.jpg",
        *(f"samples/val_{step:06d}.jpg" for step in (2, 4, 6)),
    }
    assert listener.steps == [1, 2, 3, 4, 5, 6]
    assert read_config(done.path / "config.yaml") == tiny_config(scenes)
    environment = json.loads((done.path / "environment.json").read_text())
    assert (environment["device"], environment["precision"], environment["threads"]) == ("cpu", "no", 1)
    model = load_model_file(done.model)
    assert model.info.scores["step"] == done.step
    assert model.info.scores["miou"] == done.scores.miou == max(r["miou"] for r in records(done.path) if "miou" in r)
    assert model.info.classes == load_data(scenes).classes


def test_no_file_is_left_half_written(scenes: Path, tmp_path: Path) -> None:
    run(tiny_config(scenes, train__iters=1), tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*"))


def test_used_folder_is_refused_before_anything_is_read_or_written(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    listener = Listener()
    with pytest.raises(ConfigError, match="exists and is not empty") as caught:
        run(tiny_config(scenes), tmp_path, reporter=listener)
    assert "--resume" not in caught.value.fix  # it is no run folder
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_warnings_of_one_kind_are_told_thrice_and_counted(scenes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(scenes, tmp_path / "data")
    for kind in ("images", "masks"):
        first = min((data / kind / "train").iterdir())
        for copy in range(5):
            shutil.copy(first, first.with_name(f"copy_{copy}{first.suffix}"))
    listener = Listener()
    run(tiny_config(data, train__iters=1, train__eval_every=1), tmp_path / "run", reporter=listener)
    told = [text for topic, text in listener.said if topic == "warning" and "copy_" in text]
    assert len(told) == 3
    assert "(2 more of this kind: segwright data check lists them)" in told[-1]


def test_two_runs_of_one_process_may_differ_in_precision(scenes: Path, tmp_path: Path) -> None:
    for precision in ("bf16", "fp32"):
        run(tiny_config(scenes, train__iters=1, train__precision=precision), tmp_path / precision)
        facts = json.loads((tmp_path / precision / "environment.json").read_text())
        assert facts["precision"] == {"bf16": "bf16", "fp32": "no"}[precision]


def test_minutes_fix_the_number_of_steps_and_say_why(scenes: Path, tmp_path: Path) -> None:
    config = tiny_config(scenes, train__iters=None, train__minutes=0.01, train__eval_every=None, train__accumulate=4)
    done = run(config, tmp_path / "run")
    planned = read_config(done.path / "config.yaml").train
    assert planned.iters
    assert planned.minutes is None
    text = (done.path / "config.yaml").read_text()
    assert f"  iters: {planned.iters}  # auto: 0.01 minutes at " in text
    assert f"  eval_every: {-(-planned.iters // 3)}  # auto: 3 validations in the run" in text
    assert records(done.path)[-1]["step"] == last_state(done.path)[1]["step"] == planned.iters
    same = run(tiny_config(scenes, **steps_of(done.path)), tmp_path / "same").path
    assert_same_outcome(done.path, same)  # the measurement left no trace


def steps_of(path: Path) -> dict[str, object]:
    planned = read_config(path / "config.yaml").train
    return {"train__iters": planned.iters, "train__eval_every": planned.eval_every, "train__accumulate": 4}


class NotANumber:
    """Lets the images of chosen batches become NaN."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batches: range) -> None:
        self.seen, forward = 0, Normalise.forward

        def spoilt(module: Normalise, images: Tensor) -> Tensor:
            self.seen += 1
            factor = torch.nan if self.seen in batches else 1.0
            return forward(module, images) * factor

        monkeypatch.setattr(Normalise, "forward", spoilt)


@pytest.mark.parametrize("ema", [0.9, None])
def test_step_whose_loss_is_not_finite_is_left_out_and_counted(
    ema: float | None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NotANumber(monkeypatch, range(2, 3))
    done = run(tiny_config(scenes, train__ema=ema), tmp_path / "run")
    lines = [record for record in records(done.path) if "loss" in record]
    assert [(line["step"], line["skipped"]) for line in lines] == [(3, 1), (6, 1)]
    assert all(np.isfinite(line["loss"]) for line in lines)
    tensors, facts = last_state(done.path)
    assert facts["skipped"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())  # running statistics, too


def test_disk_that_fills_up_leaves_the_checkpoint_before_resumable(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write_bytes(path, data[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    config = tiny_config(scenes, train__eval_every=6)
    listener = Listener(lambda step: monkeypatch.setattr(Path, "write_bytes", full) if step == 4 else None)
    with pytest.raises(RunError, match=r"could not write .*last\.safetensors: No space left") as caught:
        run(config, tmp_path / "run", reporter=listener)
    assert "free space" in caught.value.fix
    assert f"--resume {tmp_path / 'run'}" in caught.value.fix
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert last_state(tmp_path / "run")[1]["step"] == 1
    assert not list((tmp_path / "run").rglob(".*"))
    resume(tmp_path / "run")
    assert_same_outcome(tmp_path / "run", run(config, tmp_path / "whole").path)


def test_records_that_cannot_be_written_are_a_run_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.mkdir()
    with pytest.raises(RunError, match=r"could not write .*metrics\.jsonl") as caught:
        folder.append({"step": 1})
    assert f"--resume {tmp_path}" in caught.value.fix


@pytest.mark.parametrize("workers", [0, 1])
def test_picture_that_breaks_during_the_run_is_named(workers: int, scenes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(scenes, tmp_path / "streets")

    def break_pictures() -> None:
        for path in (data / "images" / "train").iterdir():
            path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(DataError, match=r"scene_000\d\.jpg") as caught:
        run(tiny_config(data, data__workers=workers), tmp_path / "run", reporter=Listener(at_start=break_pictures))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)  # no traceback in it
    assert caught.value.fix


def test_weights_of_a_run_with_other_classes_start_all_but_the_classifiers(scenes: Path, tmp_path: Path) -> None:
    source = run(tiny_config(scenes, train__iters=1), tmp_path / "source")
    data = write_stripes(tmp_path / "stripes", 3, {"train": 2, "val": 1})
    config = tiny_config(data, model__weights=str(source.path), train__iters=1)
    own = build_network(config, load_data(data), weights=config.model.weights).state_dict()
    theirs = load_model_file(source.model).state_dict()
    fresh = {key.rpartition(".")[0] for key in own if own[key].shape != theirs[key].shape}
    assert fresh == {"classifier.3", "aux_heads.detail.2", "aux_heads.context.2"}
    assert all(torch.equal(own[key], theirs[key]) for key in own if key.rpartition(".")[0] not in fresh)
    assert run(config, tmp_path / "run").scores.classes_counted == 3


def test_class_weights_come_from_the_training_masks(scenes: Path) -> None:
    config, data = tiny_config(scenes, loss__class_weights="log"), load_data(scenes)
    report = check_data(data)
    loss = build_loss(config, build_network(config, data, weights=None), data, report, torch.device("cpu"))
    wanted = class_weights(report.class_counts("train"), "log")
    assert torch.equal(loss.pixel_loss.keywords["weight"], wanted)  # type: ignore[attr-defined]
    assert len(set(wanted.tolist())) > 1


def test_class_weights_without_a_check_are_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.check"):
        run(tiny_config(scenes, loss__class_weights="log", data__check=False), tmp_path / "run")


@pytest.mark.parametrize(
    ("classes", "train", "batch_size"),
    [(3, 4, 1), (3, 1, 3), (1, 2, 2)],
    ids=["one picture a batch", "fewer pictures than a batch", "one class"],
)
def test_small_data_trains(classes: int, train: int, batch_size: int, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", classes, {"train": train, "val": 1})
    done = run(tiny_config(data, train__batch_size=batch_size, train__iters=2), tmp_path / "run")
    assert 0 <= done.scores.miou <= 1
    assert np.isfinite([record["loss"] for record in records(done.path) if "loss" in record]).all()
    assert done.scores.images == 1


def test_faulty_data_stops_the_run_before_a_folder_is_made(tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", 2, {"train": 2, "val": 1})
    Image.fromarray(np.full((40, 56), 9, np.uint8)).save(data / "masks" / "train" / "1.png")
    with pytest.raises(DataError, match=r"unknown value 9 .*1\.png"):
        run(tiny_config(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
