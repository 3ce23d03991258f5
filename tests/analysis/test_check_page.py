from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.check_page import write_check_page
from segwright.data.check import DataReport, Problem, check_data
from segwright.data.checks.problem import Place
from segwright.data.dataset import SegmentationData
from segwright.data.masks import Labels
from segwright.errors import RunError

from .markup import Page, parsed
from .pairs import IGNORED, PALETTE, mask_of, write_pairs

MASKS = {"train": [mask_of(0, 1, 2), mask_of(0), mask_of(1, IGNORED)], "val": [mask_of(0, 1)]}


def written(data: SegmentationData, path: Path, report: DataReport | None = None) -> Page:
    """The page of a data set, read again."""
    write_check_page(report or check_data(data), data, path)
    return parsed(path.read_text(encoding="utf-8"))


def problem(number: int = 0, **changes: str) -> Problem:
    given = Problem("code", "error", f"file {number}", f"message {number}", f"fix {number}")
    return replace(given, **changes)  # type: ignore[arg-type]


def with_problems(data: SegmentationData, *problems: Problem) -> DataReport:
    return replace(check_data(data), problems=problems)


def captions(page: Page) -> list[str]:
    return page.text_of("figcaption")


def test_good_data_is_ok_with_pictures_classes_and_pairs(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    report = replace(check_data(data), problems=())
    page = written(data, tmp_path / "page.html", report)
    assert page.text_of("h1") == ["data"]
    words = page.text_of("p")
    assert "ok" in words
    assert any(text.startswith("train 3 pictures (16 x 12), val 1 picture") for text in words)
    cells = page.text_of("td")
    assert cells[:4] == ["sky", "", "55.00 %", "2"]  # 72 + 192 of 480 labelled pixels
    assert captions(page) == ["a16 x 12", "b16 x 12", "c16 x 12", "a16 x 12"]
    assert page.tags.count("img") == 12


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    page = written(write_pairs(tmp_path / "data", MASKS), tmp_path / "page.html")
    assert page.links == []
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    text = (tmp_path / "page.html").read_text()
    assert "http" not in text
    assert "url(" not in text


def test_the_verdict_counts_errors_and_warnings(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    report = with_problems(data, problem(), problem(1), problem(2, severity="warning"))
    page = written(data, tmp_path / "page.html", report)
    assert "2 errors, 1 warning" in page.text_of("p")


def test_every_problem_is_there_with_file_message_and_fix(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    report = with_problems(data, *(problem(number) for number in range(30)))
    page = written(data, tmp_path / "page.html", report)
    cells = page.text_of("td")
    assert all(f"{what} {number}" in cells for what in ("file", "message", "fix") for number in range(30))
    assert page.text_of("summary") == ["22 more"]


def test_a_problem_of_several_files_lists_them(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    places = (Place("m/one.png", 3, 4, 5000), Place("m/two.png"))
    report = with_problems(data, replace(problem(), places=places, count=7))
    page = written(data, tmp_path / "page.html", report)
    assert page.text_of("summary") == ["7 files, the first 2 of them"]
    cells = page.text_of("td")
    first = cells.index("m/one.png")
    assert cells[first : first + 8] == ["m/one.png", "3", "4", "5,000", "m/two.png", "", "", ""]


def test_problems_stand_by_code_errors_first_and_a_common_fix_once(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    problems = [
        problem(0, severity="warning", code="grey"),
        problem(1, code="cut", fix="copy it"),
        problem(2, code="grey", severity="warning"),
        problem(3, code="cut", fix="copy it"),
    ]
    page = written(data, tmp_path / "page.html", with_problems(data, *problems))
    assert page.text_of("h3") == ["error cut (2)", "warning grey (2)"]
    assert page.text_of("p").count("Fix: copy it") == 1


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    nasty = '<script>alert("1")</script>&\'x'
    labels = Labels((nasty, "road", "car"), PALETTE)
    data = write_pairs(tmp_path / "data", MASKS, labels)
    name = '<i>"&.png'
    for folder in (data.folders["train"].images, data.folders["train"].masks):
        (folder / "a.png").rename(folder / name)
    data = replace(data, name=nasty, understood=(nasty,))
    report = with_problems(data, problem(code=nasty, file=nasty, message=nasty, fix=nasty))
    page = written(data, tmp_path / "page.html", report)
    assert "script" not in page.tags and "i" not in page.tags
    assert page.text_of("h1") == [nasty]
    assert any(caption.startswith('<i>"&') for caption in captions(page))


def test_pairs_at_fault_come_first_and_name_their_code(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0, 1, 2)] * 20, "val": [mask_of(0)]})
    (data.folders["train"].images / "k.png").write_bytes(b"no picture")
    Image.fromarray(mask_of(77)).save(data.folders["train"].masks / "m.png")
    page = written(data, tmp_path / "page.html")
    assert captions(page)[0].startswith("k unreadable-picture")
    assert captions(page)[1].startswith("m unknown-value")
    assert "picture: cannot be read" in page.text_of("div")
    assert len([caption for caption in captions(page) if caption]) == 12 + 1


def test_lonely_and_mismatched_pairs_are_labelled_boxes(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    train = data.folders["train"]
    (train.masks / "a.png").unlink()
    (train.images / "b.png").unlink()
    Image.fromarray(mask_of(0, size=(6, 8))).save(train.masks / "c.png")
    (train.masks / "d.png").write_bytes(b"")
    boxes = written(data, tmp_path / "page.html").text_of("div")
    for words in (
        "mask: no mask",
        "picture: no picture",
        "overlay: picture 16 x 12, mask 8 x 6",
        "mask: cannot be read",
    ):
        assert words in boxes


def test_a_split_without_its_folders_is_no_exception(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", MASKS)
    for path in sorted(data.folders["val"].images.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    page = written(data, tmp_path / "page.html")
    assert "missing-folder" in "".join(page.text_of("h3"))


def test_a_rare_class_is_shown(tmp_path: Path) -> None:
    masks = [mask_of(0)] * 90
    masks[37] = mask_of(0, 2)
    page = written(write_pairs(tmp_path / "data", {"train": masks}), tmp_path / "page.html")
    assert not any(text.startswith("In none of these") for text in page.text_of("p"))


def test_the_same_data_makes_the_same_page(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0, 1, 2)] * 30})
    report = check_data(data)
    for name in ("one", "two"):
        write_check_page(report, data, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_twelve_pairs_of_photographs_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0, 1, 2, size=(300, 400))] * 14})
    for path in data.folders["train"].images.iterdir():
        smooth = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(
            (400, 300), Image.Resampling.BICUBIC
        )
        smooth.save(path)
    written(data, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 400_000


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)]})
    with pytest.raises(RunError):
        write_check_page(check_data(data), data, tmp_path / "none" / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_the_next_command_fits_the_verdict(tmp_path: Path) -> None:
    data = replace(write_pairs(tmp_path / "my data", MASKS), source=tmp_path / "my data")
    page = written(data, tmp_path / "page.html", with_problems(data))
    assert page.text_of("pre") == [f"segwright train '{tmp_path}/my data' --model fast_scnn"]
    page = written(data, tmp_path / "page.html", with_problems(data, problem()))
    assert page.text_of("pre") == [f"segwright data check '{tmp_path}/my data'"]


def test_paths_are_given_from_the_data_sets_own_folder(tmp_path: Path) -> None:
    data = replace(write_pairs(tmp_path / "data", MASKS), source=tmp_path / "data")
    file = tmp_path / "data" / "masks" / "train" / "a.png"
    report = with_problems(data, problem(file=str(file), message=f"mask '{file}' is bad"))
    cells = written(data, tmp_path / "page.html", report).text_of("td")
    assert "masks/train/a.png" in cells
    assert "mask 'masks/train/a.png' is bad" in cells
