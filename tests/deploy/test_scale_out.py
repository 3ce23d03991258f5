import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segwright.deploy.scale_out import Attempts, Share, Work, Worker, remove_unfinished, share
from tests.support.exported import write_onnx
from tests.support.extras import needs
from tests.support.rasters import pattern, placed, write_tiff


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "pictures", "expected"),
    [
        ([8], [], None, 100, Share(4, 2, 0)),
        ([8], [], None, 3, Share(3, 2, 0)),
        ([1], [], None, 100, Share(1, 1, 0)),
        ([8], [], 1, 100, Share(1, 8, 0)),
        ([8], [], 3, 100, Share(3, 2, 0)),
        ([2], [], 8, 100, Share(8, 0.25, 0)),
        ([3], [], 7, 100, Share(7, 0.4285, 0)),
        ([4, 64], [0, 0], 2, 100, Share(2, 32, 0)),  # both on the large machine
        ([16, 16], [0, 0], 3, 100, Share(3, 8, 0)),  # 10 cores would fit only twice
        ([16, 16], [4, 4], None, 100, Share(8, 1, 1)),
        ([16], [1], 4, 100, Share(4, 1, 0.25)),
        ([2], [1], 4, 100, Share(4, 0.5, 0.25)),
        ([16], [2], 3, 100, Share(3, 1, 0.5)),  # a worker cannot have a part of two
    ],
)
def test_cluster_is_shared_out_so_that_all_workers_fit(
    cpus: list[int], gpus: list[int], workers: int | None, pictures: int, expected: Share
) -> None:
    assert share(cpus, gpus, workers, pictures) == pytest.approx(expected)


def test_only_what_was_not_finished_counts_as_begun() -> None:
    attempts = Attempts()
    assert [attempts.begin(7), attempts.begin(7)] == [0, 1]
    attempts.end(7)
    assert attempts.begin(7) == 0


class Remote:
    """Stands in for a handle of an actor."""

    def __init__(self, attempts: Attempts) -> None:
        self.begin, self.end = SimpleNamespace(remote=attempts.begin), SimpleNamespace(remote=attempts.end)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Counted in this process."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda value: value))
    return Attempts()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)).save(path)
    return path


def line(index: int, source: Path) -> str:
    return json.dumps({"index": index, "job": [str(source), str(source.parent / f"mask{index}.png"), None, None]})


def answers(worker: Worker, *lines: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in worker({"job": lines})["outcome"]]


def test_worker_writes_the_mask_and_tells_what_it_read(tmp_path: Path, picture: Path, attempts: Attempts) -> None:
    worker = Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts))
    (answer,) = answers(worker, line(5, picture))
    assert (tmp_path / "mask5.png").exists()
    assert (answer["index"], answer["size"], "error" in answer) == (5, picture.stat().st_size, False)
    assert answer["mtime_ns"] == picture.stat().st_mtime_ns
    assert answer["runtime"].startswith("onnx, fp32")
    assert attempts.begin(5) == 0


def test_worker_keeps_a_georeference(tmp_path: Path, attempts: Attempts) -> None:
    needs("rasterio")
    import rasterio

    source = write_tiff(tmp_path / "field.tif", pattern(40, 50), **placed())
    job = json.dumps({"index": 0, "job": [str(source), str(tmp_path / "mask.tif"), None, None]})
    (answer,) = answers(Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts)), job)
    assert sum(answer["areas"].values()) == pytest.approx(1)
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert (mask.crs, mask.transform) == tuple(placed().values())


def test_worker_goes_on_behind_a_picture_that_fails(tmp_path: Path, picture: Path, attempts: Attempts) -> None:
    worker = Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts))
    bad, good = answers(worker, line(0, tmp_path / "missing.png"), line(1, picture))
    assert (bad["error"], bad["size"]) == (f"picture '{tmp_path / 'missing.png'}' does not exist", None)
    assert "error" not in good


def test_fault_at_a_picture_is_told_of_that_picture(
    tmp_path: Path, picture: Path, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no\nmore")

    worker = Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts))
    monkeypatch.setattr(worker, "predictor", fail)
    (answer,) = answers(worker, line(0, picture))
    assert answer["error"] == f"picture '{picture}' failed (MemoryError: no more)"


def test_picture_that_killed_two_workers_is_given_up(tmp_path: Path, picture: Path, attempts: Attempts) -> None:
    worker = Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts))
    for _ in range(2):
        attempts.begin(0)  # and then never ended
    first, second = answers(worker, line(0, picture), line(1, picture))
    assert "2 workers died" in first["error"]
    assert "error" not in second


def test_warnings_travel_with_their_picture(tmp_path: Path, picture: Path, attempts: Attempts) -> None:
    frames = tmp_path / "frames.gif"
    Image.new("L", (9, 8)).save(frames, save_all=True, append_images=[Image.new("L", (9, 8), 255)])
    worker = Worker(Work(str(write_onnx(tmp_path / "m.onnx")), {}, 1), 1, Remote(attempts))
    first, second = answers(worker, line(0, frames), line(1, picture))
    assert [len(first["warnings"]), second["warnings"]] == [1, []]
    assert "2 frames" in first["warnings"][0]


def test_model_that_cannot_be_used_is_told_with_its_kind(tmp_path: Path, picture: Path, attempts: Attempts) -> None:
    worker = Worker(Work(str(tmp_path / "none.onnx"), {}, 1), 1, Remote(attempts))
    (answer,) = answers(worker, line(0, picture))
    assert answer.keys() == {"kind", "message", "fix"}
    assert (answer["kind"], "does not exist" in answer["message"]) == ("WeightsError", True)


def test_only_unfinished_files_of_this_run_are_taken_away(tmp_path: Path) -> None:
    for name, time in ((".segwright-old.png", 50), (".segwright-new.png", 150), ("mask.png", 150)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time, time))
    remove_unfinished([tmp_path, tmp_path / "missing"], since=100)
    assert {path.name for path in tmp_path.iterdir()} == {".segwright-old.png", "mask.png"}
