import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segwright.runtime import compiled as module
from segwright.runtime import prepare, resize_argmax
from segwright.runtime.compiled import code_folder, compiled

needs_numba = pytest.mark.skipif(
    module.importlib.util.find_spec("numba") is None, reason="numba, which compiles the loops, is not installed"
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a process that has looped over nothing yet, on a machine that has compiled nothing yet."""
    monkeypatch.delenv("SEGWRIGHT_COMPILED", raising=False)
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_saved", dict.fromkeys(module._saved, 0.0))
    monkeypatch.setattr(module, "_price", module.functools.cache(module._price.__wrapped__))
    monkeypatch.setattr(module, "_load_once", module.functools.cache(module._load_once.__wrapped__))


def fake_loop(*_: object) -> None: ...


@pytest.fixture
def compiles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_compile", lambda _: fake_loop)


def kept_code(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.rglob("*.nbi"))


def test_importing_the_runtime_imports_no_numba() -> None:
    code = "import sys, segwright.runtime, segwright.metrics; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@needs_numba
@pytest.mark.usefixtures("compiles_at_once")
def test_numpy_begins_and_the_loop_takes_over_when_it_would_have_paid() -> None:
    price = module._price("mask")
    assert [compiled("mask", price / 2) for _ in range(2)] == [None, None]
    assert compiled("mask", price / 2) is fake_loop
    assert compiled("blend", 0) is None  # each loop has its own account


@needs_numba
def test_loop_whose_machine_code_is_kept_takes_over_sooner(tmp_path: Path) -> None:
    unknown = module._price("mask")
    folder = tmp_path / "cache/compiled/runtime_0"
    folder.mkdir(parents=True)
    (folder / "loops.decide_mask-1.py311.nbi").touch()
    module._price.cache_clear()  # type: ignore[attr-defined]
    assert module._price("mask") < unknown / 4


@pytest.mark.usefixtures("compiles_at_once")
def test_environment_chooses_always_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWRIGHT_COMPILED", "never")
    assert compiled("mask", 1e9) is None
    assert compiled("mask", 1e9) is None
    assert not prepare("mask")
    monkeypatch.setenv("SEGWRIGHT_COMPILED", "always")
    assert compiled("mask", 0) is fake_loop


@pytest.mark.usefixtures("compiles_at_once")
def test_prepared_loop_is_there_for_the_first_job() -> None:
    assert prepare("mask")
    assert compiled("mask", 0) is fake_loop


def test_without_numba_numpy_does_it_all(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    expected = resize_argmax(logits, (40, 50)).mask
    monkeypatch.setitem(sys.modules, "numba", None)  # its import raises
    monkeypatch.setenv("SEGWRIGHT_COMPILED", "always")
    with caplog.at_level(logging.INFO, logger="segwright"):
        assert np.array_equal(resize_argmax(logits, (40, 50)).mask, expected)
    assert "the loop 'mask' is not compiled, NumPy does its work" in caplog.text
    assert not prepare("mask")


def test_without_numba_no_amount_of_work_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(module, "_compile", pytest.fail)
    assert [compiled("mask", 1e9) for _ in range(3)] == [None] * 3


def test_code_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert code_folder() == tmp_path / "cache/compiled"
    monkeypatch.delenv("SEGWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert code_folder() == tmp_path / "segwright/compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert code_folder() == tmp_path / ".cache/segwright/compiled"


@needs_numba
def test_machine_code_is_kept_in_the_code_folder_alone(tmp_path: Path) -> None:
    import numba

    beside_the_package = kept_code(Path(module.__file__).parent)
    assert prepare("count_pairs")
    assert kept_code(tmp_path) == ["loops.count_pairs"]
    assert kept_code(code_folder()) == ["loops.count_pairs"]
    assert kept_code(Path(module.__file__).parent) == beside_the_package
    assert numba.config.CACHE_DIR == ""  # as it was


@needs_numba
def test_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert prepare("count_pairs")
    assert kept_code(Path(module.__file__).parent) == []
