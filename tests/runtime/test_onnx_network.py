import sys
from pathlib import Path

import numpy as np
import pytest

from segwright.errors import ConfigError, MissingExtraError, RunError, WeightsError
from segwright.runtime.onnx_network import OnnxNetwork
from tests.support.exported import (
    CHANGES,
    CLASSES,
    expected_logits,
    record,
    write_changed,
    write_onnx,
    write_outside_weights,
)
from tests.support.extras import needs

onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests")
needs("onnxruntime")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("onnx") / "a.onnx")


def images(height: int, width: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((batch, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 20)])
@pytest.mark.parametrize("stride", [1, 2])
def test_logits_are_the_networks(tmp_path: Path, size: tuple[int, int], stride: int) -> None:
    network = OnnxNetwork(write_onnx(tmp_path / "a.onnx", stride=stride), threads=1)
    batch = images(*size, batch=2)
    logits = network.run(batch)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected_logits(batch, stride=stride)).max() < 1e-5


def test_record_of_the_file_is_told(tmp_path: Path) -> None:
    exported = record(align_corners=True)
    network = OnnxNetwork(write_onnx(tmp_path / "a.onnx", exported))
    assert network.exported == exported
    assert (network.info.classes, network.align_corners, network.precision) == (CLASSES, True, "fp32")
    assert (network.runtime, network.takes, network.gives) == ("onnx", "images", "logits")


def test_pixels_go_in_and_masks_come_out(tmp_path: Path) -> None:
    network = OnnxNetwork(write_onnx(tmp_path / "a.onnx", record(input="pixels", output="mask")))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 9, 14, 3), np.uint8)
    steps = network.info.preprocessing
    preprocessed = ((pixels / 255 - steps.mean) / steps.std).transpose(0, 3, 1, 2)
    mask = network.run(pixels)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected_logits(preprocessed).argmax(1))


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_other_device_is_refused(path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=device):
        OnnxNetwork(path, device=device)


def test_bf16_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bf16") as caught:
        OnnxNetwork(path, precision="bf16")
    assert "--runtime openvino" in caught.value.fix
    with pytest.raises(ConfigError, match="bf16"):
        OnnxNetwork(write_onnx(tmp_path / "a.onnx", record(precision="bf16")))


def test_file_without_our_record_is_refused(path: Path, tmp_path: Path) -> None:
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(WeightsError, match=r"foreign\.onnx' was not exported by segwright"):
        OnnxNetwork(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("change", ["second input", "second output", "other name"])
def test_file_whose_graph_takes_or_gives_something_else_is_refused(path: Path, tmp_path: Path, change: str) -> None:
    model = onnx.load(str(path))
    former = model.graph.input[0].name
    if change == "other name":
        model.graph.input[0].name = "other"
        for node in model.graph.node:
            node.input[:] = ["other" if name == former else name for name in node.input]
    else:
        ends = model.graph.input if change == "second input" else model.graph.output
        ends.add().CopyFrom(ends[0])
        ends[1].name = "second" if change == "second input" else model.graph.node[0].output[0]
    onnx.save(model, str(tmp_path / "changed.onnx"))
    with pytest.raises(WeightsError, match=r"changed\.onnx' (takes|gives) .*, and its record says"):
        OnnxNetwork(tmp_path / "changed.onnx")


@pytest.mark.parametrize("change", CHANGES)
def test_graph_of_another_type_or_shape_is_refused_when_it_is_opened(tmp_path: Path, change: str) -> None:
    with pytest.raises(WeightsError, match=r"changed\.onnx' .*, and its record says ") as caught:
        OnnxNetwork(write_changed(tmp_path / "changed.onnx", change))
    assert CHANGES[change] in caught.value.message


def test_float64_graph_is_refused(path: Path, tmp_path: Path) -> None:
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    (tmp_path / "double.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"double\.onnx' cannot be read"):
        OnnxNetwork(tmp_path / "double.onnx")


@pytest.mark.parametrize("place", ["../secret.bin", "/secret.bin", "missing.bin"])
def test_weights_outside_of_the_file_are_refused_wherever_they_lie(path: Path, tmp_path: Path, place: str) -> None:
    file = write_outside_weights(path, tmp_path / "folder" / "a.onnx", place)
    with pytest.raises(WeightsError, match=r"a\.onnx' cannot be read"):
        OnnxNetwork(file)


@pytest.mark.parametrize("content", [b"", b"\x89PNG....", b"<?xml version='1.0'?>"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(content)
    with pytest.raises(WeightsError, match=r"wrong\.onnx"):
        OnnxNetwork(wrong)


def test_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"half\.onnx' cannot be read") as caught:
        OnnxNetwork(half)
    assert "copy it again" in caught.value.fix


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.onnx' does not exist"):
        OnnxNetwork(tmp_path / "none.onnx")


def test_openvinos_own_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.xml"):
        OnnxNetwork(tmp_path / "a.xml")


def test_missing_package_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime") as caught:
        OnnxNetwork(path)
    assert caught.value.fix == 'pip install "segwright[onnx]"'


def test_failure_at_a_picture_names_file_and_size(path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.onnx' failed at 5 x 6 px"):
        OnnxNetwork(path).run(np.zeros((1, 4, 5, 6), np.float32))


def test_failure_inside_of_the_graph_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(str(write_onnx(tmp_path / "a.onnx")))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "c"  # takes four channels; its convolution does not
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(RunError, match=r"a\.onnx' failed at 5 x 6 px"):
        OnnxNetwork(tmp_path / "a.onnx").run(np.zeros((1, 4, 5, 6), np.float32))
    assert capfd.readouterr() == ("", "")
