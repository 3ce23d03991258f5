"""Choosing by measurement, with networks that only pretend to take their time."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.errors import RunError
from segwright.inference import Predictor, choosing
from segwright.inference.choosing import MANY, fastest
from segwright.inference.runtimes import Candidate, Options
from tests.support.exported import record, write_onnx
from tests.support.extras import needs

BATCH = np.zeros((1, 3, 8, 9), np.float32)


class Clock:
    """Time that passes only while a network runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Pretender:
    """A network that takes the given milliseconds, or fails."""

    takes, gives, align_corners, precision = "images", "logits", False, "fp32"
    info = record().info

    def __init__(self, runtime: str, milliseconds: float | None, clock: Clock) -> None:
        self.runtime, self.milliseconds, self.clock, self.runs = runtime, milliseconds, clock, 0

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.runs += 1
        if self.milliseconds is None:
            raise RunError("it fails")
        self.clock.now += self.milliseconds / 1000
        return np.zeros((1, 4, *batch.shape[2:]), np.float32)


Ways = Callable[..., list[Candidate]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    clock = Clock()
    monkeypatch.setattr(choosing, "time", clock)
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    return clock


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def ways(clock: Clock) -> Ways:
    """Candidates by name and milliseconds; ``slow_start`` gives the seconds that some take to start."""

    def make(slow_start: dict[str, float] | None = None, **milliseconds: float | None) -> list[Candidate]:
        networks = {name: Pretender(name, value, clock) for name, value in milliseconds.items()}
        seconds = slow_start or {}
        return [
            Candidate(name, lambda network=network: network, seconds.get(name, 0.0))
            for name, network in networks.items()
        ]

    return make


def choose(
    candidates: list[Candidate],
    model: Path,
    pictures: int = 100,
    batch: np.ndarray = BATCH,
    options: Options | None = None,
) -> tuple[str, dict[str, float | None]]:
    chosen = fastest(candidates, candidates[0].start(), batch, pictures, model, options or Options())
    return chosen.network.runtime, chosen.times


def test_fastest_is_taken_with_what_was_measured(ways: Ways, model: Path) -> None:
    assert choose(ways(onnx=12.0, openvino=10.0), model) == ("openvino", {"onnx": 12.0, "openvino": 10.0})


def test_choice_is_remembered(ways: Ways, model: Path) -> None:
    choose(ways(onnx=12.0, openvino=10.0), model)
    again = ways(onnx=1.0, openvino=99.0)
    assert choose(again, model)[0] == "openvino"
    assert again[0].start().runs == 0
    assert again[1].start().runs == 1  # a first picture, which is slower than the others


@pytest.mark.parametrize("change", ["file", "size", "options", "machine"])
def test_anything_that_may_change_the_choice_measures_anew(
    ways: Ways, model: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(ways(onnx=12.0, openvino=10.0), model)
    batch, options = BATCH, Options()
    if change == "file":
        model.write_bytes(b"others")
    if change == "size":
        batch = np.zeros((1, 3, 8, 10), np.float32)
    if change == "options":
        options = Options(threads=1)
    if change == "machine":
        monkeypatch.setattr(choosing, "cpu_name", lambda: "another")
    assert choose(ways(onnx=1.0, openvino=99.0), model, batch=batch, options=options)[0] == "onnx"


def test_weights_beside_an_xml_count_as_the_model(ways: Ways, tmp_path: Path) -> None:
    model, weights = tmp_path / "a.xml", tmp_path / "a.bin"
    model.write_bytes(b"graph")
    weights.write_bytes(b"1")
    choose(ways(one=12.0, two=10.0), model)
    weights.write_bytes(b"2")
    assert choose(ways(one=1.0, two=99.0), model)[0] == "one"


def test_one_that_fails_is_left_out_and_not_tried_again(
    ways: Ways, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose(ways(onnx=12.0, openvino=None), model) == ("onnx", {"onnx": 12.0, "openvino": None})
    assert "'openvino' is left out: it fails" in caplog.text
    again = ways(onnx=12.0, openvino=None)
    assert choose(again, model)[0] == "onnx"
    assert again[1].start().runs == 0


def test_slow_start_is_tried_only_where_it_may_pay(ways: Ways, model: Path) -> None:
    def candidates() -> list[Candidate]:
        return ways({"compiled": 60.0}, torch=500.0, compiled=200.0)

    assert choose(candidates(), model, pictures=599) == ("torch", {"torch": 500.0})
    assert choose(candidates(), model, pictures=600) == ("compiled", {"torch": 500.0, "compiled": 200.0})
    assert choose(candidates(), model, pictures=100)[0] == "torch"  # known to be faster, but not worth its start


@pytest.mark.parametrize("content", ["", "[]", "{", '{"KEY": 3}', '{"KEY": {"onnx": "fast"}}'])
def test_damaged_record_is_measured_again(ways: Ways, model: Path, tmp_path: Path, content: str) -> None:
    choose(ways(onnx=12.0, openvino=10.0), model)
    file = tmp_path / "cache" / "runtimes" / "measured.json"
    (key,) = json.loads(file.read_text())
    file.write_text(content.replace("KEY", key))
    assert choose(ways(onnx=1.0, openvino=99.0), model)[0] == "onnx"
    assert json.loads(file.read_text())[key] == {"onnx": 1.0, "openvino": 99.0}


def test_cache_that_cannot_be_written_is_done_without(ways: Ways, model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert choose(ways(onnx=12.0, openvino=10.0), model)[0] == "openvino"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Pictures announced to each measurement that a predictor makes."""
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    seen: list[int] = []

    def pretend(ways: list[Candidate], started: object, batch: object, pictures: int, *_: object) -> choosing.Chosen:
        seen.append(pictures)
        return choosing.Chosen(ways[1].start(), {"onnx": 2.0, "openvino": 1.0})

    monkeypatch.setattr("segwright.inference.predictor.fastest", pretend)
    return seen


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    needs("onnxruntime", "openvino")
    return write_onnx(tmp_path / "a.onnx")


def test_few_pictures_are_not_worth_a_measurement(exported: Path, measured: list[int]) -> None:
    predictor = Predictor(exported)
    predictor([np.zeros((8, 9, 3), np.uint8)] * (MANY - 1))
    assert (predictor.runtime, measured) == ("onnx", [])
    assert predictor.describe() == "onnx, fp32 (starts fastest)"


def test_many_pictures_are_measured_once(exported: Path, measured: list[int]) -> None:
    predictor = Predictor(exported)
    results = predictor([np.zeros((8, 9, 3), np.uint8)] * MANY)
    assert len(results) == MANY
    assert (predictor.runtime, measured) == ("openvino", [MANY])
    assert predictor.describe() == "openvino, fp32 (measured: onnx 2.0 ms, openvino 1.0 ms)"


def test_pictures_that_come_one_by_one_can_be_announced(exported: Path, measured: list[int]) -> None:
    predictor = Predictor(exported)
    predictor.expect(1000)
    for _ in range(2):
        predictor(np.zeros((8, 9, 3), np.uint8))
    assert (predictor.runtime, measured) == ("openvino", [1000])


def test_runtime_that_was_asked_for_is_kept(exported: Path, measured: list[int]) -> None:
    predictor = Predictor(exported, runtime="onnx")
    predictor.expect(1000)
    predictor(np.zeros((8, 9, 3), np.uint8))
    assert (predictor.describe(), measured) == ("onnx, fp32", [])
