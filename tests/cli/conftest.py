"""A command line run in this process, a tiny data set, and a run trained on it for four steps."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from segwright.cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Result]

TINY = (
    "--batch-size",
    "2",
    "--crop-size",
    "64",
    "96",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--set",
    "data.workers=0",
)


@pytest.fixture
def segwright(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line; nothing it says ever holds a traceback or an escape code."""

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        result = Result(code, *capsys.readouterr())
        assert "Traceback" not in result.err
        assert "\x1b" not in result.err + result.out
        return result

    return run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "scenes"
    assert main(["data", "make", str(folder), "--train", "4", "--val", "2", "--test", "3", "--size", "64x96"]) == 0
    return folder


@pytest.fixture(scope="session")
def run_folder(scenes: Path) -> Path:
    folder = scenes.parent / "run"
    assert main(["train", str(scenes), "--iters", "4", *TINY, "--set", "train.eval_every=4", "--out", str(folder)]) == 0
    return folder
