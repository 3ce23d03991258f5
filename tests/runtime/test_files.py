import errno
import os
from pathlib import Path

import pytest

from segwright.errors import RunError
from segwright.runtime import replacing, write_atomically


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_text("old")
    return path


def only_file(path: Path) -> bool:
    return list(path.parent.iterdir()) == [path]


def test_new_content_replaces_the_old(old: Path) -> None:
    write_atomically(old, b"new")
    assert old.read_bytes() == b"new"
    assert only_file(old)


def test_old_file_is_there_until_the_end_of_the_block(old: Path) -> None:
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert old.read_text() == "old"
        assert temporary.parent == old.parent
        assert temporary.suffix == old.suffix
    assert old.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_failing_writer_leaves_the_old_file_alone(old: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)), replacing(old) as temporary:
        temporary.write_text("half")
        raise failure
    assert old.read_text() == "old"
    assert only_file(old)


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_full_disk_names_the_file_and_keeps_the_old_one(old: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(Path, step, disk_full)
    with pytest.raises(RunError) as caught:
        write_atomically(old, b"new")
    assert caught.value.message == f"could not write {old}: No space left on device"
    assert caught.value.fix.startswith("free space")
    assert old.read_text() == "old"
    assert only_file(old)


def test_disk_full_at_the_flush_keeps_the_old_file(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(RunError, match="No space left"):
        write_atomically(old, b"new")
    assert old.read_text() == "old"
    assert only_file(old)


def test_file_is_flushed_before_it_replaces_and_the_folder_after(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content_at_flush = []
    monkeypatch.setattr(os, "fsync", lambda _: content_at_flush.append(old.read_text()))
    write_atomically(old, b"new")
    assert content_at_flush == ["old", "new"]


def test_file_that_need_not_be_durable_is_not_flushed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", disk_full)
    write_atomically(old, b"new", durable=False)
    assert old.read_text() == "new"


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not write") as caught:
        write_atomically(tmp_path / "gone" / "a.txt", b"new")
    assert caught.value.fix == f"make the folder '{tmp_path / 'gone'}' first"


def test_link_is_followed(old: Path) -> None:
    link = old.with_name("link.safetensors")
    link.symlink_to(old)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert old.read_text() == "new"


def test_longest_allowed_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".png")  # 254 bytes
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", b"new")
    (tmp_path / "b.txt").write_bytes(b"new")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_name_that_is_too_long_shall_be_shortened(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="File name too long") as caught:
        write_atomically(tmp_path / ("x" * 256), b"new")
    assert caught.value.fix == "shorten the name"
    assert list(tmp_path.iterdir()) == []
