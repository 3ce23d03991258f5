import json
from datetime import date
from pathlib import Path

import pytest

from segwright.engine.folder import RunFolder, new_run_path, open_run
from segwright.errors import ConfigError


def test_run_paths_are_dated_and_numbered(tmp_path: Path) -> None:
    name = f"{date.today().isoformat()}_camvid_fast_scnn"
    for expected in (name, f"{name}-2", f"{name}-3"):
        path = new_run_path("camvid", "fast_scnn", tmp_path)
        assert path == tmp_path / expected
        path.mkdir()


def test_empty_folder_is_used_and_a_full_one_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.create()
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoints", "samples"]
    with pytest.raises(ConfigError, match="exists and is not empty"):
        folder.create()


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    for path in (tmp_path / "run", tmp_path / "run" / "inner"):
        with pytest.raises(ConfigError, match="run folder"):
            RunFolder(path).create()


def test_folder_without_a_run_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "camvid").mkdir()
    with pytest.raises(ConfigError, match=r"camvit' is no run folder .*; did you mean 'camvid'"):
        open_run(tmp_path / "camvit")
    with pytest.raises(ConfigError, match=r"no config\.yaml"):
        open_run(tmp_path / "camvid")


def test_records_come_back_without_a_line_that_a_crash_cut_short(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.records() == []
    folder.append({"step": 1, "loss": 0.1})
    folder.append({"step": 2, "loss": 0.2})
    with folder.metrics.open("a") as file:
        file.write('{"step": 3, "lo')
    assert folder.records() == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]


def test_later_records_are_forgotten_and_the_file_is_whole_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.append({"step": step})
    with folder.metrics.open("a") as file:
        file.write('{"st')
    folder.forget_after(2)
    folder.append({"step": 3})
    assert [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()] == [1, 2, 3]


def test_run_folder_whose_name_is_not_utf8_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        RunFolder(tmp_path / "bad\udcff").create()
    assert list(tmp_path.iterdir()) == []
