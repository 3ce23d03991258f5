import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from segwright.errors import ConfigError, MissingExtraError, RunError, WeightsError
from segwright.runtime.files import TEMPORARY
from segwright.runtime.openvino_network import OpenVinoNetwork
from segwright.runtime.packages import import_silently
from tests.support.exported import (
    CHANGES,
    CLASSES,
    expected_logits,
    record,
    write_changed,
    write_onnx,
    write_openvino,
    write_outside_weights,
)
from tests.support.extras import needs

needs("openvino", "onnx")
ov = import_silently("openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_openvino(tmp_path_factory.mktemp("openvino") / "a.xml")


def images(height: int, width: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((batch, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 20)])
def test_logits_are_the_networks(tmp_path: Path, size: tuple[int, int]) -> None:
    batch = images(*size, batch=2)
    for file in (write_openvino(tmp_path / "a.xml", stride=2), write_onnx(tmp_path / "a.onnx", stride=2)):
        logits = OpenVinoNetwork(file, threads=1).run(batch)
        assert logits.dtype == np.float32
        assert np.abs(logits - expected_logits(batch, stride=2)).max() < 1e-5


def test_float32_is_float32_where_openvino_would_take_bf16(path: Path) -> None:
    batch = images(32, 48)
    expected = expected_logits(batch)
    assert np.abs(OpenVinoNetwork(path).run(batch) - expected).max() < 1e-5
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    network = OpenVinoNetwork(path, precision="bf16")
    assert network.precision == "bf16"
    assert 1e-4 < np.abs(network.run(batch) - expected).max() < 0.1


def test_bf16_is_refused_where_the_cpu_lacks_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ov.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(ConfigError, match="no bf16"):
        OpenVinoNetwork(path, precision="bf16")


@pytest.mark.parametrize("ending", ["xml", "onnx"])
def test_record_of_the_file_is_told(tmp_path: Path, ending: str) -> None:
    exported = record(classes=("straße", 'a "b" <c> & d', "e'f", "{}"), align_corners=True)
    write = write_openvino if ending == "xml" else write_onnx
    network = OpenVinoNetwork(write(tmp_path / f"a.{ending}", exported))
    assert network.exported == exported
    assert (network.info.classes, network.align_corners) == (exported.info.classes, True)
    assert (network.runtime, network.takes, network.gives) == ("openvino", "images", "logits")


def test_pixels_go_in_and_masks_come_out(tmp_path: Path) -> None:
    network = OpenVinoNetwork(write_openvino(tmp_path / "a.xml", record(input="pixels", output="mask")))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 9, 14, 3), np.uint8)
    steps = network.info.preprocessing
    preprocessed = ((pixels / 255 - steps.mean) / steps.std).transpose(0, 3, 1, 2)
    mask = network.run(pixels)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected_logits(preprocessed).argmax(1))


def test_a_result_outlives_the_next_picture(path: Path) -> None:
    network, batch = OpenVinoNetwork(path), images(5, 6)
    first = network.run(batch)
    before = first.copy()
    network.run(-batch)
    assert np.array_equal(first, before)


def test_threads_get_the_logits_of_their_own_pictures(path: Path) -> None:
    network, batches = OpenVinoNetwork(path, threads=1), [images(height, 96) for height in (64, 96, 128, 160)]
    expected = [expected_logits(batch) for batch in batches]
    with ThreadPoolExecutor(len(batches)) as pool:
        results = list(pool.map(network.run, batches * 25))
    for result, logits in zip(results, expected * 25, strict=True):
        assert result.shape == logits.shape
        assert np.abs(result - logits).max() < 1e-5


