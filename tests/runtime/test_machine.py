import os
from pathlib import Path

import pytest

from segwright.errors import ConfigError
from segwright.runtime.machine import available_cpus, cache_folder, cpu_name, cpu_threads, has_matrix_units


def test_threads_are_as_asked_or_as_torch_reads_them_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_threads(5) == 5
    assert cpu_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    assert cpu_threads() == 2
    for value in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert cpu_threads() == available_cpus() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not bind processes to CPUs")
def test_cpus_that_we_may_not_use_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert available_cpus() == 1


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_wrong_number_of_threads_is_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=str(threads)):
        cpu_threads(threads)


def test_name_tells_processors_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: A CPU\ncpu family\t: 6\nmodel\t: 143\nstepping\t: 8\n\nmodel\t: 9\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert cpu_name() == "A CPU 6.143.8"


def test_name_is_known_where_the_system_tells_little(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_file)
    assert cpu_name()


def test_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "own"))
    assert cache_folder("runtimes") == tmp_path / "own" / "runtimes"
    monkeypatch.delenv("SEGWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("runtimes") == tmp_path / "segwright" / "runtimes"


@pytest.mark.parametrize(("flags", "has"), [("fma avx512_bf16 amx_bf16", True), ("avx512_bf16", False), ("", False)])
def test_matrix_units_are_told_by_the_flags(monkeypatch: pytest.MonkeyPatch, flags: str, has: bool) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: f"model name\t: A CPU\nflags\t\t: {flags}\n")
    assert has_matrix_units() is has
