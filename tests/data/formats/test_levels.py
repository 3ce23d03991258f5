from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.errors import ConfigError, DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

STRIPES = np.repeat(np.arange(3, dtype=np.uint8), 16)[:, None] * np.ones(64, np.uint8)


def add(picture: Write, mask_file: Write, levels: list[int], names: str = "images/{}.png masks/{}.png") -> None:
    image, mask = names.format("a", "a").split()
    picture(image)
    mask_file(mask, np.array(levels, np.uint8)[STRIPES])


@pytest.mark.parametrize(
    "names",
    [
        "images/{}.png masks/{}.png",
        "images/{}.jpg masks/{}_mask.png",
        "{}.jpg {}_mask.png",
        "{}.jpg {}.png",
        "{}_sat.jpg {}_mask.png",
        "training/images/{}_training.tif training/1st_manual/{}_manual1.gif",
        "train/images/x/{}.png train/labels/x/{}.png",
        "train_images/{}.png train_masks/{}.png",
    ],
)
def test_masks_of_0_and_255_are_two_classes_wherever_they_lie(
    picture: Write, mask_file: Write, converted: Run, names: str
) -> None:
    add(picture, mask_file, [0, 255, 255], names)
    result = converted()
    assert result.told == [("levels", "1 picture with masks in grey levels: 0 = background, 255 = object")]
    assert result.data.classes == ("background", "object")
    (pair,) = result.data.pairs("train")
    assert pair.mask.name in ("a.png", "a_sat.png", "a_training.png")
    with Image.open(pair.mask) as mask:
        assert (np.asarray(mask) == (STRIPES > 0)).all()


def test_grey_levels_are_classes_in_their_order(picture: Write, mask_file: Write, converted: Run) -> None:
    add(picture, mask_file, [0, 127, 254])
    result = converted(classes=("sky", "wall", "door"))
    assert result.data.classes == ("sky", "wall", "door")
    assert (result.mask("a") == STRIPES).all()


def test_levels_that_are_given_choose_the_order_and_the_nearest_wins(
    picture: Write, mask_file: Write, converted: Run
) -> None:
    add(picture, mask_file, [3, 120, 250])
    result = converted(levels=(254, 127, 0), classes=("door", "wall", "sky"))
    assert (result.mask("a") == 2 - STRIPES).all()
    assert result.said("3072 px (100.00 %) lie between the levels and go to the nearest")


def test_smeared_masks_need_levels(picture: Write, mask_file: Write, converted: Run, tmp_path: Path) -> None:
    picture("images/a.png")
    smeared = np.where(STRIPES > 0, 255, 0).astype(np.uint8)
    smeared[15, :40] = np.arange(40) * 6
    mask_file("masks/a.png", smeared)
    with pytest.raises(DataError, match="41 grey levels, as after resizing or JPEG; give --levels 0,255"):
        converted()
    assert not (tmp_path / "out").exists()
    result = converted(levels=(0, 255))
    assert (result.mask("a") == (smeared > 127)).all()


def test_a_jpeg_of_black_and_white_is_read_with_levels(picture: Write, mask_file: Write, converted: Run) -> None:
    add(picture, mask_file, [0, 255, 255], "images/{}.png masks/{}.jpg")
    assert (converted(levels=(0, 255)).mask("a") == (STRIPES > 0)).all()


def test_grey_saved_as_rgb_counts_as_grey(picture: Write, mask_file: Write, converted: Run) -> None:
    picture("images/a.png")
    mask_file("masks/a.png", np.repeat(np.array([0, 255, 255], np.uint8)[STRIPES][..., None], 3, axis=2))
    assert (converted().mask("a") == (STRIPES > 0)).all()


def test_another_number_of_names_than_levels_is_refused(picture: Write, mask_file: Write, converted: Run) -> None:
    add(picture, mask_file, [0, 127, 254])
    with pytest.raises(ConfigError, match="names 2 classes, but the masks have 3 grey levels: 0, 127, 254"):
        converted(classes=("a", "b"))


def test_levels_that_could_be_indices_are_not_guessed(picture: Write, mask_file: Write, converted: Run) -> None:
    add(picture, mask_file, [0, 15, 15])
    with pytest.raises(ConfigError, match=r"2 ways: levels .* index .*--from levels or --from index"):
        converted()
    assert converted(name="index").data.classes[-1] == "class 15"


def test_outside_of_the_field_of_view_is_ignored(
    picture: Write, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    add(picture, mask_file, [0, 255, 255])
    view = np.full(SIZE, 255, np.uint8)
    view[:, :5] = 0
    mask_file("view/a_mask.png", view)
    result = converted(ignore_outside=tmp_path / "source" / "view")
    assert (result.mask("a")[:, :5] == 255).all()
    assert (result.mask("a")[:, 5:] == (STRIPES > 0)[:, 5:]).all()


def test_a_picture_without_field_of_view_mask_is_an_error(
    picture: Write, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    add(picture, mask_file, [0, 255, 255])
    mask_file("view/b.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match="has no mask for the picture 'a'"):
        converted(ignore_outside=tmp_path / "source" / "view")
