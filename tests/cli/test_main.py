import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from segwright import __version__
from segwright.cli import main as main_module
from segwright.cli import models
from segwright.errors import ConfigError, Interrupted

from .conftest import Command

COMMANDS = (
    *("demo", "train", "evaluate", "predict", "bench", "export", "models list", "models show"),
    *("data check", "data convert", "data make", "data limits", "data show", "data split", "data stats"),
)
FIRST_WORDS = tuple(dict.fromkeys(words.split()[0] for words in COMMANDS))


def error_and_fix(err: str) -> tuple[str, str]:
    """The two lines that end a failed command."""
    error, fix = err.splitlines()[-2:]
    assert error.startswith("error: ")
    assert fix.startswith("fix: ")
    return error, fix


def test_command_line_imports_neither_torch_nor_numpy_nor_rich() -> None:
    code = "import sys, segwright.cli.main; print([n for n in ('torch', 'numpy', 'PIL', 'rich') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_help_lists_every_command(segwright: Command) -> None:
    result = segwright("--help")
    assert result.code == 0
    assert [name for name in FIRST_WORDS if f"\n  {name} " not in result.out] == []


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help(segwright: Command, words: str) -> None:
    result = segwright(*words.split(), "--help")
    assert result.code == 0
    assert f"Usage: segwright {words}" in result.out


def test_these_tests_know_every_command() -> None:
    found: set[str] = set()
    for name, command in getattr(get_command(main_module.app), "commands", {}).items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}" for word in inner} or {name}
    assert found == set(COMMANDS)


def test_version_goes_to_stdout(segwright: Command) -> None:
    assert segwright("--version") == (0, f"segwright {__version__}\n", "")


def test_no_command_shows_help_as_wrong_usage(segwright: Command) -> None:
    result = segwright()
    assert (result.code, result.out) == (2, "")
    assert "Usage: segwright" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "did you mean 'train'?"),
        ("train --epoch 3", "--epochs"),
        ("train data --iters many", "--iters"),
        ("train data --crop-size 64", "--crop-size"),
        ("evaluate run", "DATA"),
        ("predict run x.png --format jpeg", "jpeg"),
        ("models", "command"),
    ],
)
def test_wrong_usage_exits_2_with_two_lines(segwright: Command, words: str, said: str) -> None:
    result = segwright(*words.split())
    error, fix = error_and_fix(result.err)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 2
    assert said in error
    assert "--help" in fix


def test_option_that_lacks_a_value_names_the_help_of_its_command(segwright: Command) -> None:
    for words, path in (("train data --crop-size 64", "train"), ("data make out --size", "data make")):
        _, fix = error_and_fix(segwright(*words.split()).err)
        assert fix == f"fix: segwright {path} --help lists what there is"


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(models, "say_next", fail)


def test_missing_package_names_its_extra(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ModuleNotFoundError("No module named 'accelerate.utils'", name="accelerate.utils"), monkeypatch)
    result = segwright("models", "list")
    error, fix = error_and_fix(result.err)
    assert result.code == 4
    assert error == "error: this command needs accelerate, which is not installed"
    assert fix == 'fix: pip install "segwright[train]"'


def test_fault_of_ours_is_one_line_without_a_traceback(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError("division\nby zero"), monkeypatch)
    result = segwright("models", "show", "fast_scnn")
    error, fix = error_and_fix(result.err)
    assert result.code == 1
    assert error == "error: ZeroDivisionError: division by zero"
    assert "--debug" in fix


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    fail_with(ZeroDivisionError("zero"), monkeypatch)
    words = ["models", "show", "fast_scnn"]
    assert main_module.main(["--debug", *words] if place == "before" else [*words, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_file_that_the_system_refuses_is_no_fault_of_ours(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(PermissionError(13, "Permission denied", "secret.yaml"), monkeypatch)
    result = segwright("models", "list")
    error, fix = error_and_fix(result.err)
    assert result.code == 1
    assert "secret.yaml" in error
    assert "fault" not in fix


def test_ctrl_c_exits_130(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert segwright("models", "list").code == 130


def test_stopped_training_exits_130_and_says_how_to_go_on(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(Interrupted("stopped at step 3", fix="go on with: segwright train --resume r"), monkeypatch)
    result = segwright("models", "list")
    assert result.code == 130
    assert error_and_fix(result.err)[1] == "fix: go on with: segwright train --resume r"


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_closed_pipe_is_quiet(word: str) -> None:
    code = "import sys; from segwright.cli.main import main; sys.exit(main())"
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", code, word]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


def test_offline_keeps_the_hub_silent(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert segwright("data", "check", "nowhere", "--offline").code == 3
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_warnings_of_the_package_are_shown_once(segwright: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> None:
        for frames in (3, 3, 4):
            logging.getLogger("segwright.runtime.images").warning("only the first of %d frames is read", frames)

    monkeypatch.setattr(models, "say_next", warn)
    first, second = (f"warning: only the first of {frames} frames is read\n" for frames in (3, 4))
    assert segwright("models", "show", "fast_scnn").err == first + second


def test_json_is_one_document_on_stdout(segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path) -> None:
    picture = scenes / "images" / "test" / "scene_0000.jpg"
    for words in (
        ("models", "list"),
        ("models", "show", "fast_scnn"),
        ("data", "check", scenes),
        ("evaluate", run_folder, scenes),
        ("predict", run_folder, picture, "--out", tmp_path / "out"),
    ):
        assert isinstance(json.loads(segwright(*words, "--json").out), dict), words


def test_command_that_would_do_its_work_twice_is_refused_in_several_processes(
    segwright: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    result = segwright("evaluate", "runs/first", "data")
    assert result.code == 2
    assert error_and_fix(result.err)[0] == "error: segwright evaluate works in one process, and 2 were started"


@pytest.mark.parametrize(
    ("is_told", "local_rank", "is_quiet"),
    [(None, "0", False), (None, "1", True), (True, "0", True), (False, "1", False)],
)
def test_of_several_processes_one_tells_an_error(
    monkeypatch: pytest.MonkeyPatch, is_told: bool | None, local_rank: str, is_quiet: bool
) -> None:
    """The one that knows; before they have met, the first on its machine."""
    error = ConfigError("no such thing", fix="give another")
    error.is_told = is_told
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert main_module.is_told_elsewhere(error) == is_quiet
