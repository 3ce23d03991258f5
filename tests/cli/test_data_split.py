import json
from pathlib import Path

from .conftest import Command


def test_split_prints_the_shares_of_each_class_and_its_data_pass(
    segwright: Command, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = segwright("data", "split", scenes, "--to", out, "--shares", 0.6, 0.2, 0.2, "--seed", 3)
    assert result.code == 0
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0][-3:] == ["train", "val", "test"]
    assert lines[1] == ["pictures", "5", "2", "2"]
    assert any(words[0] == "road" and words[2] == "(5)" for words in lines)
    assert "note: pooled: 4 of train, 2 of val, 3 of test" in result.err
    assert result.err.endswith(f"next: segwright data check {out}\n")
    assert segwright("data", "check", out).code == 0


def test_split_as_json_has_the_counts(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    words = ("--from-split", "train", "--from-split", "val", "--shares", 0.5, 0.5, "--json", "--link")
    result = segwright("data", "split", scenes, "--to", tmp_path / "out", *words)
    report = json.loads(result.out)
    assert result.code == 0
    assert report["images"] == {"train": 3, "val": 3}
    assert report["masks"]["train"]["road"] == 3
    assert (tmp_path / "out" / "images" / "test").is_dir()


def test_split_refuses_shares_that_do_not_add_up(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    result = segwright("data", "split", scenes, "--to", tmp_path / "out", "--shares", 0.6, 0.2)
    assert result.code == 2
    assert "got 0.6 0.2" in result.err
    assert list(tmp_path.iterdir()) == []
