import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import check_data
from segwright.data.formats import convert
from segwright.errors import ConfigError, DataError, RunError

from .conftest import Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

CORNER = [0, 0, 6, 0, 6, 4, 0, 4]
"""The top left of a picture: 6 columns and 4 rows."""


@pytest.fixture
def label(tmp_path: Path) -> Callable[..., Path]:
    """A COCO JSON that labels one corner of each picture."""

    def write(*names: str, size: tuple[int, int] | None = (48, 64)) -> Path:
        sides = {"height": size[0], "width": size[1]} if size else {}
        images = [{"id": i, "file_name": name, **sides} for i, name in enumerate(names)]
        shapes = [{"image_id": i, "category_id": 0, "segmentation": [CORNER]} for i, _ in enumerate(names)]
        path = tmp_path / "source" / "train.json"
        path.write_text(json.dumps({"images": images, "categories": [{"id": 0, "name": "car"}], "annotations": shapes}))
        return path

    return write


def test_what_is_written_passes_the_check_and_says_where_it_comes_from(
    picture: Write, label: Write, converted: Run
) -> None:
    picture("a.jpg")
    picture("b.jpg", value=10)
    label("a.jpg", "b.jpg")
    result = converted()
    report = check_data(result.done.folder)
    assert report.ok
    assert report.classes == {"train": {"background": 2 * (48 * 64 - 24), "car": 48}}
    head = (result.done.folder / "data.yaml").read_text().splitlines()
    assert head[0] == f"# converted from {result.done.folder.parent / 'source'}"
    assert "# class 0 'background' is added for pixels without a shape" in head
    assert result.done.to_json()["images"] == {"train": 2}


def test_pictures_are_copied_byte_by_byte(picture: Write, label: Write, converted: Run) -> None:
    source = picture("a.jpg")
    label("a.jpg")
    assert converted().data.pairs("train")[0].image.read_bytes() == source.read_bytes()


def test_a_gif_becomes_a_png_and_is_told(picture: Write, label: Write, converted: Run) -> None:
    picture("a.gif")
    label("a.gif")
    result = converted()
    assert result.data.pairs("train")[0].image.name == "a.png"
    assert result.said("pictures saved as PNG, as training reads no .gif: 1")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_stored_pixels_turn_with_the_picture(
    picture: Write, label: Write, converted: Run, orientation: int
) -> None:
    picture("a.jpg", exif=orientation)
    label("a.jpg")
    result = converted()
    corner = np.zeros((48, 64), np.uint8)
    corner[:4, :6] = 1
    stored = Image.fromarray(corner)
    stored.getexif()[0x0112] = orientation
    from PIL import ImageOps

    assert (result.mask("a") == np.asarray(ImageOps.exif_transpose(stored))).all()
    assert result.said("masks turned as their picture's EXIF orientation says: 1")
    assert check_data(result.done.folder).ok


def test_labels_of_the_picture_as_shown_stay(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg", exif=6)
    label("a.jpg", size=(64, 48))
    result = converted()
    assert result.mask("a").shape == (64, 48)
    assert (result.mask("a")[:4, :6] == 1).all()
    assert result.said("pictures with an EXIF orientation, labels taken as drawn on what is shown: 1")


def test_labels_of_another_size_are_refused(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg", size=(24, 32))
    label("a.jpg")
    with pytest.raises(DataError, match=r"labels a picture of 64x48 px .* but '.*a.jpg' has 32x24"):
        converted()


def test_two_pictures_of_one_name_are_refused(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg")
    picture("a.png")
    label("a.jpg", "a.png")
    with pytest.raises(DataError, match=r"two pictures of train would be called 'a': '.*a.jpg' and '.*a.png'"):
        converted()


def test_a_picture_that_is_listed_twice_is_refused(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg")
    label("a.jpg", "a.jpg")
    with pytest.raises(DataError, match=r"picture '.*a.jpg' is labelled twice; remove one of its two entries"):
        converted()


def test_a_damaged_picture_leaves_nothing_behind(picture: Write, label: Write, converted: Run, tmp_path: Path) -> None:
    for index in range(3):
        picture(f"{index}.jpg")
    picture("2.jpg").write_bytes(b"no picture")
    label("0.jpg", "1.jpg", "2.jpg")
    with pytest.raises(DataError, match=r"2.jpg' cannot be read"):
        converted()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_large_picture_is_refused(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg")
    label("a.jpg")
    with pytest.raises(DataError, match=r"64x48 px \(width x height\) exceed the limit of 3000 px"):
        converted(max_pixels=3000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pixels": 0}, "--max-pixels must lie in"),
        ({"max_pixels": 10**12}, "--max-pixels must lie in"),
        ({"levels": (0,)}, "--levels takes two or more"),
        ({"levels": (0, 70000)}, "--levels takes two or more"),
        ({"levels": (0, 255), "classes": ("a",)}, "2 levels and 1 class"),
        ({"overlap": "none"}, "--overlap must be area or order"),
        ({"background": " "}, "--background is empty"),
        ({"classes": ("a", "b", "a")}, "--classes names 'a' twice"),
        ({"levels": (0, 255, 0)}, "takes two or more grey levels"),
        ({"ignore": ("bus",)}, "--ignore names 'bus', which is no label of the data"),
        ({"classes": ("bus",)}, "--classes leaves out the label 'car'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    picture: Write, label: Write, converted: Run, options: dict[str, object], message: str
) -> None:
    picture("a.jpg")
    label("a.jpg")
    with pytest.raises(ConfigError, match=message):
        converted(**options)


def test_a_folder_with_something_in_it_stays(picture: Write, label: Write, converted: Run, tmp_path: Path) -> None:
    picture("a.jpg")
    label("a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="holds something already"):
        converted()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(picture: Write, label: Write, converted: Run, tmp_path: Path) -> None:
    picture("a.jpg")
    label("a.jpg")
    (tmp_path / "out").mkdir()
    assert converted().done.images == {"train": 1}


def test_nothing_is_written_into_the_source(picture: Write, label: Write, tmp_path: Path) -> None:
    picture("a.jpg")
    label("a.jpg")
    with pytest.raises(ConfigError, match="lies in the data that is read"):
        convert(tmp_path / "source", tmp_path / "source" / "out")
    assert not (tmp_path / "source" / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(picture: Write, label: Write, tmp_path: Path) -> None:
    picture("a.jpg")
    label("a.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not write"):
        convert(tmp_path / "source", tmp_path / "file" / "out")


def test_a_source_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'.*nowhere' does not exist"):
        convert(tmp_path / "nowhere", tmp_path / "out")


def test_an_option_that_says_nothing_to_the_format_is_refused(picture: Write, label: Write, converted: Run) -> None:
    picture("a.jpg")
    label("a.jpg")
    with pytest.raises(ConfigError, match=r"--levels says nothing to the format 'coco'; leave it out; coco takes --cl"):
        converted(levels=(0, 255))


def test_a_file_of_the_source_that_cannot_be_read_is_named(
    picture: Write, label: Write, converted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture("a.jpg")
    label("a.jpg")

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(DataError, match=f"'{source}' cannot be read \\(Permission denied\\)"):
        converted()


def test_a_full_disk_is_no_fault_of_the_source(
    picture: Write, label: Write, converted: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture("a.jpg")
    label("a.jpg")

    def refuse(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(RunError, match=r"could not write '.*out': No space left on device"):
        converted()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
