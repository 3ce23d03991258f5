from pathlib import Path

import numpy as np
import pytest

from segwright.analysis.choice import (
    candidates_with,
    choose_candidates,
    classes_in_masks,
    codes_of,
    list_candidates,
    spread,
)
from segwright.analysis.previews import Candidate
from segwright.data.dataset import SegmentationData
from segwright.data.masks import MaskReader

from .pairs import IGNORED, LABELS, mask_of, write_pairs

READER = MaskReader(LABELS)


def chosen_names(
    data: SegmentationData, count: int, wanted: tuple[int, ...] = (0, 1, 2), **codes: tuple[str, ...]
) -> str:
    """Names of the chosen pairs; codes are given by a picture's name."""
    by_file = {str(data.folders["train"].images / f"{name}.png"): found for name, found in codes.items()}
    candidates = list_candidates(data, "train")
    return "".join(found.name for found in choose_candidates(candidates, by_file, READER, wanted, count))


def test_lonely_files_and_missing_folders_are_listed_without_an_error(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0), mask_of(1), mask_of(2)], "val": [mask_of(0)]})
    folders = data.folders["train"]
    (folders.masks / "a.png").unlink()
    (folders.images / "c.png").unlink()
    found = list_candidates(data, "train")
    assert [(part.name, part.image is None, part.mask is None) for part in found] == [
        ("a", False, True),
        ("b", False, False),
        ("c", True, False),
    ]
    for path in (*data.folders["val"].images.iterdir(), *data.folders["val"].masks.iterdir()):
        path.unlink()
    data.folders["val"].images.rmdir()
    assert list_candidates(data, "val") == []


def test_few_pairs_show_every_class(tmp_path: Path) -> None:
    masks = [mask_of(0)] * 9 + [mask_of(1), mask_of(0), mask_of(1, 2)]
    data = write_pairs(tmp_path / "data", {"train": masks})
    shown = chosen_names(data, 2)
    assert "l" in shown  # road and car
    assert len(shown) == 2


def test_pairs_reach_over_the_whole_split(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)] * 16})
    assert chosen_names(data, 4) == "aeim"


def test_a_pair_at_fault_of_each_kind_comes_first(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0, 1, 2)] * 12})
    shown = chosen_names(data, 4, d=("cut",), e=("cut",), f=("cut",), k=("grey",))
    assert shown[:2] == "dk"
    assert len(shown) == 4
    assert not set(shown[2:]) & set("def")


def test_all_are_shown_where_there_are_few(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)] * 5})
    assert chosen_names(data, 8) == "abcde"
    assert chosen_names(data, 8, a=("cut",), c=("cut",), b=("cut",), d=("cut",)) == "abcde"
    assert chosen_names(data, 4, a=("cut",), c=("cut",), b=("cut",), d=("cut",)) == "abce"


def test_masks_are_read_until_all_classes_are_found(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)] * 100 + [mask_of(2)]})
    candidates = list_candidates(data, "train")
    shown = choose_candidates(candidates, {}, READER, (0, 2), 3)
    assert candidates[-1] in shown


def test_the_search_ends_where_many_pixels_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segwright.analysis.choice._MOST_PIXELS", 10 * 12 * 16)
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)] * 100 + [mask_of(2)]})
    candidates = list_candidates(data, "train")
    shown = choose_candidates(candidates, {}, READER, (0, 2), 3)
    assert len(shown) == 3
    assert candidates[-1] not in shown


def test_a_mask_that_cannot_be_read_has_no_classes(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0, IGNORED), mask_of(77)]})
    found = classes_in_masks([*list_candidates(data, "train"), Candidate("c", None, None)], READER)
    assert [seen.classes for seen in found] == [frozenset({0}), None, None]


def test_a_class_is_searched_only_until_enough_masks_hold_it(tmp_path: Path) -> None:
    masks = [mask_of(0), mask_of(2), mask_of(0, 2), mask_of(2)]
    data = write_pairs(tmp_path / "data", {"train": masks})
    told: list[tuple[int, int]] = []
    found = candidates_with(
        list_candidates(data, "train"), READER, 2, 2, tell=lambda done, total: told.append((done, total))
    )
    assert [candidate.name for candidate in found] == ["b", "c"]
    assert told == [(1, 4), (2, 4), (4, 4)]


def test_codes_of_picture_and_mask_are_joined() -> None:
    candidate = Candidate("a", Path("i/a.png"), Path("m/a.png"))
    codes = {"i/a.png": ["cut"], "m/a.png": ["grey", "cut"], "m/b.png": ["other"]}
    assert codes_of(candidate, codes) == ["cut", "grey"]


def test_spread_keeps_everything_and_begins_far_apart() -> None:
    candidates = [Candidate(str(number), None, None) for number in range(100)]
    order = [int(candidate.name) for candidate in spread(candidates)]
    assert sorted(order) == list(range(100))
    assert np.diff(sorted(order[:8])).min() >= 8
    assert spread([]) == []
