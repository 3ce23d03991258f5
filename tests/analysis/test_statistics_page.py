from pathlib import Path

import pytest

from segwright.analysis.statistics import split_statistics
from segwright.analysis.statistics_page import write_statistics_page
from segwright.data.masks import Labels
from segwright.errors import RunError

from .markup import Page, parsed
from .pairs import CLASSES, IGNORED, mask_of, write_pairs

MASKS = {"train": [mask_of(0, 1, 2), mask_of(0, IGNORED)], "val": [mask_of(0, 1, size=(8, 8)), mask_of(0)]}
WEIGHTS = {"log": {"sky": 0.5, "road": 1.25, "car": 2.0}}


@pytest.fixture
def page(tmp_path: Path) -> Page:
    data = write_pairs(tmp_path / "data", MASKS)
    found = [split_statistics(data, split) for split in MASKS]
    write_statistics_page(data, found, WEIGHTS, tmp_path / "page.html")
    return parsed((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_each_split_has_its_part_and_the_weights_come_last(page: Page) -> None:
    assert page.text_of("h2") == ["train: 2 pictures", "val: 2 pictures", "Class weights"]
    assert "all 16 x 12 (width x height)" in page.text_of("p")
    assert "25.00 % of the pixels are ignored" in page.text_of("p")
    assert "2 sizes" in page.text_of("summary")
    assert page.text_of("td")[-6:] == ["sky", "0.5", "road", "1.25", "car", "2"]


def test_classes_and_what_stands_together_are_tables(page: Page) -> None:
    cells = page.text_of("td")
    assert cells[:6] == ["sky", "", "58.33 %", "168", "2", "43.75 %"]
    assert cells[18:22] == ["0sky", "2", "1", "1"]


def test_the_page_needs_no_other_file(page: Page) -> None:
    assert page.links == []
    assert "script" not in page.tags


def test_weights_may_be_missing_and_classes_absent(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"test": [mask_of(IGNORED)]})
    write_statistics_page(data, [split_statistics(data, "test")], {}, tmp_path / "page.html")
    page = parsed((tmp_path / "page.html").read_text())
    assert page.text_of("h2") == ["test: 1 picture"]
    assert page.text_of("span").count("none") == len(CLASSES)


def test_the_table_of_very_many_classes_is_left_out(tmp_path: Path) -> None:
    labels = Labels(tuple(f"class {number}" for number in range(61)))
    data = write_pairs(tmp_path / "data", {"test": [mask_of(0, 60)]}, labels)
    write_statistics_page(data, [split_statistics(data, "test")], {}, tmp_path / "page.html")
    page = parsed((tmp_path / "page.html").read_text())
    assert "Which of the 61 classes stand together: --json." in page.text_of("p")
    assert len(page.text_of("td")) == 61 * 6


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"test": [mask_of(0)]})
    with pytest.raises(RunError):
        write_statistics_page(data, [split_statistics(data, "test")], {}, tmp_path / "none" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
