import builtins
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.extras import needs

from .conftest import Command

needs("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a package impossible to import."""

    def block(package: str) -> None:
        def refuse(name: str) -> ModuleType:
            if name == package:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)
            return builtins.__import__(name)

        monkeypatch.setattr("segwright.deploy.graph.import_silently", refuse)

    return block


def test_file_is_written_beside_the_model_file_and_predicts_alike(
    segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path
) -> None:
    result = segwright("export", run_folder, "--format", "onnx", "--check", scenes)
    assert result.code == 0
    path = run_folder / "model.onnx"
    assert f"file         {path} (" in result.out
    assert "opset 18" in result.out
    assert "'images' (N, 3, H, W) float32, normalised" in result.out
    assert "of the pixels are of the same class" in result.out
    assert "mIoU" in result.out
    assert f"next: segwright predict {path} PICTURES" in result.err
    masks = []
    for model in (path, run_folder):
        out = tmp_path / model.name
        assert segwright("predict", model, scenes / "images" / "test", "--out", out).code == 0
        masks.append(np.stack([np.asarray(Image.open(file)) for file in sorted(out.iterdir())]))
    assert np.array_equal(*masks)
    path.unlink()


def test_json_says_all_that_was_measured(segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path) -> None:
    words = ("--format", "openvino", "--check", scenes, "--preprocessing", "--argmax", "--out", tmp_path / "net.xml")
    report = json.loads(segwright("export", run_folder, *words, "--json").out)
    assert report["files"] == [str(tmp_path / "net.xml"), str(tmp_path / "net.bin")]
    assert (report["format"], report["precision"], report["opset"]) == ("openvino", "fp32", None)
    assert (report["input"], report["output"]) == ("pixels", "mask")
    assert report["size_bytes"] == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert report["argmax_agreement"] > 0.999
    assert report["max_logit_difference"] is None
    assert len(report["checks"]) >= 3
    assert report["checks"][0].keys() == {"size", "batch", "difference", "agreement"}
    score = report["score"]
    assert (score["data"], score["split"], score["images"]) == ("scenes", "val", 2)
    assert score["file"] == pytest.approx(score["model"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("RUN", 2, "--format"),
        ("RUN --format tflite", 2, "unknown format 'tflite'"),
        ("RUN --format onnx --precision int4", 2, "unknown precision 'int4'"),
        ("RUN --format onnx --precision bf16", 2, "no bf16"),
        ("RUN --format onnx --precision int8", 2, "int8"),
        ("RUN --format openvino --precision int8", 2, "--calibrate"),
        ("RUN --format openvino --precision int8 --calibrate EMPTY", 3, "no picture"),
        ("RUN --format openvino --precision int8 --calibrate nowhere", 3, "nowhere"),
        ("RUN --format openvino --precision int8 --calibrate DATA --max-drop 200", 2, "got 200"),
        ("RUN --format onnx --check nowhere", 3, "nowhere"),
        ("RUN --format onnx --out nowhere/net.onnx", 2, "nowhere"),
        ("RUN --format onnx --out EMPTY/net.xml", 2, "does not end in .onnx"),
        ("RUN --format openvino --out EMPTY/net.onnx", 2, "does not end in .xml"),
        ("net.onnx --format openvino", 3, "exported file already"),
        ("nothing --format onnx", 3, "nothing"),
    ],
)
def test_bad_input_is_told(
    segwright: Command, scenes: Path, run_folder: Path, tmp_path: Path, words: str, code: int, said: str
) -> None:
    for name, place in {"DATA": scenes, "RUN": run_folder, "EMPTY": tmp_path}.items():
        words = words.replace(name, str(place))
    before = sorted(run_folder.iterdir())
    result = segwright("export", *words.split(), "--json")
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("fix: ")
    assert sorted(run_folder.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "words", "line"),
    [
        ("onnxruntime", "--format onnx", 'pip install "segwright[train,onnx]"'),
        ("onnxscript", "--format onnx", 'pip install "segwright[train]"'),
        ("openvino", "--format openvino", 'pip install "segwright[train,openvino]"'),
        ("nncf", "--format openvino --precision int8 --calibrate DATA", 'pip install "segwright[train,openvino]"'),
    ],
)
def test_missing_extra_is_told_with_the_line_to_install_it(
    segwright: Command, scenes: Path, run_folder: Path, missing: Any, package: str, words: str, line: str
) -> None:
    missing(package)
    result = segwright("export", run_folder, *(scenes if word == "DATA" else word for word in words.split()))
    assert (result.code, result.out) == (4, "")
    assert f"needs {package}" in result.err
    assert line in result.err
