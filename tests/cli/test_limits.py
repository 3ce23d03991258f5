import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.bounds import Advice
from segwright.cli.limits import train_words

from .conftest import Command

FEW = ("--strides", 4, 8, "--codes", 8, 24)


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def without_split(folder: Path, split: str) -> Path:
    lines = (folder / "data.yaml").read_text().splitlines(keepends=True)
    (folder / "data.yaml").write_text("".join(line for line in lines if not line.startswith(f"{split}:")))
    return folder


def fill_masks(folder: Path, split: str, value: int) -> None:
    for path in (folder / "masks" / split).iterdir():
        Image.fromarray(np.full((64, 96), value, np.uint8)).save(path)


def test_limits_are_printed_with_advice(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "limits", scenes, *FEW)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["upsampling", "mIoU*", "4", "mIoU*", "8", "F", "3px", "4", "F", "3px", "8"]
    assert [line.split("  ")[0] for line in lines[1:5]] == ["nearest", "bilinear", "DUpsampling 8", "DUpsampling 24"]
    assert any(line.startswith("sky ") for line in lines)
    assert "2 masks of val of 'scenes' at the labels' own resolution; codes fitted to 4 masks of train" in result.out
    assert "bilinear upsampling" in lines[-1]
    assert f"next: segwright train {scenes} --model " in result.err


def test_json_is_one_document(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "limits", scenes, *FEW, "--json")
    document = json.loads(result.out)
    assert result.code == 0
    assert document["measured"] == {"split": "val", "masks": 2, "masks_in_split": 2}
    assert [(bound["stride"], bound["upsampler"], bound["code_channels"]) for bound in document["bounds"]] == [
        (stride, *kind)
        for stride in (4, 8)
        for kind in (("nearest", None), ("bilinear", None), ("dupsampling", 8), ("dupsampling", 24))
    ]
    assert {"miou", "iou_per_class", "boundary_f"} <= document["bounds"][0].keys()
    assert document["advice"]["sentence"]


def test_the_defaults_work_on_eight_tiny_pictures(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "limits", scenes, "--strides", 4, 8, 16, 32)
    assert result.code == 0
    assert "note: at stride 32 train has 24 patches, fewer than codes of 32, 64, 128, 256 channels" in result.err


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_out_draws_a_chart(segwright: Command, scenes: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"limits.{suffix}"
    result = segwright("data", "limits", scenes, *FEW, "--json", "--out", out)
    assert result.code == 0
    assert f"wrote {out}\n" in result.err
    assert json.loads(result.out)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_another_split_and_a_sample_can_be_measured(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "limits", scenes, *FEW, "--split", "test", "--images", 2)
    assert result.code == 0
    assert "2 of 3 masks of test" in result.out
    assert "codes fitted to 2 of 4 masks of train, sampled with seed 0" in result.out


def test_train_is_measured_where_there_is_no_val(segwright: Command, copy: Path) -> None:
    result = segwright("data", "limits", without_split(copy, "val"), *FEW)
    assert result.code == 0
    assert "note: there is no val" in result.err
    assert "4 masks of train of 'copy'" in result.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--strides", 0), 2, "strides are 0"),
        (("--strides", 8, -4), 2, "strides are 8 -4"),
        (("--strides", "3.5"), 2, "--strides takes whole numbers, got 3.5"),
        (("--strides", 1000), 2, "strides are 1000"),
        (("--strides", "nan"), 2, "got nan"),
        (("--codes", 0), 2, "code lengths are 0"),
        (("--codes", "2.5"), 2, "--codes takes whole numbers, got 2.5"),
        (("--strides", 4, "--codes", 5000), 2, "at stride 4 a patch has 160 values, fewer than codes of 5000 channels"),
        (("--strides", 32, "--codes", 64), 3, "at stride 32 train has 24 patches, fewer than codes of 64 channels"),
        (("--images", 0), 2, "number of images is 0"),
        (("--split", "vall"), 3, "has no split 'vall'"),
        (("--out", "limits.pdf"), 2, "'limits.pdf'"),
        (("--out", "no/such/folder/limits.png"), 2, "folder 'no/such/folder' does not exist"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    segwright: Command, scenes: Path, words: tuple[Any, ...], code: int, says: str
) -> None:
    result = segwright("data", "limits", scenes, *words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert "\nfix: " in result.err
    assert "next:" not in result.err


def test_no_train_split_is_said(segwright: Command, copy: Path) -> None:
    result = segwright("data", "limits", without_split(copy, "train"), *FEW)
    assert (result.code, result.out) == (3, "")
    assert "has no split 'train'" in result.err


@pytest.mark.parametrize("split", ["train", "val"])
def test_unknown_values_are_named(segwright: Command, copy: Path, split: str) -> None:
    fill_masks(copy, split, 77)
    result = segwright("data", "limits", copy, *FEW)
    assert (result.code, result.out) == (3, "")
    assert "holds value 77 (6144 px)" in result.err
    assert "map: {77: ignore}" in result.err


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_of_void_only_are_named(segwright: Command, copy: Path, split: str) -> None:
    fill_masks(copy, split, 255)
    result = segwright("data", "limits", copy, *FEW)
    assert (result.code, result.out) == (3, "")
    assert "no labelled pixel" in result.err


@pytest.mark.parametrize(
    ("advice", "words"),
    [
        (Advice(4, "bilinear", None, ""), "--model deeplabv3plus"),
        (Advice(20, "bilinear", None, ""), "--model deeplabv3 --set model.options.output_stride=16"),
        (
            Advice(32, "dupsampling", 128, ""),
            "--model deeplabv3 --set model.options.output_stride=32 "
            "--upsampler dupsampling --set model.options.code_channels=128",
        ),
    ],
)
def test_the_next_command_names_a_network_of_the_stride(advice: Advice, words: str) -> None:
    assert train_words(advice) == words.split()


def test_the_next_command_can_be_given(segwright: Command, scenes: Path) -> None:
    for advice in (Advice(4, "bilinear", None, ""), Advice(16, "dupsampling", 64, "")):
        result = segwright("train", scenes, *train_words(advice), "--weights", "none", "--dry-run")
        assert result.code == 0, result.err
