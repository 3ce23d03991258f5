import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.errors import ConfigError, DataError, RunError, ShapeError
from segwright.info import generic_palette
from segwright.runtime import class_areas, colourise, overlay, save_mask
from tests.support.loops import TOOLS, loop_with

PALETTE = ((0, 0, 0), (128, 64, 128), (70, 130, 180))


@pytest.fixture
def mask() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (9, 13), dtype=np.uint8)


def test_each_pixel_has_its_classs_colour(mask: np.ndarray) -> None:
    assert np.array_equal(colourise(mask, PALETTE), np.array(PALETTE, np.uint8)[mask])


def test_pixels_without_a_colour_are_black() -> None:
    assert colourise(np.array([[255, 1]], np.uint8), PALETTE).tolist() == [[[0, 0, 0], [128, 64, 128]]]


def test_colours_above_256_classes() -> None:
    palette = generic_palette(300)
    assert colourise(np.array([[299]], np.uint16), palette).tolist() == [[list(palette[299])]]


@pytest.mark.parametrize("num_classes", [1, 2, 3, 16, 17, 255, 256])
def test_palette_png_comes_back_with_its_indices_and_colours(tmp_path: Path, num_classes: int) -> None:
    palette = generic_palette(num_classes)
    mask = np.arange(260, dtype=np.uint16).reshape(13, 20) % num_classes
    mask = mask.astype(np.uint8)
    save_mask(tmp_path / "a.png", mask, palette)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), mask)
        assert np.array_equal(np.asarray(picture.convert("RGB")), colourise(mask, palette))


def test_ignored_pixels_survive_saving(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    save_mask(str(tmp_path / "a.png"), mask, PALETTE)
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).tolist() == mask.tolist()


def test_above_256_classes_the_file_is_16_bit_grey(tmp_path: Path) -> None:
    mask = np.array([[0, 299, 65535]], np.uint16)
    save_mask(tmp_path / "a.png", mask, generic_palette(300))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "I;16"
        assert np.asarray(picture).tolist() == mask.tolist()


def test_full_disk_leaves_the_old_mask_and_nothing_else(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def half(_: Image.Image, place: Path, **__: object) -> None:
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(RunError, match=rf"could not write {path}: No space left on device"):
        save_mask(path, mask, PALETTE)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_mask_is_not_saved_lossily(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="saved as PNG") as caught:
        save_mask(tmp_path / "a.jpg", mask, PALETTE)
    assert "a.png" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_mask_of_another_type_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(DataError, match="got int64"):
        save_mask(tmp_path / "a.png", mask.astype(np.int64), PALETTE)


def test_overlay_mixes_picture_and_colours(mask: np.ndarray) -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    expected = image * 0.75 + colourise(mask, PALETTE) * 0.25
    assert np.abs(overlay(image, mask, PALETTE, alpha=0.25) - expected).max() <= 1
    assert np.array_equal(overlay(image, mask, PALETTE, alpha=0), image)
    assert np.array_equal(overlay(image, mask, PALETTE, alpha=1), colourise(mask, PALETTE))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("alpha", [0, 0.1, 0.3, 0.5, 0.77, 1])
def test_overlay_equals_the_formula_to_the_bit(monkeypatch: pytest.MonkeyPatch, tool: str, alpha: float) -> None:
    loop_with(tool, monkeypatch, "blend")
    values = np.arange(256, dtype=np.uint8)
    image = np.repeat(values[:, None, None], 256, axis=1).repeat(3, axis=2)
    mask, palette = np.repeat(values[None], 256, axis=0), [(255 - grey, grey, grey // 2) for grey in range(256)]
    colours, shown = colourise(mask, palette).astype(np.float32), image.astype(np.float32)
    expected = (shown + np.float32(alpha) * (colours - shown)).astype(np.uint8)
    assert np.array_equal(overlay(image, mask, palette, alpha), expected)


@pytest.mark.parametrize("tool", TOOLS)
def test_overlay_takes_views_and_masks_of_16_bits(monkeypatch: pytest.MonkeyPatch, mask: np.ndarray, tool: str) -> None:
    loop_with(tool, monkeypatch, "blend")
    image = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    expected = overlay(image, mask, PALETTE)
    assert np.array_equal(overlay(image[:, ::-1], mask[:, ::-1], PALETTE), expected[:, ::-1])
    assert np.array_equal(overlay(image, mask.astype(np.uint16), PALETTE), expected)


def test_colours_may_be_painted_over(mask: np.ndarray) -> None:
    colours = colourise(mask, PALETTE)
    colours[0] = 255
    assert (colours[0] == 255).all()


def test_overlay_refuses_another_size_and_a_wild_alpha(mask: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="height, width"):
        overlay(np.zeros((13, 9, 3), np.uint8), mask, PALETTE)
    with pytest.raises(ConfigError, match=r"got 1\.5"):
        overlay(np.zeros((9, 13, 3), np.uint8), mask, PALETTE, alpha=1.5)


def test_areas_name_every_class_and_sum_to_one() -> None:
    areas = class_areas(np.array([[0, 0], [0, 2]], np.uint8), ["sky", "tree", "road"])
    assert areas == {"sky": 0.75, "tree": 0.0, "road": 0.25}
    assert sum(areas.values()) == 1
