from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.statistics import describe_colours, describe_sizes, split_statistics
from segwright.errors import DataError

from .pairs import CLASSES, IGNORED, mask_of, write_pairs


def test_classes_are_counted_by_pixel_and_by_mask(tmp_path: Path) -> None:
    masks = [mask_of(0, 1), mask_of(0, 0, 1, IGNORED), mask_of(0)]
    found = split_statistics(write_pairs(tmp_path / "data", {"train": masks}), "train")
    sky, road, car = (found.classes[name] for name in CLASSES)
    assert (sky.pixels, road.pixels, car.pixels) == (96 + 96 + 192, 96 + 48, 0)
    assert (sky.masks, road.masks, car.masks) == (3, 2, 0)
    assert sky.share == pytest.approx(384 / 528)
    assert sky.mean_area == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert road.mean_area == pytest.approx((0.5 + 0.25) / 2)
    assert (car.share, car.mean_area) == (0, 0)
    assert found.ignored == pytest.approx(48 / 576)
    assert found.class_counts == [384, 144, 0]


def test_mean_area_counts_masks_alike_whatever_their_size(tmp_path: Path) -> None:
    masks = [mask_of(0, 1, size=(40, 40)), mask_of(1, size=(2, 2))]
    found = split_statistics(write_pairs(tmp_path / "data", {"train": masks}), "train")
    assert found.classes["road"].mean_area == pytest.approx(0.75)


def test_co_occurrence_counts_masks_that_hold_both(tmp_path: Path) -> None:
    masks = [mask_of(0, 1), mask_of(0, 1, 2), mask_of(2), mask_of(IGNORED)]
    found = split_statistics(write_pairs(tmp_path / "data", {"train": masks}), "train")
    assert found.co_occurrence == ((2, 2, 1), (2, 2, 1), (1, 1, 2))


def test_sizes_are_counted(tmp_path: Path) -> None:
    masks = [mask_of(0, size=size) for size in ((10, 20), (30, 16), (10, 20))]
    found = split_statistics(write_pairs(tmp_path / "data", {"train": masks}), "train")
    assert found.sizes == {(10, 20): 2, (30, 16): 1}
    assert found.images == 3
    assert found.spread(0) == (10, 10, 30)
    assert found.spread(1) == (16, 20, 20)
    assert describe_sizes(found) == (
        "2 sizes, 2 of them 20 x 10; width 16 to 20, median 20; height 10 to 30, median 10 (width x height)"
    )


def test_one_size_is_said_shortly(tmp_path: Path) -> None:
    found = split_statistics(write_pairs(tmp_path / "data", {"train": [mask_of(0)]}), "train")
    assert describe_sizes(found) == "all 16 x 12 (width x height)"


def test_pictures_of_other_depth_stand_apart(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0), mask_of(1)]}, colour=51)
    Image.fromarray(np.full((12, 16), 13107, np.uint16)).save(data.folders["train"].images / "b.png")
    found = split_statistics(data, "train")
    assert describe_colours(found) == [
        "1 band of uint16, 65535 as 1: mean 0.2000, std 0.0000 (1 picture)",
        "RGB, 255 as 1: mean 0.2000 0.2000 0.2000, std 0.0000 0.0000 0.0000 (1 picture)",
    ]


def test_masks_of_ignored_pixels_only_are_counted(tmp_path: Path) -> None:
    found = split_statistics(write_pairs(tmp_path / "data", {"test": [mask_of(IGNORED)]}), "test")
    assert found.ignored == 1
    assert found.class_counts == [0, 0, 0]


def test_progress_is_told_pair_by_pair(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)] * 3})
    split_statistics(data, "train", progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_mask_of_another_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0), mask_of(1)]})
    Image.fromarray(mask_of(1, size=(6, 8))).save(data.folders["train"].masks / "b.png")
    with pytest.raises(DataError, match=r"b\.png' is 8x6 .* is 16x12"):
        split_statistics(data, "train")


def test_json_holds_plain_values(tmp_path: Path) -> None:
    found = split_statistics(write_pairs(tmp_path / "data", {"train": [mask_of(0, 1)]}, colour=51), "train").to_json()
    assert found["sizes"] == [{"size": [12, 16], "images": 1}]
    assert found["height"] == {"min": 12, "median": 12, "max": 12}
    assert found["channels"][0]["mean"] == [0.2, 0.2, 0.2]
    assert found["classes"]["road"] == {"pixels": 96, "share": 0.5, "masks": 1, "mean_area": 0.5}
    assert found["co_occurrence"] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
