from pathlib import Path

import pytest

from segwright.errors import DataError
from segwright.runtime.listing import files_below
from tests.support.closed import close_folders


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in files_below(root))


def test_files_are_found_at_any_depth_and_hidden_ones_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "deep/er/b.png", ".c.png", ".hidden/d.png", "deep/.DS_Store")
    assert found(tmp_path) == ["a.png", "deep/er/b.png"]


def test_links_to_folders_are_followed_to_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.png", "elsewhere/deep/b.png", "further/c.png", "root/d.png")
    (tmp_path / "root/more").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/on").symlink_to(tmp_path / "further")
    assert found(tmp_path / "root") == ["d.png", "more/a.png", "more/deep/b.png", "more/on/c.png"]


def test_a_link_that_is_given_is_followed_too(tmp_path: Path) -> None:
    touch(tmp_path, "root/a.png")
    (tmp_path / "link").symlink_to("root")
    assert found(tmp_path / "link") == ["a.png"]


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    touch(tmp_path, "root/a/x.png", "root/b/y.png", "other.png")
    (tmp_path / "root/out").symlink_to("..")
    for link, to in (("root/self", "self"), ("root/a/up", ".."), ("root/a/side", "../b"), ("root/b/side", "../a")):
        (tmp_path / link).symlink_to(to)
    assert found(tmp_path / "root") == ["a/side/y.png", "a/x.png", "b/side/x.png", "b/y.png", "self"]


def test_two_links_to_one_folder_both_count(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.png")
    for link in ("root/one", "root/two"):
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).symlink_to("../elsewhere")
    assert found(tmp_path / "root") == ["one/a.png", "two/a.png"]


def test_a_folder_that_may_not_be_read_is_named_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    close_folders(monkeypatch)
    with pytest.raises(DataError, match=f"folder '{tmp_path}/closed' cannot be read") as caught:
        found(tmp_path)
    assert caught.value.fix == "grant access to it"
    told: list[str] = []
    assert list(files_below(tmp_path, lambda reason: told.append(reason.filename))) == [tmp_path / "a.png"]
    assert told == [f"{tmp_path}/closed"]
