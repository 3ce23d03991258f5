from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from segwright.data.formats.files import Pictures, files_below, has_keys, safe_name, stem_of
from segwright.errors import DataError

Write = Callable[..., Path]


def test_links_are_followed_once(tmp_path: Path, picture: Write) -> None:
    picture("a/1.jpg")
    (tmp_path / "source" / "loop").symlink_to(tmp_path / "source")
    (tmp_path / "linked").symlink_to(tmp_path / "source" / "a")
    assert [path.name for path in files_below(tmp_path / "source", (".jpg",))] == ["1.jpg"]
    assert [path.name for path in files_below(tmp_path / "linked", (".jpg",))] == ["1.jpg"]


def test_hidden_files_and_other_suffixes_are_left_out(tmp_path: Path, picture: Write) -> None:
    for name in (".a.jpg", ".b/c.jpg", "d.png", "E.JPG"):
        picture(name)
    assert [path.name for path in files_below(tmp_path / "source", (".jpg",))] == ["E.JPG"]


def test_a_picture_is_found_by_the_end_of_its_path_and_by_its_split(tmp_path: Path, picture: Write) -> None:
    paths = [picture(f"{split}2017/x/a.jpg") for split in ("train", "val")]
    pictures = Pictures(tmp_path / "source")
    assert pictures.find(PurePosixPath("x/a.jpg"), "labels", "val") == paths[1]
    assert pictures.find(PurePosixPath("train2017/x/a.jpg"), "labels") == paths[0]
    with pytest.raises(DataError, match="could be meant"):
        pictures.find(PurePosixPath("a.jpg"), "labels")


def test_accents_have_two_spellings(tmp_path: Path, picture: Write) -> None:
    path = picture("Stra\u00dfe_e\u0301.jpg")
    assert Pictures(tmp_path / "source").find(PurePosixPath("Stra\u00dfe_\u00e9.jpg"), "labels") == path


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:/a.jpg", "", ".a.jpg", "a\n.jpg"]
)
def test_names_that_lead_out_or_are_none_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="labels"):
        safe_name(name, "labels")


def test_dots_inside_a_name_stay() -> None:
    assert stem_of(PurePosixPath("x/a.b.JPG")) == "x/a.b"
    assert stem_of(PurePosixPath("a.v1")) == "a.v1"


def test_keys_are_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segwright.data.formats.files._BLOCK", 8)
    (tmp_path / "a.json").write_text('{"1234": 0, "images": [], "more": 1}')
    assert has_keys(tmp_path / "a.json", (b'"images"', b'"more"'), 100)
    assert not has_keys(tmp_path / "a.json", (b'"images"', b'"none"'), 100)
