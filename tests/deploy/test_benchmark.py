"""What is measured, of whom, and in which order; never how long it takes."""

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segwright.data import load_data
from segwright.data.synthetic import write_dataset
from segwright.deploy import benchmark as module
from segwright.deploy.benchmark import Row, benchmark, interleave
from segwright.deploy.roofline import Roofline
from segwright.errors import ConfigError, DataError, MissingExtraError, RunError, ShapeError, WeightsError
from segwright.inference import Predictor
from segwright.models import create_model, save_model
from tests.support.exported import record, write_onnx
from tests.support.extras import needs

needs("onnx", "onnxruntime")

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not measured, loops are not compiled, and no process is started."""
    monkeypatch.setattr(module, "measure_roofline", lambda precision, threads: Roofline(precision, 1e12, 1e10))
    monkeypatch.setattr(module, "prepare", lambda: True)
    monkeypatch.setattr(module, "peak_memory", lambda *_, **__: 123.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = create_model("fast_scnn", num_classes=3)
    save_model(network, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def check(row: Row) -> None:
    """Complete and possible."""
    assert 0 < row.network_milliseconds_p50 <= row.network_milliseconds_p95
    assert 0 < row.milliseconds_p50 <= row.milliseconds_p95
    assert row.images_per_second > 0
    assert row.peak_memory_mb == 123
    assert row.size == SIZE


def test_calls_take_turns_and_the_clock_is_read_around_each() -> None:
    now, order = [0.0], []

    def call(name: str, *seconds: float) -> Callable[[], None]:
        times = iter(seconds)

        def run() -> None:
            order.append(name)
            now[0] += next(times)

        return run

    told: list[tuple[int, int]] = []
    calls = {"a": call("a", 1, 2, 3), "b": call("b", 10, 20, 30)}
    times = interleave(calls, 3, clock=lambda: now[0], tell=lambda *done: told.append(done))
    assert order == ["a", "b"] * 3
    assert times == {"a": [1, 2, 3], "b": [10, 20, 30]}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_rows_are_complete_and_measured_round_by_round(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = Predictor.__call__

    def noted(self: Predictor, source: object) -> object:
        calls.append(self.precision)
        return original(self, source)  # type: ignore[call-overload]

    monkeypatch.setattr(Predictor, "__call__", noted)
    report = benchmark([str(model), "bisenet"], size=SIZE, rounds=2, threads=1, precisions=("fp32", "bf16"))
    keys = [(row.model, row.runtime, row.precision) for row in report.rows]
    assert keys == [(name, "torch", word) for name in (str(model), "bisenet") for word in ("fp32", "bf16")]
    assert calls == ["fp32", "bf16"] * 2 * 3  # warm-up and two rounds, of two models
    for row in report.rows:
        check(row)
        assert row.threads == 1
        assert row.peak_share is not None and row.bound_ms is not None and row.gmacs is not None
        assert row.peak_share == pytest.approx(2 * row.gmacs / row.network_milliseconds_p50)  # of 1000 GFLOP/s
        assert row.bound_ms > 0
    assert [row.is_fresh for row in report.rows] == [False, False, True, True]
    assert report.rows[0].params != report.rows[2].params
    assert (report.rounds, report.data, report.left_out) == (2, None, ())


def test_json_holds_the_promised_keys(model: Path) -> None:
    document = benchmark([str(model)], size=SIZE, rounds=1).to_json()
    assert {
        "model", "runtime", "precision", "size", "milliseconds_p50", "milliseconds_p95", "peak_memory_mb", "params",
        "gmacs", "network_milliseconds_p50", "network_milliseconds_p95", "images_per_second", "threads", "miou",
        "peak_share", "bound_ms",
    } <= document["rows"][0].keys()  # fmt: skip
    assert document["rooflines"]["fp32"]["flops"] == 1e12


def test_networks_are_exported_for_other_runtimes_and_nothing_is_left_beside_the_model(model: Path) -> None:
    report = benchmark([str(model)], size=SIZE, rounds=1, runtimes=("torch", "onnx"), precisions=("fp32", "int8"))
    assert [(row.runtime, row.precision) for row in report.rows] == [("torch", "fp32"), ("onnx", "fp32")]
    assert report.rows[0].gmacs == report.rows[1].gmacs
    reasons = [(way.runtime, way.precision, way.error.message) for way in report.left_out]
    assert reasons == [
        ("torch", "int8", "torch computes in no int8 here"),
        ("onnx", "int8", "networks are exported for onnx in fp32"),
    ]
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_an_exported_file_is_run_by_all_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("openvino")
    file = write_onnx(tmp_path / "a.onnx")
    report = benchmark([str(file)], size=SIZE, rounds=1)
    assert [row.runtime for row in report.rows] == ["onnx", "openvino"]
    assert report.rows[0].params == report.rows[1].params is not None


def test_the_work_of_a_file_of_an_unknown_network_is_not_known(tmp_path: Path) -> None:
    given = record()
    unknown = dataclasses.replace(given, info=dataclasses.replace(given.info, name="of tomorrow"))
    (row,) = benchmark([str(write_onnx(tmp_path / "a.onnx", unknown))], size=SIZE, runtimes=("onnx",)).rows
    check(row)
    assert (row.params, row.gmacs, row.peak_share, row.bound_ms) == (None, None, None, None)


def test_a_data_set_adds_the_miou_and_gives_fresh_networks_its_classes(tmp_path: Path) -> None:
    data = load_data(write_dataset(tmp_path / "scenes", counts={"train": 1, "val": 1}, size=SIZE))
    report = benchmark(["fast_scnn"], size=SIZE, rounds=1, data=data)
    assert report.data == "scenes/val"
    assert report.rows[0].miou is not None
    assert 0 <= report.rows[0].miou <= 1


def test_other_classes_and_an_unknown_split_are_refused_before_any_work(model: Path, tmp_path: Path) -> None:
    data = load_data(write_dataset(tmp_path / "scenes", counts={"train": 1, "val": 1}, size=SIZE))
    with pytest.raises(DataError, match="the model's classes"):
        benchmark([str(model)], size=SIZE, data=data)
    with pytest.raises(DataError, match="has no split 'test'"):
        benchmark(["fast_scnn"], size=SIZE, data=data, split="test")


def test_one_that_fails_at_the_picture_is_left_out(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Predictor.__call__

    def fail_in_bf16(self: Predictor, source: object) -> object:
        if self.precision == "bf16":
            raise RunError("it does not fit into the memory")
        return original(self, source)  # type: ignore[call-overload]

    monkeypatch.setattr(Predictor, "__call__", fail_in_bf16)
    report = benchmark([str(model)], size=SIZE, rounds=1, precisions=("fp32", "bf16"))
    assert [row.precision for row in report.rows] == ["fp32"]
    assert report.left_out[0].to_json() == {
        "model": str(model),
        "runtime": "torch",
        "precision": "bf16",
        "reason": "it does not fit into the memory",
        "fix": "",
    }


def test_nothing_left_is_an_error_of_the_first_reasons_kind(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"nothing can be measured: .* in torch, int8: .* \(and 1 more"):
        benchmark([str(model)], size=SIZE, precisions=("int8",), runtimes=("torch", "onnx"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    file = write_onnx(model.with_name("a.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="needs onnxruntime") as caught:
        benchmark([str(file)], size=SIZE, runtimes=("onnx",))
    assert caught.value.fix == 'pip install "segwright[onnx]"'


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"runtimes": ("tensorrt",)}, ConfigError, "unknown runtime 'tensorrt'"),
        ({"precisions": ("fp8",)}, ConfigError, "unknown precision 'fp8'"),
        ({"rounds": 0}, ConfigError, "rounds must be at least 1, got 0"),
        ({"threads": 0}, ConfigError, "threads must be at least 1"),
        ({"size": (8, 8)}, ShapeError, "a street scene of 8x8 pixels"),
        ({"device": "cuda:99"}, ConfigError, "no device 'cuda:99'"),
        ({"models": []}, ConfigError, "no model was given"),
        ({"models": ["fast_scn"]}, WeightsError, "'fast_scn' is no model file.*did you mean 'fast_scnn'"),
        ({"models": ["runs/none"]}, WeightsError, "'runs/none' is neither a model file"),
        ({"models": ["none.onnx"]}, WeightsError, r"'none\.onnx' does not exist"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], error: type[Exception], says: str) -> None:
    words = {"models": ["fast_scnn"], "size": SIZE, **options}
    with pytest.raises(error, match=says):
        benchmark(**words)  # type: ignore[arg-type]


def test_a_file_exported_elsewhere_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    file = write_onnx(tmp_path / "a.onnx")
    foreign = onnx.load(str(file))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(file))
    with pytest.raises(WeightsError, match="was not exported by segwright"):
        benchmark([str(file), "fast_scnn"], size=SIZE)
