import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.cli.data_stats import class_factors
from segwright.data import check_data
from segwright.losses import class_weights

from .conftest import Command


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def test_all_splits_are_printed(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "stats", scenes)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "train: 4 pictures, all 96 x 64 (width x height)"
    assert lines[1].startswith("RGB, 255 as 1: mean 0.")
    assert lines[2].endswith("% of the pixels are ignored")
    heading = ["class", "share", "%", "pixels", "masks", "%", "of", "such", "a", "mask"]
    assert lines[4].split() == [*heading, "median", "frequency", "log"]
    assert "val: 2 pictures, all 96 x 64 (width x height)" in lines
    assert "test: 3 pictures, all 96 x 64 (width x height)" in lines
    assert [line.split() for line in lines if line.startswith("class ")][1] == heading
    assert sum(line.startswith("masks with both") for line in lines) == 3
    assert result.err == f"next: segwright data show {scenes}\n"


def test_json_agrees_with_the_check_and_with_training(segwright: Command, scenes: Path) -> None:
    document = json.loads(segwright("data", "stats", scenes, "--json").out)
    report = check_data(scenes)
    assert document["splits"].keys() == {"train", "val", "test"}
    for split, part in document["splits"].items():
        assert {name: found["pixels"] for name, found in part["classes"].items()} == report.classes[split]
    weights = class_weights(report.class_counts("train"), "log").tolist()
    assert list(document["class_weights"]["log"].values()) == weights
    assert list(document["class_weights"]) == ["median_frequency", "log"]


def test_chosen_splits_alone_are_read(segwright: Command, copy: Path) -> None:
    (copy / "images" / "train" / "scene_0000.jpg").write_bytes(b"")
    result = segwright("data", "stats", copy, "--split", "val", "--split", "test", "--split", "val", "--json")
    document = json.loads(result.out)
    assert list(document["splits"]) == ["val", "test"]
    assert document["class_weights"] == {}


def test_weights_are_of_the_only_split_where_one_is_asked_for(segwright: Command, scenes: Path) -> None:
    assert "median frequency" in segwright("data", "stats", scenes, "--split", "test").out


def test_out_writes_a_page(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "stats.html"
    result = segwright("data", "stats", scenes, "--split", "val", "--out", out, "--json")
    assert result.code == 0
    assert f"wrote {out}\n" in result.err
    assert json.loads(result.out)
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["stats.html"]


def test_an_unreadable_file_is_named_with_the_command_that_lists_all(segwright: Command, copy: Path) -> None:
    picture = copy / "images" / "val" / "scene_0001.jpg"
    picture.write_bytes(picture.read_bytes()[:500])
    out = copy.parent / "stats.html"
    result = segwright("data", "stats", copy, "--split", "val", "--out", out)
    assert (result.code, result.out) == (3, "")
    assert f"'{picture}'" in result.err
    assert f"segwright data check {copy / 'data.yaml'} lists all such files" in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--split", "vall"), 3, "has no split 'vall'"),
        (("--split", "val", "--out", "stats.pdf"), 2, "--out 'stats.pdf' does not end in .html"),
        (("--split", "val", "--out", "no/such/stats.html"), 2, "folder 'no/such' of --out does not exist"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    segwright: Command, scenes: Path, words: tuple[object, ...], code: int, says: str
) -> None:
    result = segwright("data", "stats", scenes, *words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert "\nfix: " in result.err


def test_an_empty_split_is_named(segwright: Command, copy: Path) -> None:
    shutil.rmtree(copy / "images" / "val")
    (copy / "images" / "val").mkdir()
    result = segwright("data", "stats", copy)
    assert (result.code, result.out) == (3, "")
    assert f"no picture in '{copy / 'images' / 'val'}'" in result.err


def test_many_classes_are_left_to_json_and_the_page(segwright: Command, copy: Path) -> None:
    lines = (copy / "data.yaml").read_text().splitlines()
    names = ", ".join(f"{index}: c{index}" for index in range(30))
    kept = [line for line in lines if line.startswith(("path", "train", "val", "test"))]
    (copy / "data.yaml").write_text("\n".join([*kept, f"classes: {{{names}}}"]))
    result = segwright("data", "stats", copy, "--split", "val")
    assert "which of the 30 classes stand together: --json, or --out FILE.html" in result.out
    assert "masks with both" not in result.out


def test_pictures_of_16_bits_are_measured(segwright: Command, copy: Path) -> None:
    for path in (copy / "images" / "val").iterdir():
        path.unlink()
        Image.fromarray(np.full((64, 96), 13107, np.uint16)).save(path.with_suffix(".png"))
    result = segwright("data", "stats", copy, "--split", "val")
    assert "1 band of uint16, 65535 as 1: mean 0.2000, std 0.0000" in result.out


def test_without_pytorch_the_weights_are_left_out(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from segwright.analysis.statistics import split_statistics
    from segwright.data import load_data

    found = [split_statistics(load_data(scenes), "train")]
    monkeypatch.setitem(sys.modules, "segwright.losses", None)
    assert class_factors(found) == {}
    assert 'pip install "segwright[train]"' in capsys.readouterr().err
