import os
import shutil
import signal
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segwright.data.formats import archives, convert
from segwright.errors import DataError, Interrupted, SegmentationError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]


@pytest.fixture
def folder(picture: Write, mask_file: Write, tmp_path: Path) -> Path:
    """Two pictures with masks beside them."""
    for name in ("a", "b"):
        picture(f"my data/{name}.jpg")
        mask_file(f"my data/{name}.png", np.eye(*SIZE, dtype=np.uint8))
    return tmp_path / "source"


def pack(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_an_archive_is_read_as_the_folder_in_it(folder: Path, converted: Run, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", folder))
    result = converted(archive)
    assert sum(result.done.images.values()) == 2
    assert result.told[0][0] == "index"
    head = (tmp_path / "out/data.yaml").read_text()
    assert head.startswith(f"# converted from {archive}\n")
    assert ".segwright-" not in head


def test_errors_name_the_archive_and_nothing_is_left(folder: Path, converted: Run, tmp_path: Path) -> None:
    (folder / "my data/a.png").unlink()
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", folder))
    with pytest.raises(DataError, match=r"1 file without mask: '.*data.zip/my data/a.jpg'"):
        converted(archive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.zip", "source"]


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../a.png", b"x")], r"holds '../a.png', which leads out of its folder"),
        ([("/etc/a.png", b"x")], r"which leads out of its folder"),
        ([("C:\\a.png", b"x")], r"which leads out of its folder"),
        ([("b\\..\\..\\a.png", b"x")], r"which leads out of its folder"),
        ([(link(), b"/etc/passwd")], r"holds 'a.png', which is a link"),
        ([("a", b"x"), ("a/b", b"x")], r"holds 'a' twice"),
        ([("a\nb.png", b"x")], r"which is no name of a file"),
    ],
)
def test_what_leads_out_is_refused_and_nothing_is_written(
    tmp_path: Path, entries: list[tuple[zipfile.ZipInfo | str, bytes]], message: str
) -> None:
    archive = pack(tmp_path / "bad.zip", *entries)
    with pytest.raises(DataError, match=message):
        convert(archive, tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = pack(tmp_path / "bad.zip", ("a.png", b"x"), ("a.png", b"y"))
    with pytest.raises(DataError, match=r"holds 'a.png' twice"):
        convert(archive, tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_BELIEVED_BYTES", 10_000)
    archive = pack(tmp_path / "bomb.zip", ("a.bmp", bytes(9_000_000)))
    with pytest.raises(DataError, match=r"would grow from \d+ to 9000000 bytes"):
        convert(archive, tmp_path / "out")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(DataError, match="holds 3 files, more than 2"):
        convert(pack(tmp_path / "many.zip", *((f"{i}.png", b"x") for i in range(3))), tmp_path / "out")


def test_a_damaged_archive_is_named(folder: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", folder))
    content = bytearray(archive.read_bytes())
    for damaged in (content[:-30], content[:60] + bytes(40) + content[100:], b""):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"data.zip' cannot be unpacked \("):
            convert(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.zip", "source"]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 700), st.binary(max_size=6), st.integers(0, 4))
def test_any_bytes_are_a_data_set_or_one_of_our_errors(
    folder: Path, tmp_path: Path, position: int, piece: bytes, length: int
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", folder))
    content = archive.read_bytes()
    archive.write_bytes(content[:position] + piece + content[position + length :])
    try:
        convert(archive, tmp_path / "out", name="index")
    except SegmentationError as error:
        assert "\n" not in error.message
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.zip", "source"]


def test_a_termination_while_pictures_are_written_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", folder))
    for source in (folder, archive):
        with pytest.raises(Interrupted, match="stopped by SIGTERM; nothing was written"):
            convert(source, tmp_path / "new" / "out", progress=lambda done, total: os.kill(os.getpid(), signal.SIGTERM))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data.zip", "source"]
