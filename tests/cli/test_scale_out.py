"""On a Ray cluster of this machine: the command as users give it, beside the same without it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segwright.cli.main import main
from segwright.data.synthetic import CLASSES
from segwright.deploy.scale_out import Cluster
from segwright.models import create_model
from segwright.models.weights import save_model
from tests.support.exported import write_onnx
from tests.support.extras import needs

from .conftest import Command, Result

needs("ray", "onnx", "onnxruntime")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
"""Ray Data warns of its own old settings."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, five pictures of which one is damaged, and the same sound ones again."""
    import torch

    place = tmp_path_factory.mktemp("ray")
    for seed, name in enumerate(("model", "other")):
        torch.manual_seed(seed)
        save_model(create_model("fast_scnn", num_classes=len(CLASSES)).eval(), place / f"{name}.safetensors")
    words = ["--train", "1", "--val", "1", "--test", "5", "--size", "64x96"]
    assert main(["data", "make", str(place / "scenes"), *words]) == 0
    (place / "scenes" / "images" / "test").rename(place / "pictures")
    (place / "pictures" / "scene_0003.jpg").write_bytes(b"no picture")
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One for all commands of this process, which use what they find connected."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def first(place: Path, cluster: Cluster) -> Path:
    """The output folder of a command that met the damaged picture."""
    assert main(command(place, "out")) == 3
    return place / "out"


def command(place: Path, out: str, *words: str, model: str = "model.safetensors", engine: str = "ray") -> list[str]:
    more = ["--out", str(place / out), "--device", "cpu", "--engine", engine, *words]
    return ["predict", str(place / model), str(place / "pictures"), *more]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def test_masks_are_those_of_plain_predict_to_the_byte(segwright: Command, place: Path, first: Path) -> None:
    assert segwright(*command(place, "plain", engine="local")).code == 3
    assert len(files(place / "plain")) == 4
    assert files(first) == files(place / "plain")


def test_damaged_picture_is_in_the_manifest_and_stops_nobody(place: Path, first: Path) -> None:
    lines = [json.loads(line) for line in (first / "manifest.jsonl").read_text().splitlines()[1:]]
    assert sorted(line["status"] for line in lines) == ["done"] * 4 + ["failed"]
    (failed,) = (line for line in lines if line["status"] == "failed")
    assert failed["source"] == str(place / "pictures" / "scene_0003.jpg")
    assert "cannot be read" in failed["error"]


def test_second_command_predicts_what_is_not_done(segwright: Command, place: Path, first: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in first.glob("*.png")}
    (first / "scene_0000.png").unlink()
    result = segwright(*command(place, "out", "--json"))
    assert result.code == 3
    results = json.loads(result.out)["results"]
    assert ["areas" in entry for entry in results] == [True, False, False, False, False]
    assert [entry.get("skipped", False) for entry in results] == [False, True, True, False, True]
    assert "note: 3 of 5 pictures are done and unchanged: skipped" in result.err
    assert "scene_0003.jpg' cannot be read" in result.err
    assert "1 of 5 pictures could not be predicted" in result.err
    after = {path: path.stat().st_mtime_ns for path in first.glob("*.png")}
    assert {path.name for path in before if before[path] != after[path]} == {"scene_0000.png"}


def test_done_folder_needs_no_cluster(
    segwright: Command, place: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    picture = place / "pictures" / "scene_0001.jpg"
    words = ("--out", first, "--engine", "ray", "--device", "cpu")
    result = segwright("predict", place / "model.safetensors", picture, *words)
    assert (result.code, result.out) == (0, "")
    assert "1 of 1 pictures are done" in result.err


def refused(result: Result, code: int, said: str) -> None:
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("fix: ")


def test_folder_of_another_model_is_refused(segwright: Command, place: Path, first: Path) -> None:
    before = files(first)
    refused(segwright(*command(place, "out", model="other.safetensors")), 2, "begun with another model")
    assert files(first) == before


def test_error_of_the_model_keeps_its_exit_code(segwright: Command, place: Path, cluster: Cluster) -> None:
    (place / "broken.onnx").write_bytes(b"nothing")
    refused(segwright(*command(place, "new", model="broken.onnx")), 3, "broken.onnx' cannot be read")
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--workers 0", 2, "--workers must be at least 1, got 0"),
        ("--device cuda:1", 2, "Ray gives each worker its GPU"),
        ("--engine local --workers 2", 2, "are for --engine ray"),
        ("--engine dask", 2, "'dask'"),
    ],
)
def test_wrong_usage_is_told(segwright: Command, place: Path, words: str, code: int, said: str) -> None:
    refused(segwright(*command(place, "new"), *words.split()), code, said)
    assert not (place / "new").exists()


def test_missing_ray_names_the_extra(segwright: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = segwright(*command(place, "new"))
    refused(result, 4, "engine 'ray' needs ray, which is not installed")
    assert result.err.endswith('fix: pip install "segwright[cluster]"\n')
    assert not (place / "new").exists()


def processes_that_know(word: str) -> list[str]:
    """Those with the word in their environment, as Linux tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_ctrl_c_leaves_no_process_no_half_file_and_nothing_of_rays_in_the_home_folder(
    place: Path, tmp_path: Path
) -> None:
    names, model = tmp_path / "list.txt", write_onnx(tmp_path / "model.onnx")
    names.write_text(f"{place / 'pictures' / 'scene_0001.jpg'}\n" + "".join(f"missing/{n}.jpg\n" for n in range(9999)))
    (tmp_path / "home").mkdir()
    environment = os.environ | {"HOME": str(tmp_path / "home"), "SEGWRIGHT_CACHE": str(tmp_path / "cache")}
    words = ["predict", model, "--list", names, "--out", tmp_path / "out", "--engine", "ray"]
    code = "import sys; from segwright.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words), "--workers", "1"], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    manifest, end = tmp_path / "out" / "manifest.jsonl", time.monotonic() + 90
    while process.poll() is None and time.monotonic() < end:
        if manifest.exists() and manifest.read_bytes().count(b"\n") > 1:
            break
        time.sleep(0.05)
    assert not Path("/proc").exists() or len(processes_that_know(str(tmp_path / "cache"))) > 1
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "stopped by Ctrl-C" in err
    assert err.endswith("fix: give the same command to go on\n")
    assert 1 < len([json.loads(line) for line in manifest.read_text().splitlines()]) < 10_001
    assert not (tmp_path / "home" / ".ray").exists()
    assert list(manifest.parent.rglob(".segwright-*")) == []
    assert processes_that_know(str(tmp_path / "cache")) == []
