"""Going on with a run in another number of processes."""

import json
from pathlib import Path

import pytest

from segwright.config import make_config
from segwright.engine.folder import RunFolder
from segwright.engine.given import for_processes
from segwright.errors import ConfigError


def started_with(folder: Path, processes: int) -> RunFolder:
    run = RunFolder(folder)
    run.environment.write_text(json.dumps({"processes": processes}))
    return run


@pytest.mark.parametrize(("before", "now", "size"), [(2, 2, 3), (2, 1, 6), (2, 3, 2), (1, 3, 1)])
def test_pictures_of_a_batch_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, now: int, size: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(now))
    config = make_config({"train": {"batch_size": 3}})
    assert for_processes(config, started_with(tmp_path, before)).train.batch_size == size


@pytest.mark.parametrize(
    ("kind", "reason"), [("auto", "cannot be shared equally"), ("local", "normalisation is local")]
)
def test_what_cannot_be_shared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    config = make_config({"train": {"batch_size": 3, "batch_norm": kind}})
    with pytest.raises(ConfigError, match=reason) as caught:
        for_processes(config, started_with(tmp_path, 2))
    assert caught.value.fix == "resume it with 2 processes"


def test_run_that_does_not_say_how_many_goes_on_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    config = make_config({"train": {"batch_size": 3}})
    assert for_processes(config, RunFolder(tmp_path)) == config