def test_compiled_network_of_a_temporary_file_is_kept_beside_it(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"{TEMPORARY}1"
    folder.mkdir()
    OpenVinoNetwork(write_openvino(folder / "a.xml"))
    assert list((folder / "compiled").glob("*.blob")) != []
    assert not cache.exists()


def test_compiled_network_is_kept_in_the_cache(path: Path, cache: Path) -> None:
    OpenVinoNetwork(path)
    (kept,) = (cache / "openvino").glob("*.blob")
    made = kept.stat().st_mtime_ns
    OpenVinoNetwork(path)
    assert [file.stat().st_mtime_ns for file in (cache / "openvino").glob("*.blob")] == [made]


def test_cache_that_cannot_be_made_is_done_without(path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    batch = images(5, 6)
    assert np.abs(OpenVinoNetwork(path).run(batch) - expected_logits(batch)).max() < 1e-5


def test_file_that_changed_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    batch = images(5, 6)
    for classes in (CLASSES, CLASSES[:3]):
        file = write_openvino(tmp_path / "a.xml", record(classes))
        logits = OpenVinoNetwork(file).run(batch)
        assert np.abs(logits - expected_logits(batch, len(classes))).max() < 1e-5


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_other_device_is_refused(path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=device):
        OpenVinoNetwork(path, device=device)


def test_file_without_our_record_is_refused(path: Path, tmp_path: Path) -> None:
    model = ov.Core().read_model(write_onnx(tmp_path / "a.onnx"))
    ov.save_model(model, tmp_path / "foreign.xml", compress_to_fp16=False)
    with pytest.raises(WeightsError, match=r"foreign\.xml' was not exported by segwright"):
        OpenVinoNetwork(tmp_path / "foreign.xml")


@pytest.mark.parametrize("name", ["wrong.xml", "wrong.onnx"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG....", b"<html>", b"<?xml version='1.0'?><a/>"])
def test_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        OpenVinoNetwork(tmp_path / name)


@pytest.mark.parametrize("ending", ["xml", "bin", "onnx"])
def test_truncated_file_is_refused(tmp_path: Path, ending: str) -> None:
    file = write_onnx(tmp_path / "a.onnx") if ending == "onnx" else write_openvino(tmp_path / "a.xml")
    half = file.with_suffix(f".{ending}")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    with pytest.raises(WeightsError, match=f"{file.name}' cannot be read") as caught:
        OpenVinoNetwork(file)
    assert "copy it again" in caught.value.fix


def test_file_without_its_weights_is_refused(tmp_path: Path) -> None:
    file = write_openvino(tmp_path / "a.xml")
    file.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"a\.xml") as caught:
        OpenVinoNetwork(file)
    assert ".bin" in caught.value.fix


@pytest.mark.parametrize("change", CHANGES)
def test_graph_of_another_type_or_shape_is_refused_when_it_is_opened(tmp_path: Path, change: str) -> None:
    with pytest.raises(WeightsError, match=r"changed\.onnx' .*, and its record says ") as caught:
        OpenVinoNetwork(write_changed(tmp_path / "changed.onnx", change))
    assert CHANGES[change] in caught.value.message


def test_missing_package_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="openvino") as caught:
        OpenVinoNetwork(path)
    assert caught.value.fix == 'pip install "segwright[openvino]"'


def test_memory_that_is_not_there_is_told(path: Path) -> None:
    class Request:
        def infer(self, *_: object, **__: object) -> NoReturn:
            raise MemoryError("std::bad_alloc")

    network = OpenVinoNetwork(path)
    network._request = Request()
    with pytest.raises(RunError, match=r"a\.xml' failed at 5 x 6 px .*bad_alloc") as caught:
        network.run(images(5, 6))
    assert "--window" in caught.value.fix


def test_failure_at_a_picture_names_file_and_size(path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.xml' failed at 5 x 6 px"):
        OpenVinoNetwork(path).run(np.zeros((1, 4, 5, 6), np.float32))


@pytest.mark.parametrize("place", ["../secret.bin", "/secret.bin", "missing.bin"])
def test_weights_outside_of_the_file_are_refused_wherever_they_lie(tmp_path: Path, place: str) -> None:
    file = write_outside_weights(write_onnx(tmp_path / "whole.onnx"), tmp_path / "folder" / "a.onnx", place)
    with pytest.raises(WeightsError, match=r"a\.onnx' cannot be read"):
        OpenVinoNetwork(file)
