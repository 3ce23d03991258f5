import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Command


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_sheet_is_written_into_the_current_folder(segwright: Command, scenes: Path, current_folder: Path) -> None:
    result = segwright("data", "show", scenes)
    assert (result.code, result.out) == (0, "data_show.jpg\n")
    assert result.err.splitlines() == [
        "wrote data_show.jpg: val: 2 of 2 pairs",
        f"next: segwright data stats {scenes}",
    ]
    with Image.open(current_folder / "data_show.jpg") as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 960
    assert [path.name for path in current_folder.iterdir()] == ["data_show.jpg"]


def test_a_former_sheet_is_replaced_and_said_so(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert "replaced" not in segwright("data", "show", scenes, "--out", out).err
    first = out.read_bytes()
    result = segwright("data", "show", scenes, "--out", out, "--split", "train", "--count", 1)
    assert f"wrote {out}: train: 1 of 4 pairs (the former one is replaced)" in result.err
    assert out.read_bytes() != first


def test_the_seed_says_which_pairs(segwright: Command, scenes: Path, tmp_path: Path) -> None:
    sheets = []
    for number, seed in enumerate((1, 1, 2, 3, 4)):
        out = tmp_path / f"{number}.png"
        segwright("data", "show", scenes, "--split", "train", "--count", 1, "--seed", seed, "--out", out)
        with Image.open(out) as sheet:
            sheets.append(np.asarray(sheet)[120:].tobytes())
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) > 1


def test_the_first_split_is_shown_where_there_is_no_val(segwright: Command, copy: Path) -> None:
    lines = (copy / "data.yaml").read_text().splitlines(keepends=True)
    (copy / "data.yaml").write_text("".join(line for line in lines if not line.startswith("val:")))
    assert "train: 4 of 4 pairs" in segwright("data", "show", copy).err


def test_only_pairs_with_a_class_are_shown(segwright: Command, copy: Path) -> None:
    for number, path in enumerate(sorted((copy / "masks" / "train").iterdir())):
        mask = np.zeros((64, 96), np.uint8)
        mask[0, 0] = 7 if number == 2 else 0
        Image.fromarray(mask).save(path)
    result = segwright("data", "show", copy, "--split", "train", "--class", "fence")
    assert result.code == 0
    assert "note: class 'fence' is in 1 of the 4 pairs of train" in result.err
    assert "train: 1 of 4 pairs, with class fence" in result.err
    missing = segwright("data", "show", copy, "--split", "train", "--class", "car", "--out", "none.png")
    assert (missing.code, missing.out) == (3, "")
    assert "no mask of train that can be read holds class 'car'" in missing.err
    assert not Path("none.png").exists()


def test_pairs_at_fault_are_boxes_and_a_warning(segwright: Command, copy: Path) -> None:
    (copy / "masks" / "val" / "scene_0001.png").unlink()
    (copy / "images" / "val" / "scene_0000.jpg").write_bytes(b"\xff\xd8\xff")
    result = segwright("data", "show", copy)
    assert result.code == 0
    assert "warning: 2 of these pairs cannot be laid over each other, first 'scene_0000'" in result.err
    assert f"next: segwright data check {copy}" in result.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--class", "fense"), 2, "--class 'fense' is none of the classes; did you mean 'fence'?"),
        (("--count", 0), 2, "--count is 0"),
        (("--count", 101), 2, "--count is 101"),
        (("--split", "vall"), 3, "has no split 'vall'"),
        (("--out", "sheet.pdf"), 2, "--out 'sheet.pdf' does not end in .jpg"),
        (("--out", "no/such/sheet.jpg"), 2, "folder 'no/such' of --out does not exist"),
        (("--out", "."), 2, "is a folder"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    segwright: Command, scenes: Path, current_folder: Path, words: tuple[object, ...], code: int, says: str
) -> None:
    result = segwright("data", "show", scenes, *words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert "\nfix: " in result.err
    assert list(current_folder.iterdir()) == []


def test_a_sheet_does_not_land_among_the_pictures(segwright: Command, copy: Path) -> None:
    result = segwright("data", "show", copy, "--out", copy / "images" / "val" / "scene_0000.jpg")
    assert result.code == 2
    assert "among the files of val" in result.err


def test_an_empty_split_is_named(segwright: Command, copy: Path) -> None:
    shutil.rmtree(copy / "images" / "val")
    shutil.rmtree(copy / "masks" / "val")
    result = segwright("data", "show", copy)
    assert (result.code, result.out) == (3, "")
    assert "val has no pictures in" in result.err
