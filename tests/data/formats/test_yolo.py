from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.errors import DataError

from .conftest import SIZE, SQUARE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

YAML = "train: images/train\nval: images/val\nnames: {0: car, 1: road}\n"
SHARES = " ".join(f"{x / 64} {y / 48}" for x, y in SQUARE)
INSIDE = np.zeros(SIZE, bool)
INSIDE[8:28, 10:30] = True


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(text: str = f"1 {SHARES}\n", yaml: str = YAML) -> Path:
        for split in ("train", "val"):
            picture(f"images/{split}/a.jpg")
            path = tmp_path / "source" / "labels" / split / "a.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "source" / "dataset.yaml").write_text(yaml)
        return path

    return run


def test_outlines_are_shares_of_the_picture(write: Write, converted: Run) -> None:
    write()
    result = converted()
    assert result.told[0][0] == "yolo"
    assert result.done.images == {"train": 1, "val": 1}
    assert result.data.classes == ("background", "car", "road")
    assert (result.mask("a", "val") == INSIDE * 2).all()


def test_no_text_file_and_an_empty_one_are_background(write: Write, picture: Write, converted: Run) -> None:
    write().write_text("\n")
    picture("images/val/b.jpg")
    result = converted()
    assert (result.mask("b", "val") == 0).all()
    assert result.said("pictures without outline (no text file, or an empty one), all background: 2, first in '")


def test_boxes_and_lonely_text_files_are_counted(write: Write, converted: Run) -> None:
    path = write(f"0 0.5 0.5 0.2 0.2\n1 {SHARES}\n")
    path.with_name("b.txt").write_text("")
    result = converted()
    assert result.said("lines of boxes without outline, left out: 2, first in '")
    assert result.said("text files under labels of no picture, left out: 1")


@pytest.mark.parametrize(
    ("path", "train"),
    [
        ("/home/me/data", "images/train"),
        ("", "../images/train"),
        (".", "[images/train]"),
        ("C:\\me", "images\\train"),
    ],
)
def test_paths_of_another_machine_are_found_again(write: Write, converted: Run, path: str, train: str) -> None:
    write(yaml=f"path: '{path}'\ntrain: {train}\nnames: [car, road]\n")
    result = converted()
    assert result.done.images == {"train": 1}
    assert result.said("is not there: taken for 'images/train'") == ("me" in path or ".." in train)
    assert result.said("pictures that no label file names, left out: 1")


def test_a_list_of_pictures_is_read(write: Write, converted: Run, tmp_path: Path) -> None:
    write(yaml="train: train.txt\nnames: [car, road]\n")
    (tmp_path / "source" / "train.txt").write_text("./images/train/a.jpg\n")
    assert (converted().mask("a") == INSIDE * 2).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"2 {SHARES}", r"a.txt' line 1 begins with '2', and classes are numbered 0 to 1"),
        (f"x {SHARES}", "begins with 'x'"),
        ("0 nan 0 0 1 1 1", "a coordinate that is no number"),
        ("0 1 2 3 4 5 6 7", "polygon of 7 numbers"),
        ("0 a b c d e f", "polygon that is no list of numbers"),
        ("0 10 10 300 10 300 200", "coordinate 300, which is no share of width or height"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, text: str, message: str
) -> None:
    write(text)
    with pytest.raises(DataError, match=message):
        converted()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("train", ["../../other", "/etc", "nowhere"])
def test_a_split_outside_of_the_data_set_is_refused(write: Write, converted: Run, tmp_path: Path, train: str) -> None:
    write(yaml=f"train: {train}\nnames: [car, road]\n")
    (tmp_path / "source" / "images").rename(tmp_path / "source" / "pictures")
    with pytest.raises(DataError, match="which is no folder of the data set"):
        converted()


def test_a_test_split_that_is_nowhere_is_left_out_and_told(write: Write, converted: Run) -> None:
    write(yaml=f"{YAML}test: ../test/images\n")
    result = converted()
    assert result.done.images == {"train": 1, "val": 1}
    assert result.said("test '../test/images' is not there: left out")


def test_names_of_the_wrong_shape_are_refused(write: Write, converted: Run) -> None:
    write(yaml="train: images/train\nnames: 3\n")
    with pytest.raises(DataError, match="names no classes"):
        converted()


def test_two_files_with_names_are_not_guessed(write: Write, converted: Run, tmp_path: Path) -> None:
    write()
    (tmp_path / "source" / "other.yaml").write_text(YAML)
    with pytest.raises(DataError, match=r"dataset.yaml' and '.*other.yaml' both name classes; give the one"):
        converted()


def test_pictures_may_lie_behind_a_link(write: Write, converted: Run, tmp_path: Path) -> None:
    write()
    (tmp_path / "source" / "images").rename(tmp_path / "pictures")
    (tmp_path / "source" / "images").symlink_to(tmp_path / "pictures")
    assert (converted().mask("a") == INSIDE * 2).all()


def test_a_share_above_1_is_cut_off_at_the_border_and_counted(write: Write, converted: Run) -> None:
    write("1 0.5 0.5 1.02 0.5 1.02 1.02 0.5 1.02\n")
    result = converted()
    assert (result.mask("a")[24:, 32:] == 2).all()
    assert (result.mask("a") == 2).sum() == 24 * 32
    assert result.said("shapes that reach out of their picture, cut off at its border: 2")


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.2 0.2\n", "\n"])
def test_boxes_alone_are_no_segmentation(write: Write, converted: Run, tmp_path: Path, text: str) -> None:
    write(text)
    with pytest.raises(DataError, match=r"2 text files of '.*dataset.yaml' and not one outline: .* boxes of five"):
        converted()
    assert not (tmp_path / "out").exists()


def test_without_text_files_the_place_of_the_first_is_named(write: Write, converted: Run, tmp_path: Path) -> None:
    write()
    (tmp_path / "source" / "labels").rename(tmp_path / "labels")
    with pytest.raises(DataError, match=r"not one of the 2 pictures .* would have '.*source/labels/train/a.txt'"):
        converted()
