"""A run that is resumed with something else than it began with says what, and goes on only where that is allowed."""

import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from segwright.config import read_config
from segwright.data import load_data
from segwright.engine import make_resume_config, resume, run
from segwright.engine.changes import Changes, changed_settings, fingerprint
from segwright.engine.folder import RunFolder
from segwright.errors import ConfigError, Interrupted
from tests.engine.runs import last_state, records, signal_at, tiny_config, write_stripes

SHORT = {"train__iters": 2, "train__eval_every": 2}


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    return write_stripes(tmp_path / "stripes", 3, {"train": 3, "val": 1})


@pytest.fixture
def finished(stripes: Path, tmp_path: Path) -> Path:
    return run(tiny_config(stripes, **SHORT), tmp_path / "run").path


def test_every_setting_that_differs_is_listed_and_nothing_touched(finished: Path) -> None:
    before = (finished / "config.yaml").read_text()
    wanted = make_resume_config(finished, settings={"loss.label_smoothing": 0.1}, words={"lr": 0.5, "batch_size": 2})
    with pytest.raises(ConfigError) as caught:
        resume(finished, wanted=wanted)
    assert "loss.label_smoothing: 0.0 -> 0.1; train.lr: 0.01 -> 0.5" in caught.value.message
    assert "batch_size" not in caught.value.message
    assert "--allow-changes" in caught.value.fix
    assert (finished / "config.yaml").read_text() == before


def test_allowed_changes_are_used_and_kept(finished: Path) -> None:
    wanted = make_resume_config(finished, words={"iters": 4, "lr": 0.002})
    resume(finished, wanted=wanted, allow_changes=True)
    assert last_state(finished)[1]["step"] == 4
    config = read_config(finished / "config.yaml")
    assert (config.train.iters, config.train.lr) == (4, 0.002)
    comments = RunFolder(finished).comments()
    assert comments["train.lr"] == "changed: 0.01 up to step 2"
    (event,) = [record for record in records(finished) if "event" in record]
    assert event == {"step": 2, "event": "changed", "changes": {"train.iters": [2, 4], "train.lr": [0.01, 0.002]}}


def test_reasons_of_automatic_settings_stay_when_others_change(stripes: Path, tmp_path: Path) -> None:
    path = run(tiny_config(stripes, **SHORT, data__crop_size=None), tmp_path / "run").path
    reason = RunFolder(path).comments()["data.crop_size"]
    resume(path, wanted=make_resume_config(path, words={"iters": 3}), allow_changes=True)
    assert RunFolder(path).comments()["data.crop_size"] == reason
    assert reason.startswith("auto: pictures are 40x56")


@pytest.mark.parametrize(
    "settings",
    [{"model.name": "icnet"}, {"train.optimizer": "adamw"}, {"train.ema": 0.5}],
    ids=lambda settings: next(iter(settings)),
)
def test_another_network_or_optimizer_is_refused_even_where_changes_are_allowed(
    settings: dict[str, object], finished: Path
) -> None:
    wanted = make_resume_config(finished, settings=settings)
    with pytest.raises(ConfigError, match=f"another network: {next(iter(settings))}") as caught:
        resume(finished, wanted=wanted, allow_changes=True)
    assert "--weights" in caught.value.fix


def test_settings_that_no_score_depends_on_need_no_permission(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tiny_config(scenes), tmp_path / "run", reporter=signal_at(3, signal.SIGINT))
    wanted = make_resume_config(tmp_path / "run", settings={"data.workers": 1}, words={"save_every": 1})
    path = resume(tmp_path / "run", wanted=wanted).path
    assert read_config(path / "config.yaml").train.save_every == 1
    tensors, others = last_state(path)[0], last_state(run(tiny_config(scenes), tmp_path / "whole").path)[0]
    assert all(torch.equal(tensors[name], others[name]) for name in others)


def test_another_data_set_is_refused_even_where_changes_are_allowed(finished: Path, tmp_path: Path) -> None:
    other = write_stripes(tmp_path / "other", 4, {"train": 2, "val": 1})
    with pytest.raises(ConfigError, match=r"another data set: classes: .*class_2.* -> .*class_3"):
        resume(finished, wanted=make_resume_config(finished, other), allow_changes=True)


def test_data_set_that_was_moved_is_told_and_may_be_accepted(finished: Path, stripes: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(stripes, tmp_path / "moved"))
    wanted = make_resume_config(finished, moved, words={"iters": 3})
    with pytest.raises(ConfigError) as caught:
        resume(finished, wanted=wanted)
    assert f"data.path: {stripes} -> {moved}" in caught.value.message
    assert "files of" not in caught.value.message
    assert resume(finished, wanted=wanted, allow_changes=True).step > 0


def test_files_that_have_changed_since_are_told(finished: Path, stripes: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(stripes / kind / "train" / "0.png", stripes / kind / "train" / "9.png")
    with pytest.raises(ConfigError, match="pictures of train: 3 -> 4; files of train"):
        resume(finished)
    (stripes / "images" / "train" / "9.png").unlink()
    (stripes / "masks" / "train" / "9.png").unlink()
    assert resume(finished).path == finished  # as it was


def test_meaning_of_the_labels_that_has_changed_since_is_told(finished: Path, stripes: Path) -> None:
    tree = yaml.safe_load((stripes / "data.yaml").read_text())
    (stripes / "data.yaml").write_text(yaml.safe_dump({**tree, "map": {7: "class_0"}}))
    with pytest.raises(ConfigError, match=r'map: \{\} -> \{"7": "class_0"\}'):
        resume(finished)


def test_recipe_of_the_run_is_no_change(stripes: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    settings = {**tiny_config(stripes).model_dump(mode="json")}
    settings["train"] |= {"iters": None, "epochs": 2, "log_every": None}
    recipe.write_text(yaml.safe_dump(settings))
    path = run(read_config(recipe), tmp_path / "run").path
    assert read_config(path / "config.yaml").train.iters == 3
    wanted = make_resume_config(path, recipe=recipe)
    assert changed_settings(read_config(path / "config.yaml"), wanted, load_data(stripes)) == {}
    wanted = make_resume_config(path, words={"epochs": 4})
    assert changed_settings(read_config(path / "config.yaml"), wanted, load_data(stripes)) == {"train.iters": (3, 6)}


def test_run_without_a_fingerprint_goes_on(finished: Path) -> None:
    (finished / "data.json").unlink()
    assert resume(finished).path == finished


def test_fingerprint_does_not_depend_on_where_the_data_lies(stripes: Path, tmp_path: Path) -> None:
    config = tiny_config(stripes)
    own = fingerprint(load_data(stripes), config)
    assert fingerprint(load_data(shutil.copytree(stripes, tmp_path / "copy")), config) == own
    (stripes / "masks" / "val" / "0.png").write_bytes(b"other")
    assert fingerprint(load_data(stripes), config) != own


def test_nothing_changed_is_false() -> None:
    assert not Changes()
    assert Changes({"train.lr": (1, 2)})
