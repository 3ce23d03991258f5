import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data.synthetic import CLASSES

from .conftest import Command


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def test_good_data_passes(segwright: Command, copy: Path) -> None:
    result = segwright("data", "check", copy)
    assert result.code == 0
    assert "4 train, 2 val, 3 test" in result.out
    assert "next: segwright train" in result.err
    report = json.loads(segwright("data", "check", copy, "--json").out)
    assert report["ok"] is True
    assert report["images"] == {"train": 4, "val": 2, "test": 3}
    assert list(report["classes"]["train"]) == list(CLASSES)


def test_bad_mask_exits_3_and_is_named(segwright: Command, copy: Path) -> None:
    mask = copy / "masks" / "val" / "scene_0000.png"
    Image.fromarray(np.full((64, 96), 77, np.uint8)).save(mask)
    result = segwright("data", "check", copy)
    assert result.code == 3
    assert "error: [unknown-value]" in result.err
    assert "77" in result.err
    assert "next:" not in result.err
    report = segwright("data", "check", copy, "--json")
    assert report.code == 3
    problem = next(found for found in json.loads(report.out)["problems"] if found["code"] == "unknown-value")
    assert Path(problem["file"]).name == mask.name
    assert {"code", "severity", "file", "message", "fix"} <= problem.keys()


def test_what_a_mended_copy_does_not_have_is_followed_by_the_command_that_writes_one(
    segwright: Command, copy: Path
) -> None:
    (copy / "masks" / "val" / "scene_0000.png").unlink()
    result = segwright("data", "check", copy, "--no-html")
    assert result.code == 3
    assert result.err.endswith(f"next: segwright data check {copy} --fix NEW\n")


def test_missing_folder_suggests_the_nearest(segwright: Command, copy: Path) -> None:
    result = segwright("data", "check", copy.with_name("copi"))
    assert (result.code, result.out) == (3, "")
    assert "did you mean 'copy'?" in result.err


def test_write_saves_what_was_understood(segwright: Command, copy: Path) -> None:
    (copy / "data.yaml").unlink()
    result = segwright("data", "check", copy, "--write")
    assert result.code == 0
    assert "understood " in result.err
    assert "class 0" in (copy / "data.yaml").read_text()
    again = segwright("data", "check", copy, "--write")
    assert again.code == 2
    assert "has a data.yaml already" in again.err


def test_data_that_cannot_be_trained_on_is_not_followed_by_advice_to_train(segwright: Command, copy: Path) -> None:
    lines = (copy / "data.yaml").read_text().splitlines(keepends=True)
    (copy / "data.yaml").write_text("".join(line for line in lines if not line.startswith("val:")))
    result = segwright("data", "check", copy)
    assert result.code == 0
    assert "[no-val-split]" in result.err
    assert "next:" not in result.err


def test_of_one_kind_twenty_are_listed_and_all_are_counted(segwright: Command, copy: Path) -> None:
    for index in range(25):
        (copy / "masks" / "train" / f"lonely_{index:02}.png").write_bytes(b"")
    result = segwright("data", "check", copy, "--no-html")
    assert result.err.count("error: [missing-picture]") == 20
    assert "note: [missing-picture] and 5 more like this; --json lists all" in result.err
    assert "errors   50, warnings " in result.out
    problems = json.loads(segwright("data", "check", copy, "--json", "--no-html").out)["problems"]
    assert sum(problem["code"] == "missing-picture" for problem in problems) == 25


def test_a_line_break_in_a_name_does_not_break_the_line(segwright: Command, copy: Path) -> None:
    (copy / "images" / "val" / "a\nb\x1b[31m.png").write_bytes(b"")
    result = segwright("data", "check", copy, "--no-html")
    assert r"a\nb\x1b[31m.png' is empty (0 bytes)" in result.err


