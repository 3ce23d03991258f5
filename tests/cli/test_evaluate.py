import json
import shutil
from pathlib import Path

import pytest
import torch

from segwright.cli.evaluate import print_scores
from segwright.data.synthetic import CLASSES
from segwright.metrics import Scores
from tests.support.exported import record, write_onnx
from tests.support.extras import needs

from .conftest import Command


def test_table_has_every_class_the_means_and_the_protocol(segwright: Command, scenes: Path, run_folder: Path) -> None:
    result = segwright("evaluate", run_folder, scenes, "--split", "test")
    assert result.code == 0
    assert [name for name in (*CLASSES, "mIoU", "pixel accuracy", "mean accuracy") if name not in result.out] == []
    assert result.out.splitlines()[-1] == (
        "3 images of scenes/test at the labels' own resolution; scale 1, no flip, fp32; "
        "absent classes are left out of the mean"
    )
    assert "next: segwright predict" in result.err


def test_protocol_says_scales_flip_and_window(segwright: Command, scenes: Path, run_folder: Path) -> None:
    words = ("--scales", 0.75, 1, "--flip", "--window", 32, 64, "--precision", "bf16")
    assert segwright("evaluate", run_folder, scenes, *words).out.splitlines()[-1] == (
        "2 images of scenes/val at the labels' own resolution; scales 0.75 1, averaged with the mirrored picture, "
        "window 32x64 (height x width), bf16; absent classes are left out of the mean"
    )


def test_json_has_the_promised_keys_and_the_protocol(segwright: Command, scenes: Path, run_folder: Path) -> None:
    words = ("--scales", 0.75, 1, "--flip", "--window", 32, 64, "--device", "cpu", "--json")
    scores = json.loads(segwright("evaluate", run_folder / "model.safetensors", scenes, *words).out)
    assert {
        "miou",
        "iou_per_class",
        "pixel_accuracy",
        "mean_accuracy",
        "boundary_f",
        "images",
        "protocol",
    } == scores.keys()
    assert list(scores["iou_per_class"]) == list(CLASSES)
    assert scores["images"] == 2
    protocol = scores["protocol"]
    assert (protocol["scales"], protocol["flip"], protocol["window"]) == ([0.75, 1.0], True, [32, 64])


def test_boundary_scores_are_told_when_asked_for(segwright: Command, scenes: Path, run_folder: Path) -> None:
    scores = json.loads(segwright("evaluate", run_folder, scenes, "--boundary", "--json").out)["boundary_f"]
    assert list(scores) == ["3", "5", "9", "12"]
    assert 0 <= scores["3"] <= scores["12"] <= 1
    lines = segwright("evaluate", run_folder, scenes, "--boundary").out.splitlines()
    assert f"boundary F 12 px {100 * scores['12']:6.2f} %" in lines
    assert lines[-1].endswith("a class absent from an image counts as 1 there")
    assert json.loads(segwright("evaluate", run_folder, scenes, "--json").out)["boundary_f"] == {}


def test_exported_file_is_scored(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    needs("onnx", "onnxruntime")
    model = write_onnx(tmp_path / "model.onnx", record(classes=CLASSES), stride=2)
    result = segwright("evaluate", model, scenes, "--runtime", "onnx")
    assert result.code == 0
    assert ", fp32, runtime onnx; absent classes" in result.out.splitlines()[-1]
    scores = json.loads(segwright("evaluate", model, scenes, "--json").out)
    assert scores["images"] == 2
    assert scores["protocol"]["precision"] == "fp32"


def test_run_folder_and_its_model_file_score_alike(segwright: Command, scenes: Path, run_folder: Path) -> None:
    first, second = (
        segwright("evaluate", model, scenes, "--json").out for model in (run_folder, run_folder / "model.safetensors")
    )
    assert first == second


def test_scores_are_percent_and_absent_classes_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    shares: dict[str, float | None] = {"road": 0.98765, "tram": None}
    means = {"miou": 0.98765, "pixel_accuracy": 0.5, "mean_accuracy": 0.25, "frequency_weighted_iou": 0.5}
    print_scores(
        Scores(
            iou_per_class=shares,
            accuracy_per_class=shares,
            dice_per_class=shares,
            mean_dice=0.5,
            category_iou={"flat": 0.75},
            category_miou=0.75,
            classes_counted=1,
            images=1,
            **means,
        )
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["road", "98.77", "98.77"] in lines
    assert ["tram", "-", "-"] in lines
    assert ["category", "mIoU", "75.00", "%"] in lines


def test_data_of_other_classes_is_refused(segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(scenes, tmp_path / "other")) / "data.yaml"
    other.write_text(other.read_text().replace("sky", "heaven"))
    result = segwright("evaluate", run_folder, other)
    assert (result.code, result.out) == (3, "")
    assert "heaven" in result.err


def test_pickle_is_refused(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pth")
    result = segwright("evaluate", tmp_path / "model.pth", scenes)
    assert result.code == 3
    assert "pickle" in result.err


def test_truncated_model_file_is_refused(segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "model.safetensors"
    half.write_bytes((run_folder / "model.safetensors").read_bytes()[:100_000])
    result = segwright("evaluate", half, scenes)
    assert result.code == 3
    assert str(half) in result.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("nothing DATA", 3, "nothing"),
        ("mmseg/fast_scn DATA", 3, "did you mean 'mmseg/fast_scnn'?"),
        ("RUN nowhere", 3, "nowhere"),
        ("RUN DATA --split vall", 3, "vall"),
        ("RUN DATA --device tpu", 2, "tpu"),
        ("RUN DATA --precision int4", 2, "int4"),
        ("RUN DATA --runtime tpu", 2, "tpu"),
        ("RUN DATA --scales 0", 2, "scales"),
        ("RUN DATA --scales big", 2, "--scales"),
        ("RUN DATA --window 0 4", 2, "window"),
    ],
)
def test_bad_input_is_told(
    segwright: Command, scenes: Path, run_folder: Path, words: str, code: int, said: str
) -> None:
    places = {"DATA": scenes, "RUN": run_folder}
    result = segwright("evaluate", *(places.get(word, word) for word in words.split()), "--json")
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("fix: ")


def test_what_was_understood_of_a_folder_is_said(
    segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(scenes, tmp_path / "other"))
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    result = segwright("evaluate", run_folder, folder, "--json")
    assert result.code == 0
    assert "understood " in result.err
    assert json.loads(result.out)["images"] == 2
