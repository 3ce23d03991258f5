"""What the processes of a run are given, and going on with a run in another number of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segwright.config import make_config
from segwright.data import SegmentationData, load_data
from segwright.engine.changes import fingerprint
from segwright.engine.folder import RunFolder
from segwright.engine.given import compare_given, for_processes
from segwright.errors import ConfigError, DataError
from tests.engine.runs import write_stripes


@pytest.fixture
def stripes(tmp_path: Path) -> SegmentationData:
    return load_data(write_stripes(tmp_path / "stripes", 3, {"train": 2, "val": 1}))


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


def test_files_whose_names_are_not_utf8_are_compared(stripes: SegmentationData) -> None:
    for kind in ("images", "masks"):
        path = getattr(stripes.folders["train"], kind) / "0.png"
        try:
            path.rename(path.with_stem("bad\udcff"))
        except OSError:
            pytest.skip("the file system takes UTF-8 alone")
    config = make_config({"data": {"path": str(stripes.source)}})
    compare_given(config, stripes)
    assert fingerprint(stripes, config)["pictures of train"] == 2


@pytest.mark.parametrize(
    ("path", "name"), [("bad\udcff", "bad\udcff"), (".", "bad\udcff"), ("bad\udcff/data.yaml", "a")]
)
def test_data_set_whose_name_the_records_cannot_hold_is_refused(
    stripes: SegmentationData, path: str, name: str
) -> None:
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        compare_given(make_config({"data": {"path": path}}), replace(stripes, name=name))
    assert caught.value.fix.startswith("rename the folder")
