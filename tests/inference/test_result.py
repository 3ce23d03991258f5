from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segwright.errors import ConfigError, RunError
from segwright.inference import Prediction

PALETTE = ((0, 0, 0), (128, 64, 128), (70, 130, 180))


@pytest.fixture
def prediction() -> Prediction:
    mask = np.array([[0, 0, 1], [0, 0, 1]], np.uint8)
    image = np.full((2, 3, 3), 100, np.uint8)
    return Prediction(mask, ("sky", "road", "tree"), PALETTE, image, confidence=None, milliseconds=1.0)


def test_areas_name_every_class_and_sum_to_one(prediction: Prediction) -> None:
    areas = prediction.areas()
    assert areas == {"sky": pytest.approx(2 / 3), "road": pytest.approx(1 / 3), "tree": 0}
    assert sum(areas.values()) == pytest.approx(1)


def test_overlay_is_a_picture_half_in_colour(prediction: Prediction) -> None:
    overlay = prediction.overlay()
    assert isinstance(overlay, Image.Image)
    assert overlay.size == (3, 2)
    assert overlay.getpixel((0, 0)) == (50, 50, 50)
    assert overlay.getpixel((2, 0)) == (114, 82, 114)
    assert prediction.overlay(alpha=0).getpixel((2, 0)) == (100, 100, 100)


@pytest.mark.parametrize("alpha", ["half", None, (0.5,), -0.1, float("nan")])
def test_alpha_that_is_no_share_is_refused(prediction: Prediction, alpha: Any) -> None:
    with pytest.raises(ConfigError, match="alpha must") as caught:
        prediction.overlay(alpha)
    assert caught.value.fix


def test_saved_mask_comes_back_with_its_colours(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        assert np.array_equal(np.asarray(picture), prediction.mask)
        assert picture.convert("RGB").getpixel((2, 0)) == (128, 64, 128)


def test_missing_folder_is_an_error_with_a_fix(prediction: Prediction, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"out\.png") as caught:
        prediction.save(str(tmp_path / "gone" / "out.png"))
    assert "make the folder" in caught.value.fix
