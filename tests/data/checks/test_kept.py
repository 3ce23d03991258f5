import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import check, check_data, load_data
from segwright.data.check import DataReport
from segwright.data.checks.pairs import Job, PairChecker

from ..faults import Plot

Reads = Callable[..., tuple[DataReport, int]]


@pytest.fixture
def data(plot: Plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight pairs whose results are kept one by one, however soon they are read."""
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(check, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(check, "_KEPT_PIECES", (1,))
    return plot.root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Checks in this process, and counts the pairs that were read for it."""
    read_before, counts = PairChecker.check, [0]

    def counted(checker: PairChecker, jobs: list[object]) -> object:
        counts[0] += len(jobs)
        return read_before(checker, jobs)  # type: ignore[arg-type]

    monkeypatch.setattr(PairChecker, "check", counted)

    def call(path: Path, **options: bool) -> tuple[DataReport, int]:
        counts[0] = 0
        return check_data(path, processes=1, **options), counts[0]

    return call


def test_unchanged_files_are_not_read_again_and_the_report_is_the_same(data: Path, reads: Reads) -> None:
    Image.fromarray(np.full((48, 64, 3), 7, np.uint8)).save(data / "masks/train/train_0.png")  # colours, unknown
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(data / "masks/train/train_1.png")  # a number, unknown
    for kind, value in (("images", 9), ("masks", 1)):  # grey, and of another size
        Image.fromarray(np.full((8, 9), value, np.uint8)).save(data / kind / "train/train_2.png")
    first, read = reads(data)
    again, read_again = reads(data)
    assert (read, read_again) == (sum(first.images.values()), 0)
    assert first.unchanged == 0
    assert again == replace(first, unchanged=read)
    assert {"colour-mask", "unknown-value", "mixed-sizes", "mixed-channels"} <= {p.code for p in again.problems}


def test_a_file_that_changed_is_read_again(data: Path, reads: Reads) -> None:
    reads(data)
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(data / "masks/train/train_1.png")
    report, read = reads(data)
    assert read == 1
    assert "unknown-value" in {problem.code for problem in report.problems}


def test_a_file_less_changes_few_pieces() -> None:
    jobs = [Job("train", f"images/{number:04}.png", None) for number in range(1000)]
    before = {tuple(jobs[index] for index in piece) for piece in check._lasting_pieces(jobs, 16)}
    for gone in (0, 123, 500, 999):
        fewer = jobs[:gone] + jobs[gone + 1 :]
        after = {tuple(fewer[index] for index in piece) for piece in check._lasting_pieces(fewer, 16)}
        assert sum(map(len, after - before)) <= 4 * 16
    assert sorted(job for piece in before for job in piece) == jobs
    assert max(map(len, before)) <= 32


def test_pieces_with_an_error_are_read_again(data: Path, reads: Reads) -> None:
    mask = data / "masks/val/val_0.png"
    whole, times = mask.read_bytes(), mask.stat()
    mask.write_bytes(whole[:-20])
    assert not reads(data)[0].ok
    mask.write_bytes(whole)
    os.utime(mask, ns=(times.st_atime_ns, times.st_mtime_ns))
    report, read = reads(data)
    assert report.ok
    assert read > 0


@pytest.mark.parametrize("change", ["classes", "fresh"])
def test_another_class_table_and_fresh_read_all_again(data: Path, reads: Reads, change: str) -> None:
    pictures = reads(data)[1]
    if change == "classes":
        yaml = data / "data.yaml"
        yaml.write_text(yaml.read_text().replace("sky", "heaven"))
    report, read = reads(data, fresh=change == "fresh")
    assert (report.unchanged, read) == (0, pictures)


def test_a_stopped_check_goes_on(data: Path, reads: Reads) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_data(data, processes=1, progress=stop)
    report, read = reads(data)
    assert report.ok
    assert report.unchanged > sum(report.images.values()) // 2
    assert read + report.unchanged == sum(report.images.values())


@pytest.mark.parametrize("place", ["empty", "cut", "head", "body"])
def test_a_damaged_result_is_as_good_as_none(data: Path, reads: Reads, tmp_path: Path, place: str) -> None:
    before, read = reads(data)
    kept = list((tmp_path / "cache").rglob("*.json"))
    assert len(kept) == read
    for file in kept:
        content = bytearray(file.read_bytes())
        if place in ("head", "body"):
            content[3 if place == "head" else -20] ^= 1
        file.write_bytes(content[: {"empty": 0, "cut": -5}.get(place)])
    assert reads(data) == (before, read)


def test_the_folder_may_be_written_in_another_way(
    data: Path, reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(data / "masks/train/train_1.png")
    Image.open(data / "images/train/train_2.png").save(data / "images/train/train_2.gif")  # read as it is, with a note
    (data / "images/train/train_2.png").unlink()
    (data / "images/train/train_2.gif").rename(data / "images/train/train_2.png")
    reads(data)
    (tmp_path / "link").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    for path in (Path(data.name), Path("link")):
        report, read = reads(path)
        fresh, _ = reads(path, fresh=True)
        assert (read, report.unchanged) == (0, 8)
        assert {"wrong-suffix", "unknown-value"} <= {problem.code for problem in report.problems}
        assert replace(report, unchanged=0) == fresh


def test_an_error_that_a_fresh_reading_finds_is_not_forgotten(data: Path, reads: Reads) -> None:
    mask = data / "masks/val/val_0.png"
    times = mask.stat()
    assert reads(data)[0].ok
    mask.write_bytes(mask.read_bytes()[:-20] + bytes(20))
    os.utime(mask, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not reads(data, fresh=True)[0].ok
    assert not reads(data)[0].ok


def test_a_cache_that_cannot_be_written_keeps_nothing(
    data: Path, reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "file"))
    assert reads(data) == reads(data)


def test_several_processes_keep_and_find_the_same(data: Path) -> None:
    first, again = check_data(data, processes=2), check_data(load_data(data), processes=2)
    assert again == replace(first, unchanged=sum(first.images.values()))


def test_other_splits_and_processes_find_the_same_pieces(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_KEPT_PIECES", (1, 8, 64))
    check_data(data, processes=1)
    assert check_data(data, splits=["train"], processes=2).unchanged == 5


def test_small_sets_are_read_each_time(plot: Plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    check_data(plot.root)
    assert check_data(plot.root).unchanged == 0
    assert not (tmp_path / "cache").exists()