def test_the_page_goes_into_the_data_set_or_where_it_is_told(segwright: Command, copy: Path, tmp_path: Path) -> None:
    assert f"wrote {copy / 'data_check.html'}\n" in segwright("data", "check", copy).err
    assert (copy / "data_check.html").is_file()
    (copy / "data_check.html").unlink()
    assert f"wrote {copy / 'data_check.html'}\n" in segwright("data", "check", copy / "data.yaml").err
    (copy / "data_check.html").unlink()
    segwright("data", "check", copy, "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()
    segwright("data", "check", copy, "--no-html")
    assert not (copy / "data_check.html").exists()
    assert segwright("data", "check", copy, "--no-html", "--html", tmp_path / "page.html").code == 2


def test_the_page_goes_into_the_current_folder_where_the_data_set_may_not_be_written(
    segwright: Command, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    from segwright.analysis import check_page
    from segwright.errors import RunError

    written = check_page.write_check_page

    def guarded(report: object, data: object, path: Path) -> None:
        if path.is_relative_to(copy):
            raise RunError(f"could not write {path}: Read-only file system")
        written(report, data, path)  # type: ignore[arg-type]

    monkeypatch.setattr(check_page, "write_check_page", guarded)
    result = segwright("data", "check", copy)
    assert result.code == 0
    assert "the page goes into the current folder" in result.err
    assert (tmp_path / "here" / "data_check.html").is_file()
    assert segwright("data", "check", copy, "--html", copy / "page.html").code == 1


def test_limits_are_options(segwright: Command, copy: Path) -> None:
    assert "[too-large]" in segwright("data", "check", copy, "--no-html", "--max-pixels", 1000).err
    assert "[too-large]" in segwright("data", "check", copy, "--no-html", "--max-bytes", 100).err
    assert segwright("data", "check", copy, "--no-html", "--max-pixels", 0).code == 2


def test_several_processes_say_the_same(segwright: Command, copy: Path) -> None:
    (copy / "masks/val/scene_0000.png").write_bytes(b"")
    one, two = (segwright("data", "check", copy, "--no-html", "--processes", count) for count in (1, 2))
    assert one == two


def test_no_torch_is_loaded_to_check(copy: Path) -> None:
    code = "import sys; from segwright.cli.main import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "data", "check", str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_stops_the_check_with_one_line(copy: Path, processes: str) -> None:
    slow = (
        "import os, sys, time\n"
        "from segwright.cli.main import main\n"
        "from segwright.data.checks.pairs import PairChecker\n"
        # One write: what two processes print at once would be mixed within the line.
        "def check(checker, jobs): os.write(2, b'reading\\n'); time.sleep(60)\n"
        "PairChecker.check = check\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", slow, "data", "check", str(copy), "--processes", processes]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "reading\n"
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.replace("reading\n", "") == "error: stopped by Ctrl-C\nfix: run the command again\n"
    assert time.monotonic() - start < 20


def test_files_unchanged_since_an_earlier_check_are_told(
    segwright: Command, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("segwright.data.check._WORTH_KEEPING", 0.0)
    first = segwright("data", "check", copy, "--no-html")
    again = segwright("data", "check", copy, "--no-html")
    assert "not read again" not in first.err
    assert "pairs were not read again, being unchanged since an earlier check; --fresh reads all again" in again.err
    assert again.out == first.out
    assert "not read again" not in segwright("data", "check", copy, "--no-html", "--fresh").err


def test_json_says_that_there_is_no_data_set_too(segwright: Command, copy: Path) -> None:
    (copy / "data.yaml").write_text("path: .\ntrain: [\n")
    result = segwright("data", "check", copy, "--json")
    assert result.code == 3
    content = json.loads(result.out)
    assert (content["ok"], content["images"], content["classes"]) == (False, {}, {})
    (problem,) = content["problems"]
    assert (problem["code"], problem["file"]) == ("no-data-set", str(copy))
    assert f"error: {problem['message']}\nfix: {problem['fix']}\n" in result.err


def test_what_is_allowed_stands_in_the_next_command(
    segwright: Command, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mask in (copy / "masks/train").iterdir():
        pixels = np.asarray(Image.open(mask)).copy()
        pixels[pixels == list(CLASSES).index("road")] = 0
        Image.fromarray(pixels).save(mask)
    monkeypatch.chdir(copy.parent)
    copy.rename("-x")
    allow = ("--no-html", "--allow", "class-only-in-val")
    result = segwright("data", "check", "./-x", *allow)
    assert result.code == 0
    assert "next: segwright train ./-x --model fast_scnn --set 'data.allow=[class-only-in-val]'\n" in result.err
    assert segwright("data", "check", "./-x", "--no-html").code == 3
