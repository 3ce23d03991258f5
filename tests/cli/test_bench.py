import json
from pathlib import Path
from typing import Any

import pytest

from segwright.cli.bench import next_words
from segwright.deploy import benchmark as module
from segwright.deploy.benchmark import Report, Row
from segwright.deploy.roofline import Roofline
from segwright.inference.runtimes import RUNTIMES

from .conftest import Command

SMALL = ("--size", "64x96", "--rounds", 2, "--threads", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not measured, loops are not compiled, and no process is started."""
    monkeypatch.setattr(module, "measure_roofline", lambda precision, threads: Roofline(precision, 1e12, 1e10))
    monkeypatch.setattr(module, "prepare", lambda: True)
    monkeypatch.setattr(module, "peak_memory", lambda *_, **__: 123.0)


def test_a_table_is_printed_and_how_it_was_measured(segwright: Command, run_folder: Path) -> None:
    result = segwright("bench", "fast_scnn", run_folder, *SMALL)
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].split()[:5] == ["model", "runtime", "precision", "ms", "p50"]
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["fast_scnn", "torch", "fp32"],
        [str(run_folder), "torch", "fp32"],
    ]
    assert "64x96 (height x width), from a JPEG file to a PNG mask, 1 thread, 2 rounds in turn" in result.out
    assert "note: fast_scnn: fresh weights" in result.err
    assert "next: segwright " in result.err


def test_json_is_one_document_with_the_promised_keys(segwright: Command, run_folder: Path, scenes: Path) -> None:
    result = segwright("bench", run_folder, *SMALL, "--precision", "fp32", "bf16", "int8", "--data", scenes, "--json")
    document = json.loads(result.out)
    assert result.code == 0
    assert [row["precision"] for row in document["rows"]] == ["fp32", "bf16"]
    for row in document["rows"]:
        assert row["size"] == [64, 96]
        assert 0 <= row["miou"] <= 1
        for key in ("milliseconds_p50", "milliseconds_p95", "peak_memory_mb", "params", "gmacs"):
            assert row[key] > 0
    assert document["left_out"][0]["reason"] == "torch computes in no int8 here"
    assert "left out: " in result.err
    assert "fresh weights" not in result.err


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_out_draws_the_front(segwright: Command, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"front.{suffix}"
    result = segwright("bench", "fast_scnn", *SMALL, "--json", "--out", out)
    assert result.code == 0
    assert f"wrote {out}\n" in result.err
    assert json.loads(result.out)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_next_command_uses_the_fastest(segwright: Command, run_folder: Path) -> None:
    assert "next: segwright train DATA --model fast_scnn" in segwright("bench", "fast_scnn", *SMALL).err
    assert (
        f"next: segwright predict {run_folder} PICTURES --runtime torch" in segwright("bench", run_folder, *SMALL).err
    )
    exported = segwright("bench", run_folder, *SMALL, "--runtime", "onnx").err
    assert f"next: segwright export {run_folder} --format onnx --precision fp32" in exported


def test_the_next_command_after_eight_bits_calibrates() -> None:
    row = Row("run", "openvino", "int8", (64, 96), 1.0, 1.0, 1.0, 1.0, 1.0, None, 1, None, None, None, None)
    report = Report((row,), (), "a machine", 1, {}, "yard/val")
    assert " ".join(map(str, next_words(report, "yard"))) == (
        "export run --format openvino --precision int8 --calibrate yard"
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("fast_scnn", "--size", "64"), 2, "--size takes HEIGHTxWIDTH, got '64'"),
        (("fast_scnn", "--size", "8x8"), 2, "a street scene of 8x8 pixels"),
        (("fast_scnn", "--runtime", "tensorrt"), 2, "unknown runtime 'tensorrt'"),
        (("fast_scnn", "--precision", "fp64"), 2, "unknown precision 'fp64'"),
        (("fast_scnn", "--precision", "int8"), 2, "nothing can be measured"),
        (("fast_scnn", "--rounds", 0), 2, "rounds must be at least 1"),
        (("fast_scnn", "--out", "front.pdf"), 2, "PNG or SVG"),
        (("fast_scnn", "--data", "no/such/folder"), 3, "'no/such/folder' does not exist"),
        (("nosuch",), 3, "'nosuch' is no model file"),
        ((), 2, "missing argument 'MODEL...'"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(segwright: Command, words: tuple[Any, ...], code: int, says: str) -> None:
    result = segwright("bench", *words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert "\nfix: " in result.err
    assert "next:" not in result.err


def test_all_runtimes_and_precisions_may_follow_their_option() -> None:
    from segwright.cli.options import _TAKE_WORDS
    from segwright.deploy.contenders import WORDS

    assert _TAKE_WORDS == {"--runtime": RUNTIMES, "--precision": WORDS}
