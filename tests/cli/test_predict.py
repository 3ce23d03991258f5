import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data.synthetic import CLASSES, PALETTE

from .conftest import Command


@pytest.fixture
def pictures(scenes: Path, tmp_path: Path) -> Path:
    """Two pictures of the same name in two folders, and a third above them."""
    source = scenes / "images" / "test" / "scene_0000.jpg"
    for place in ("a/x.jpg", "b/x.jpg", "y.jpg"):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    return tmp_path / "pictures"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_folder_keeps_its_tree(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    result = segwright("predict", run_folder, pictures, "--out", tmp_path / "out")
    assert result.code == 0
    assert files(tmp_path / "out") == {"a/x.png", "b/x.png", "y.png"}
    assert len(result.out.splitlines()) == 3
    assert "next: segwright" in result.err


def test_pattern_keeps_the_tree_below_its_plain_part(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    assert segwright("predict", run_folder, f"{pictures}/*/*.jpg", "--out", tmp_path / "out").code == 0
    assert files(tmp_path / "out") == {"a/x.png", "b/x.png"}


def test_mask_is_a_palette_png_of_the_pictures_size(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "y.jpg", "--out", tmp_path / "out", "--json")
    (entry,) = json.loads(result.out)["results"]
    assert {"source", "mask", "areas", "milliseconds"} == entry.keys()
    assert entry["source"] == str(pictures / "y.jpg")
    assert list(entry["areas"]) == list(CLASSES)
    assert sum(entry["areas"].values()) == pytest.approx(1)
    assert entry["milliseconds"] > 0
    with Image.open(entry["mask"]) as mask:
        assert (mask.mode, mask.size) == ("P", (96, 64))
        assert (mask.getpalette() or [])[:3] == list(PALETTE[0])


def test_overlay_and_confidence_are_written_on_request(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    words = ("--out", tmp_path / "out", "--format", "both", "--confidence", "--flip", "--scales", 0.5, 1, "--json")
    result = segwright("predict", run_folder, pictures / "y.jpg", *words)
    assert result.code == 0
    assert files(tmp_path / "out") == {"y.png", "y_overlay.jpg", "y_confidence.png"}
    with Image.open(tmp_path / "out" / "y_confidence.png") as confidence:
        assert (confidence.mode, confidence.size) == ("L", (96, 64))
        assert np.asarray(confidence).max() > 255 // len(CLASSES)


def test_overlay_alone_writes_no_mask(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--format", "overlay", "--json")
    (entry,) = json.loads(segwright("predict", run_folder, pictures / "y.jpg", *words).out)["results"]
    assert entry["mask"] is None
    assert files(tmp_path / "out") == {"y_overlay.jpg"}


def test_corrupt_picture_does_not_stop_the_others(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "a" / "x.jpg").write_bytes(b"no picture")
    result = segwright("predict", run_folder, pictures, "--out", tmp_path / "out", "--json")
    assert result.code == 3
    results = json.loads(result.out)["results"]
    assert [entry.keys() for entry in results if "error" in entry] == [{"source", "error"}]
    assert files(tmp_path / "out") == {"b/x.png", "y.png"}
    assert "a/x.jpg" in result.err
    assert "1 of 3 pictures" in result.err


def test_former_prediction_is_replaced(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "y.png"
    out.parent.mkdir()
    out.write_text("former")
    assert segwright("predict", run_folder, pictures / "y.jpg", "--out", out.parent).code == 0
    with Image.open(out) as mask:
        assert mask.size == (96, 64)


def test_output_folder_inside_the_source_is_not_predicted_again(
    segwright: Command, run_folder: Path, pictures: Path
) -> None:
    first, second = (segwright("predict", run_folder, pictures, "--out", pictures / "out") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert len(second.out.splitlines()) == 3
    assert "3 pictures in the output folder" in second.err


def test_source_is_never_overwritten(segwright: Command, run_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    Image.new("RGB", (32, 32)).save(picture)
    before = picture.read_bytes()
    result = segwright("predict", run_folder, picture, "--out", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: --out '{tmp_path}' is a folder of source pictures\nfix: give another --out\n"
    assert (files(tmp_path), picture.read_bytes()) == ({"photo.png"}, before)


@pytest.mark.parametrize(
    ("sources", "out"),
    [
        (".", "."),  # the source itself
        ("y.jpg", "."),
        ("a b", "a"),  # of one of several sources
        ("*/*.jpg", "."),  # below it
        (".", "a"),  # a part of the source
    ],
)
def test_nothing_is_written_beside_source_pictures(
    segwright: Command, run_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, sources: str, out: str
) -> None:
    monkeypatch.chdir(pictures)
    before = files(pictures)
    result = segwright("predict", run_folder, *sources.split(), "--out", out, "--format", "both")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: --out '{out}' is a folder of source pictures\nfix: give another --out\n"
    assert files(pictures) == before


def test_two_pictures_never_share_an_output(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "a/x.jpg", pictures / "b/x.jpg", "--out", tmp_path / "out")
    assert result.code == 2
    assert "would both be written" in result.err
    assert not (tmp_path / "out").exists()


def test_picture_named_twice_is_predicted_once(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "a", pictures / "a/x.jpg", "--out", tmp_path / "out", "--json")
    assert len(json.loads(result.out)["results"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("RUN nothing.jpg", 3, "nothing.jpg"),
        ("RUN nothing/*.jpg", 3, "nothing/*.jpg"),
        ("nothing PICTURES", 3, "nothing"),
        ("RUN PICTURES --out PICTURES/y.jpg", 2, "is a file"),
        ("RUN PICTURES --runtime tpu", 2, "tpu"),
    ],
)
def test_bad_input_is_told(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path, words: str, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    line = words.replace("RUN", str(run_folder)).replace("PICTURES", str(pictures))
    result = segwright("predict", *line.split())
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert files(tmp_path) == before
