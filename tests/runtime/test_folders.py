import os
import shutil
import signal
from pathlib import Path

import pytest

from segwright.errors import Interrupted
from segwright.runtime.folders import new_folder


def everything_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_appears_whole_and_with_its_parents(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as temporary:
        (temporary / "file").touch()
        assert not (tmp_path / "a" / "b").exists()
    assert everything_below(tmp_path) == ["a", "a/b", "a/b/file"]


def test_an_empty_folder_is_replaced_and_a_full_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as temporary:
        (temporary / "file").touch()
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "empty") as temporary:
        (temporary / "other").touch()
    assert everything_below(tmp_path) == ["empty", "empty/file"]


def test_an_error_leaves_nothing_behind_the_parents_included(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "b" / "c") as temporary:
        (temporary / "file").touch()
        raise ZeroDivisionError
    assert everything_below(tmp_path) == []


def test_parents_in_which_somebody_else_writes_stay(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "other").touch()
        raise ZeroDivisionError
    assert everything_below(tmp_path) == ["a", "a/other"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    said = f"stopped by {number.name}; nothing was written"
    with pytest.raises(Interrupted, match=said), new_folder(tmp_path / "a") as temporary:
        (temporary / "file").touch()
        os.kill(os.getpid(), number)
    assert everything_below(tmp_path) == []
    assert signal.getsignal(number) == before


def test_ctrl_c_stays_what_it_is_and_a_reader_of_damaged_files_does_not_swallow_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except Exception:  # as around Pillow's decoders
            pytest.fail("it was taken for an error of the file")
    assert everything_below(tmp_path) == []


def test_a_second_ctrl_c_does_not_stop_the_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree

    def impatient(path: Path, ignore_errors: bool = False) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", impatient)
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a"):
        os.kill(os.getpid(), signal.SIGINT)
    assert everything_below(tmp_path) == []


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with new_folder(tmp_path / "a"):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert everything_below(tmp_path) == ["a"]
