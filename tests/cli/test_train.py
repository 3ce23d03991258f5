import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from segwright.cli.console import ConsoleReporter

from .conftest import TINY, Command


def test_training_prints_the_run_folder_and_what_comes_next(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("--iters", 2, *TINY, "--set", "train.eval_every=2", "--set", "train.ema=0.9", "--lr", 0.01, "--seed", 5)
    result = segwright("train", scenes, "--model", "fast_scnn", *words, "--out", run)
    assert (result.code, result.out) == (0, f"{run}\n")
    assert (run / "model.safetensors").is_file()
    assert "val mIoU" in result.err
    assert f"next: segwright evaluate {run} {scenes}\n" in result.err
    train = yaml.safe_load((run / "config.yaml").read_text())["train"]
    assert (train["iters"], train["ema"], train["lr"], train["seed"]) == (2, 0.9, 0.01, 5)


def test_dry_run_prints_settings_and_writes_nothing(
    segwright: Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = segwright("train", scenes, "--epochs", 3, "--batch-size", 2, "--dry-run")
    assert result.code == 0
    settings = yaml.safe_load(result.out)
    assert settings["train"]["iters"] == 6
    assert settings["data"]["crop_size"] == [64, 96]
    assert "3 epochs of 4 pictures" in result.err
    assert list(tmp_path.iterdir()) == []


def test_dry_run_tells_what_is_chosen_and_why(segwright: Command, scenes: Path) -> None:
    result = segwright("train", scenes, "--crop-size", 32, 64, "--set", "loss.class_weights=auto", "--dry-run")
    settings = yaml.safe_load(result.out)
    assert settings["train"]["batch_size"] == 4
    assert settings["loss"]["class_weights"] in ("log", "none")
    said = [" ".join(line.split()) for line in result.err.splitlines()]
    reasons = [
        "batch size 4 (auto: 4 training pictures; a crop of 32x64 needs about ",
        "precision ",
        "workers ",
        "iters ",
    ]
    assert all(any(line.startswith(reason) and "(auto: " in line for line in said) for reason in reasons)
    assert any(re.match(r"class weights (log|none) \(auto: the rarest class, ", line) for line in said)


def test_dry_run_is_a_recipe(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    first = segwright("train", scenes, "--iters", 7, "--crop-size", 32, 64, "--dry-run")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(first.out)
    assert segwright("train", scenes, "--recipe", recipe, "--dry-run").out == first.out


def test_finished_run_is_not_trained_again(segwright: Command, run_folder: Path) -> None:
    before = (run_folder / "model.safetensors").read_bytes()
    result = segwright("train", "--resume", run_folder)
    assert (result.code, result.out) == (0, f"{run_folder}\n")
    assert "already finished" in result.err
    assert (run_folder / "model.safetensors").read_bytes() == before


def test_run_without_its_checkpoints_is_refused(segwright: Command, run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints")
    result = segwright("train", "--resume", run)
    assert (result.code, result.out) == (3, "")
    assert "its checkpoints are gone" in result.err
    assert f"--weights {run} --out OTHER" in result.err.splitlines()[-1]


def test_run_stopped_before_its_first_step_goes_on(segwright: Command, run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "report.html").unlink()
    (run / "metrics.jsonl").unlink()
    assert segwright("train", "--resume", run).code == 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 4


def test_ctrl_c_saves_and_the_run_is_resumed(
    segwright: Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: ConsoleReporter, step: int, record: object) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleReporter, "stepped", press)
        result = segwright("train", scenes, "--iters", 4, *TINY, "--set", "train.eval_every=4", "--out", run)
    assert (result.code, result.out) == (130, "")
    assert "stopped at step 2 of 4" in result.err
    assert result.err.endswith(f"fix: go on with: segwright train --resume {run}\n")
    resumed = segwright("train", "--resume", run)
    assert (resumed.code, resumed.out) == (0, f"{run}\n")
    assert (run / "model.safetensors").is_file()


def test_trained_weights_are_a_start(segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path) -> None:
    words = ("--iters", 1, *TINY, "--weights", run_folder, "--out", tmp_path / "run")
    result = segwright("train", scenes, *words)
    assert result.code == 0
    assert "warning:" not in result.err


def test_start_from_weights_of_other_classes_is_told_once(
    segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(scenes, tmp_path / "other")) / "data.yaml"
    tree = yaml.safe_load(data.read_text())
    tree["classes"][10], tree["palette"]["tram"] = "tram", [0, 0, 1]
    data.write_text(yaml.safe_dump(tree))
    result = segwright("train", data, "--iters", 1, *TINY, "--weights", run_folder, "--out", tmp_path / "run")
    assert result.code == 0
    (line,) = [line for line in result.err.splitlines() if "weights from" in line]
    assert line.startswith(f"warning: weights from '{run_folder}': ")
    assert line.endswith("276 of 276 tensors of the body and 10 of 11 classes taken; new: tram")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("train", 2, "no data set was given"),
        ("train DATA --model fast_scn", 2, "did you mean 'fast_scnn'?"),
        ("train DATA --set train.lrr=1", 2, "did you mean 'train.lr'?"),
        ("train DATA --set train.lr", 2, "key=value"),
        ("train DATA --set train.lr=fast", 2, "train.lr"),
        ("train DATA --iters 4 --epochs 2", 2, "how long"),
        ("train DATA --iters 0", 2, "train.iters"),
        ("train DATA --crop-size 0 8", 2, "crop_size"),
        ("train DATA --weights imagenet", 2, "no ImageNet weights"),
        ("train DATA --weights nothing.safetensors --iters 1", 3, "nothing.safetensors"),
        ("train DATA --recipe nothing.yaml", 2, "nothing.yaml"),
        ("train DATA --device cuda:9 --dry-run", 2, "cuda:9"),
        ("train nowhere", 3, "nowhere"),
        ("train --resume nowhere", 2, "nowhere"),
        ("train --resume RUN --out OTHER", 2, "--resume"),
        ("train --resume RUN --dry-run", 2, "--resume"),
        ("train --resume RUN --lr 0.5", 2, "train.lr: 0.045 -> 0.5"),
        ("train --resume RUN --minutes 5", 2, "--iters N"),
        ("train DATA --allow-changes --iters 1", 2, "--resume"),
        ("train DATA --out RUN --iters 1", 2, "not empty"),
    ],
)
def test_bad_input_is_told(
    segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path, words: str, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(scenes), "RUN": str(run_folder)}
    result = segwright(*(places.get(word, word) for word in words.split()))
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("fix: ")
    assert list(tmp_path.iterdir()) == []
