from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.contact_sheet import draw_sheet, save_sheet
from segwright.analysis.previews import Candidate, Preview, draw_previews
from segwright.data.masks import Labels
from segwright.errors import RunError

from .pairs import IGNORED, LABELS, PALETTE, mask_of

TILE = (60, 80)


@pytest.fixture
def previews(tmp_path: Path) -> list[Preview]:
    paths = []
    for number, mask in enumerate((mask_of(0, 1), mask_of(0, IGNORED), mask_of(1, 77))):
        Image.fromarray(mask).save(tmp_path / f"mask{number}.png")
        Image.new("RGB", (16, 12), (90, 120, 30)).save(tmp_path / f"image{number}.png")
        paths.append(Candidate(f"pair {number}", tmp_path / f"image{number}.png", tmp_path / f"mask{number}.png"))
    return draw_previews(paths, LABELS, TILE)


def pixels_of(sheet: Image.Image, colour: tuple[int, ...]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_pictures_and_masks_stand_on_the_sheet_in_full(previews: list[Preview]) -> None:
    sheet = draw_sheet("data", "facts", previews, LABELS, TILE)
    assert pixels_of(sheet, (90, 120, 30)) == 3 * 60 * 80
    assert pixels_of(sheet, PALETTE[1]) >= 2 * 60 * 40  # half of two masks, and the legend
    assert pixels_of(sheet, (255, 255, 255)) > sheet.width * sheet.height / 4


def test_the_legend_names_the_classes_that_are_shown(previews: list[Preview]) -> None:
    all_shown = draw_sheet("data", "facts", previews, LABELS, TILE)
    without = draw_sheet("data", "facts", previews[1:2], LABELS, TILE)
    assert pixels_of(without, PALETTE[1]) == 0
    car = draw_sheet("data", "facts", previews, Labels(LABELS.classes, (*PALETTE[:2], (1, 222, 3))), TILE)
    assert pixels_of(car, (1, 222, 3)) == 0
    assert pixels_of(all_shown, (230, 0, 160)) > 0


def test_what_is_missing_is_a_box_with_words() -> None:
    empty = Preview("lonely").without("picture", "cannot be read").without("mask", "no mask").without("overlay", "none")
    sheet = draw_sheet("data", "facts", [empty], LABELS, TILE)
    assert pixels_of(sheet, (238, 240, 244)) > 3 * 60 * 80 * 0.7


def test_names_of_any_length_and_script_fit(previews: list[Preview]) -> None:
    names = ["x" * 500, "Straße → 道路", "two\nlines \udcff"]
    renamed = [replace(preview, name=name) for name, preview in zip(names, previews, strict=True)]
    labels = Labels(("y" * 200, "ö\n", "z"), PALETTE)
    assert draw_sheet("t" * 900, "f" * 900, renamed, labels, TILE).width < 2000


@pytest.mark.parametrize("count", [1, 2, 8, 40])
def test_sheets_of_many_pairs_have_a_shape_for_screens(previews: list[Preview], count: int) -> None:
    sheet = draw_sheet("data", "facts", previews[:1] * count, LABELS, TILE)
    assert 0.5 < sheet.width / sheet.height < 3


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG")])
def test_the_ending_says_the_format(tmp_path: Path, name: str, kind: str) -> None:
    save_sheet(Image.new("RGB", (8, 8), (9, 9, 9)), tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        save_sheet(Image.new("RGB", (8, 8)), tmp_path / "none" / "a.png")
    assert list(tmp_path.iterdir()) == []
