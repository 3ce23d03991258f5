"""The memory of a process of its own."""

import json
import logging
from pathlib import Path

import pytest

from segwright.data.synthetic import draw_scene
from segwright.deploy import fresh_process
from segwright.deploy.fresh_process import peak_memory, predict
from tests.support.exported import write_onnx
from tests.support.extras import needs

needs("onnx", "onnxruntime")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    from PIL import Image

    Image.fromarray(draw_scene(0, (64, 96))[0]).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_a_process_without_torch_is_smaller_than_this_one(tmp_path: Path, picture: Path) -> None:
    file = write_onnx(tmp_path / "a.onnx")
    peak = peak_memory(file, picture, device="auto", runtime="onnx", precision="auto", threads=1)
    here = fresh_process._peak_here()
    assert peak is not None
    assert here is not None
    assert 10 < peak < here  # torch is imported here


def test_the_process_imports_nothing_from_where_the_user_is(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('a script of the user')")
    monkeypatch.chdir(tmp_path)
    file = write_onnx(tmp_path / "a.onnx")
    assert peak_memory(file, picture, device="auto", runtime="onnx", precision="auto", threads=1) is not None


def test_a_process_that_fails_is_told(tmp_path: Path, picture: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        peak = peak_memory(tmp_path / "none.onnx", picture, device="auto", runtime="onnx", precision="auto", threads=1)
    assert peak is None
    assert "does not exist" in caplog.text


def test_the_process_writes_a_mask_and_what_it_became(tmp_path: Path, picture: Path) -> None:
    options = json.dumps({"device": "auto", "runtime": "onnx", "precision": "auto", "threads": 1})
    mask, peak = tmp_path / "mask.png", tmp_path / "peak.json"
    predict(str(write_onnx(tmp_path / "a.onnx")), str(picture), str(mask), str(peak), options)
    assert mask.stat().st_size > 0
    assert json.loads(peak.read_text()) == pytest.approx(fresh_process._peak_here(), rel=0.5)


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fresh_process, "_STATUS", tmp_path / "none")
    assert fresh_process._peak_here() is None
