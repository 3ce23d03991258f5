import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.cli.data import _FORMATS
from segwright.data.formats import FORMATS

from .conftest import Command


def test_make_draws_what_was_asked_for(segwright: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "scenes"
    result = segwright("data", "make", folder, "--train", 1, "--val", 1, "--test", 0, "--size", "48x64", "--seed", 3)
    assert (result.code, result.out) == (0, f"{folder}\n")
    with Image.open(folder / "images" / "train" / "scene_0000.jpg") as picture:
        assert picture.size == (64, 48)
    assert not (folder / "images" / "test").exists()
    assert result.err == f"next: segwright data check {folder}\n"


@pytest.mark.parametrize("size", ["48", "48x", "-4x8", "48*64"])
def test_make_refuses_a_size_that_is_none(segwright: Command, tmp_path: Path, size: str) -> None:
    result = segwright("data", "make", tmp_path / "x", "--size", size)
    assert result.code == 2
    assert f"'{size}'" in result.err
    assert not (tmp_path / "x").exists()


def test_make_leaves_a_full_folder_alone(segwright: Command, scenes: Path) -> None:
    result = segwright("data", "make", scenes)
    assert result.code == 3
    assert "holds something already" in result.err


@pytest.mark.parametrize("counts", [("--train", 0), ("--train", 0, "--val", 0, "--test", 0)])
def test_make_refuses_a_data_set_without_scenes_to_train_on(
    segwright: Command, tmp_path: Path, counts: tuple[object, ...]
) -> None:
    result = segwright("data", "make", tmp_path / "x", *counts)
    assert result.code == 2
    assert "fix: give --train 1 or above" in result.err
    assert list(tmp_path.iterdir()) == []


def test_make_names_the_folder_that_cannot_be_written(segwright: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = segwright("data", "make", tmp_path / "file" / "x")
    assert result.code == 1
    assert f"error: could not write '{tmp_path / 'file' / 'x'}'" in result.err
    assert "partial" not in result.err


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Two pictures with black and white masks."""
    for index in range(2):
        for folder in ("images", "masks"):
            (tmp_path / "drawn" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (90, 90, index)).save(tmp_path / "drawn" / "images" / f"{index}.png")
        mask = np.zeros((48, 64), np.uint8)
        mask[:20] = 255
        Image.fromarray(mask).save(tmp_path / "drawn" / "masks" / f"{index}.png")
    return tmp_path / "drawn"


def test_convert_says_what_was_understood_and_its_data_pass(segwright: Command, drawn: Path) -> None:
    out = drawn.with_name("out")
    result = segwright("data", "convert", drawn, "--to", out)
    assert (result.code, result.out) == (0, f"{out}\n")
    assert "understood 2 pictures with masks in grey levels: 0 = background, 255 = object (--from levels)" in result.err
    assert "note: no splits: 1 of 2 pictures serve as val, by a hash of their names" in result.err
    assert result.err.endswith(f"next: segwright data check {out}\n")
    assert segwright("data", "check", out).code == 0


def test_the_help_of_convert_names_every_format() -> None:
    assert _FORMATS.split(", ") == list(FORMATS)


def test_convert_takes_levels_and_names(segwright: Command, drawn: Path) -> None:
    out = drawn.with_name("out")
    words = ("--from", "levels", "--levels", "255, 0", "--classes", "crack,wall", "--json")
    result = segwright("data", "convert", drawn, "--to", out, *words)
    assert result.code == 0
    report = json.loads(result.out)
    assert report["classes"] == ["crack", "wall"]
    assert report["format"] == "levels"
    assert sum(report["images"].values()) == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--from", "levles"), 2, "did you mean 'levels'?"),
        (("--levels", "0,x"), 2, "--levels takes grey levels, got '0,x'"),
        (("--from", "coco"), 3, "holds no JSON file with images, annotations and categories"),
        (("--max-pixels", 100), 3, "exceed the limit of 100 px"),
        (("--overlap", "any"), 2, "--overlap must be area or order"),
    ],
)
def test_convert_writes_nothing_after_an_error(
    segwright: Command, drawn: Path, words: tuple[object, ...], code: int, message: str
) -> None:
    result = segwright("data", "convert", drawn, "--to", drawn.with_name("out"), *words)
    assert result.code == code
    assert message in result.err
    assert "fix: " in result.err
    assert [path.name for path in drawn.parent.iterdir()] == ["drawn"]


def test_convert_refuses_label_files_over_the_limit(segwright: Command, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    result = segwright("data", "convert", tmp_path / "a.json", "--to", tmp_path / "out", "--max-bytes", 10)
    assert result.code == 3
    assert "has 51 bytes, more than the limit of 10" in result.err
    assert "--max-bytes" in result.err


def test_a_foreign_data_set_is_named_with_the_command_that_brings_it(segwright: Command, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    for words in (
        ("train", tmp_path),
        ("data", "check", tmp_path),
        ("data", "split", tmp_path, "--to", tmp_path / "x"),
    ):
        result = segwright(*words)
        assert result.code == 3
        assert f"error: '{tmp_path}' is a data set in the format coco (" in result.err
        assert f"fix: bring it: segwright data convert {tmp_path} --to NEW" in result.err
