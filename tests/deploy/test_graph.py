from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwright.deploy.graph import to_openvino, write_graph
from segwright.errors import WeightsError
from segwright.runtime.onnx_network import OnnxNetwork
from segwright.runtime.openvino_network import OpenVinoNetwork
from segwright.runtime.packages import import_silently
from tests.support.exported import expected_logits, record, weights, write_onnx
from tests.support.extras import needs

needs("onnx", "onnxruntime", "openvino")
onnx = import_silently("onnx")

Open = Callable[[Path], OnnxNetwork | OpenVinoNetwork]

WAYS: list[tuple[str, Open]] = [("a.onnx", OnnxNetwork), ("a.onnx", OpenVinoNetwork), ("a.xml", OpenVinoNetwork)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


def graph_of(path: Path) -> Any:
    """The graph of the tiny network, in the format that a name asks for."""
    graph = onnx.load(str(write_onnx(path.with_name("source.onnx"))))
    return graph if path.suffix == ".onnx" else to_openvino(graph)


@pytest.mark.parametrize(("name", "start"), WAYS)
def test_a_written_file_runs_under_any_name_and_after_it_was_written_again(
    tmp_path: Path, name: str, start: Open
) -> None:
    graph, images = graph_of(tmp_path / name), np.ones((1, 3, 4, 5), np.float32)
    for agreement in (None, 0.5):  # as an export does, which measures the first file
        write_graph(graph, tmp_path / name, record(agreement=agreement))
    for ending in (".onnx", ".xml", ".bin"):
        if (tmp_path / name).with_suffix(ending).exists():
            (tmp_path / name).with_suffix(ending).rename(tmp_path / f"moved{ending}")
    network = start(tmp_path / f"moved{Path(name).suffix}")
    assert network.exported == record(agreement=0.5)
    assert np.abs(network.run(images) - expected_logits(images)).max() < 1e-5


@pytest.mark.parametrize("value", [float("nan"), 1e-3])
@pytest.mark.parametrize(("name", "start"), WAYS)
def test_damaged_weights_are_refused(tmp_path: Path, name: str, start: Open, value: float) -> None:
    path = tmp_path / name
    write_graph(graph_of(path), path, record())
    holder = path.with_suffix(".bin") if path.suffix == ".xml" else path
    content, first = holder.read_bytes(), weights(4)[0, 0].tobytes()
    assert content.count(first) == 1
    holder.write_bytes(content.replace(first, np.float32(value).tobytes()))
    with pytest.raises(WeightsError, match=rf"{name}' .*is damaged or was changed after the export"):
        start(path)


@pytest.mark.parametrize(("name", "start"), WAYS)
def test_a_damaged_record_is_refused(tmp_path: Path, name: str, start: Open) -> None:
    path = tmp_path / name
    write_graph(graph_of(path), path, record())
    path.write_bytes(path.read_bytes().replace(b"road", b"rock"))
    with pytest.raises(WeightsError, match="is damaged or was changed after the export"):
        start(path)


def test_a_graph_that_was_written_as_onnx_can_be_written_as_openvino(tmp_path: Path) -> None:
    """Its record, with the place of the digest, then stands twice in the .xml."""
    graph = graph_of(tmp_path / "a.onnx")
    write_graph(graph, tmp_path / "a.onnx", record())
    write_graph(to_openvino(graph), tmp_path / "a.xml", record())
    assert OpenVinoNetwork(tmp_path / "a.xml").exported == record()
