import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from .conftest import Command


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def test_a_mended_copy_passes_and_what_was_done_is_said(segwright: Command, copy: Path) -> None:
    (copy / "images/train/scene_0000.jpg").write_bytes(b"no picture")
    out = copy.with_name("out")
    result = segwright("data", "check", copy, "--no-html", "--fix", out)
    assert result.code == 0
    assert "error: [unreadable-picture]" in result.err
    assert "note: left out: pictures that cannot be read, with their masks: 1, first '" in result.err
    assert f"wrote {out}\n" in result.err
    assert "images   4 train" in result.out
    assert f"copy     {out}\nimages   3 train" in result.out
    assert result.err.endswith(f"next: segwright train {out} --model fast_scnn\n")
    assert segwright("data", "check", out, "--no-html").code == 0


def test_what_stays_wrong_in_the_copy_exits_3(segwright: Command, copy: Path) -> None:
    Image.new("L", (96, 64), 77).save(copy / "masks/train/scene_0000.png")
    out = copy.with_name("out")
    result = segwright("data", "check", copy, "--no-html", "--fix", out, "--json")
    assert result.code == 3
    report = json.loads(result.out)
    assert [problem["code"] for problem in report["fixed"]["problems"] if problem["severity"] == "error"] == [
        "unknown-value"
    ]
    assert report["fixed"]["ok"] is False
    assert report["fixed"]["data"] == str(out)
    assert report["fixed"]["images"] == {"train": 4, "val": 2, "test": 3}


def test_resizing_is_an_option_of_fix(segwright: Command, copy: Path) -> None:
    path = copy / "masks/train/scene_0000.png"
    with Image.open(path) as mask:
        mask.resize((48, 32), Image.Resampling.NEAREST).save(path)
    assert segwright("data", "check", copy, "--resize-masks").code == 2
    assert segwright("data", "check", copy, "--no-html", "--fix", copy.with_name("a")).code == 3
    assert segwright("data", "check", copy, "--no-html", "--fix", copy.with_name("b"), "--resize-masks").code == 0


def test_a_full_folder_is_no_place_for_a_copy(segwright: Command, copy: Path, scenes: Path) -> None:
    result = segwright("data", "check", copy, "--no-html", "--fix", scenes)
    assert result.code == 3
    assert "holds something already" in result.err
