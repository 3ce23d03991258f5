from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.data.masks import read_raw_mask
from segwright.errors import ConfigError, DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]


@pytest.fixture
def masks(picture: Write, mask_file: Write) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[10:20], mask[20:30], mask[40:] = 1, 2, 255
    picture("images/train/a.png")
    mask_file("masks/train/a.png", mask)
    return mask


def test_indices_stay(masks: np.ndarray, converted: Run, tmp_path: Path) -> None:
    (tmp_path / "source" / "classes.txt").write_text("sky\nroad\ncar\n")
    result = converted()
    assert result.data.classes == ("sky", "road", "car")
    assert (result.mask("a") == masks).all()
    assert result.said("value 255 is ignored")


def test_an_ignored_value_moves_the_classes_down(masks: np.ndarray, converted: Run) -> None:
    result = converted(classes=("other", "road", "car"), ignore=("0",))
    assert result.data.classes == ("road", "car")
    assert set(np.unique(result.mask("a"))) == {0, 1, 255}
    assert (result.mask("a")[masks == 1] == 0).all()
    assert (result.mask("a")[masks == 0] == 255).all()


def test_a_value_without_class_is_named(masks: np.ndarray, converted: Run) -> None:
    with pytest.raises(DataError, match=r"a.png' holds 2 \(640 px\); the 2 classes end at 1; .*--ignore 2"):
        converted(classes=("sky", "road"))


def test_a_data_set_of_our_own_is_used_as_it_is(masks: np.ndarray, converted: Run, tmp_path: Path) -> None:
    (tmp_path / "source" / "data.yaml").write_text(
        "train: {images: images/train, masks: masks/train}\nclasses: [a, b, c]\n"
    )
    with pytest.raises(ConfigError, match=r"data.yaml of segwright's own already; use it as it is"):
        converted()


def test_a_picture_without_mask_is_named(masks: np.ndarray, picture: Write, converted: Run) -> None:
    picture("images/train/b.png")
    with pytest.raises(DataError, match=r"1 file without mask: '.*b.png'"):
        converted()


def test_pictures_of_test_may_have_no_mask_and_are_counted(masks: np.ndarray, picture: Write, converted: Run) -> None:
    picture("images/test/b.png")
    result = converted()
    assert result.done.images == {"train": 1}
    assert result.said("pictures of test without mask, left out: 1, first in '")


def test_two_masks_of_a_picture_are_refused(masks: np.ndarray, mask_file: Write, converted: Run) -> None:
    mask_file("masks/train/a_mask.png", masks)
    with pytest.raises(DataError, match="stand for the same picture"):
        converted()


def test_a_folder_without_labels_names_the_formats(picture: Write, converted: Run) -> None:
    picture("a.png")
    with pytest.raises(ConfigError, match=r"no format that is recognised; call folders .* --from voc\|coco"):
        converted()


def test_pictures_of_which_none_is_known_as_a_mask_are_refused(
    picture: Write, mask_file: Write, converted: Run
) -> None:
    picture("photos_raw/a.jpg")
    mask_file("truth_raw/a.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"2 pictures, and none is known as a mask .* call the folders 'images'"):
        converted(name="index")


def test_masks_in_another_folder_are_found_by_their_names_alone(
    picture: Write, mask_file: Write, converted: Run
) -> None:
    for number in (1, 2):
        picture(f"images/{number}.jpg")
        mask_file(f"annotations/trimaps/{number}_mask.png", np.full(SIZE, number, np.uint8))
    result = converted()
    assert result.said("masks lie in other folders than their pictures: paired by their names alone")
    found = {
        pair.mask.stem: read_raw_mask(pair.mask) for split in ("train", "val") for pair in result.data.pairs(split)
    }
    assert {stem: set(np.unique(mask)) for stem, mask in found.items()} == {"1": {1}, "2": {2}}


def test_a_name_of_two_pictures_is_not_guessed(picture: Write, mask_file: Write, converted: Run) -> None:
    picture("images/b/1.jpg")
    picture("images/c/1.jpg")
    mask_file("masks/d/1.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"1 file without picture: '.*masks/d/1.png'"):
        converted()


def test_a_mask_of_another_folder_is_not_taken_where_others_have_their_own(
    masks: np.ndarray, picture: Write, mask_file: Write, converted: Run
) -> None:
    picture("images/train/x/b.png")
    mask_file("masks/train/y/b.png", masks)
    with pytest.raises(DataError, match=r"1 file without picture: '.*y/b.png'"):
        converted()


HEAD = "Pixel Value, Class\n"


def test_roboflows_table_names_the_values(masks: np.ndarray, converted: Run, tmp_path: Path) -> None:
    (tmp_path / "source" / "_classes.csv").write_text("filename, dog, cat\na.png, 1, 0\n")
    for folder in ("images", "masks"):
        (tmp_path / "source" / folder / "_classes.csv").write_text(f"{HEAD}0, sky\n1, road\n2, big car\n")
    result = converted()
    assert result.data.classes == ("sky", "road", "big car")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0, sky\n2, road\n", "does not number its classes from 0"),
        ("0, sky\n1, sky\n", "'sky' stands twice"),
        ("0, road\n1, sky\n", "name other classes"),
    ],
)
def test_a_table_that_says_nothing_clear_is_refused(
    masks: np.ndarray, converted: Run, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "source" / "images" / "_classes.csv").write_text(f"{HEAD}0, sky\n1, road\n")
    (tmp_path / "source" / "masks" / "_classes.csv").write_text(HEAD + text)
    with pytest.raises(DataError, match=message):
        converted()


def test_an_unknown_format_suggests_the_nearest(picture: Write, converted: Run) -> None:
    picture("a.png")
    with pytest.raises(ConfigError, match="did you mean 'labelme'"):
        converted(name="labelmee")
