"""Exported files behind the predictor: the same masks as by hand, without torch."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segwright.errors import ConfigError, MissingExtraError, WeightsError
from segwright.inference import Predictor
from segwright.inference.runtimes import Options, candidates
from segwright.runtime import mean_argmax, preprocess, resize_argmax
from segwright.runtime.decide import resize
from segwright.runtime.packages import import_silently
from tests.support.exported import CLASSES, STEPS, expected_logits, record, write_onnx, write_openvino
from tests.support.extras import needs

needs("onnx", "onnxruntime", "openvino")
openvino = import_silently("openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.onnx and a.xml of stride 2, pixels.onnx, and mask.onnx, which decides by itself."""
    folder = tmp_path_factory.mktemp("exported")
    write_onnx(folder / "a.onnx", stride=2)
    write_openvino(folder / "a.xml", stride=2)
    write_onnx(folder / "pixels.onnx", record(input="pixels"))
    write_onnx(folder / "mask.onnx", record(input="pixels", output="mask"))
    return folder


def picture(height: int = 21, width: int = 34) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def logits_of(images: np.ndarray, stride: int = 2) -> np.ndarray:
    """(3, H, W) -> (C, h, w)."""
    return expected_logits(images[None], stride=stride)[0].astype(np.float32)


WAYS = [("a.onnx", "onnx"), ("a.onnx", "openvino"), ("a.xml", "openvino")]


@pytest.mark.parametrize(("name", "runtime"), WAYS)
def test_exported_file_gives_its_networks_mask(folder: Path, name: str, runtime: str) -> None:
    image = picture()
    predictor = Predictor(folder / name, runtime=runtime, confidence=True)
    result = predictor(image)
    expected = resize_argmax(logits_of(preprocess(image, STEPS)), image.shape[:2], with_confidence=True)
    assert (predictor.runtime, predictor.precision, result.classes) == (runtime, "fp32", CLASSES)
    assert np.array_equal(result.mask, expected.mask)
    assert np.abs(result.confidence - expected.confidence).max() < 1e-5


@pytest.mark.parametrize(("name", "runtime"), WAYS)
def test_flip_and_scales_are_as_with_torch(folder: Path, name: str, runtime: str) -> None:
    image = picture()
    images, maps = preprocess(image, STEPS), []
    for scaled in (resize(images, (16, 26)), images):
        maps += [logits_of(scaled), logits_of(scaled[..., ::-1])[..., ::-1]]
    result = Predictor(folder / name, runtime=runtime, tta="flip", scales=(0.75, 1))(image)
    assert np.array_equal(result.mask, mean_argmax(maps, image.shape[:2]).mask)


def test_windows_show_the_same_as_the_whole_picture_to_a_network_that_sees_one_pixel(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "a.onnx")
    image = picture(60, 90)
    whole = Predictor(file)(image).mask
    assert np.array_equal(Predictor(file, window=(24, 30))(image).mask, whole)
    assert np.array_equal(Predictor(file, window=(24, 30), tta="flip")(image).mask, whole)


def test_windows_show_the_same_as_the_whole_picture_where_receptive_fields_allow(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "a.onnx", kernel=7)  # sees 3 pixels around, a twelfth of the window
    image = picture(100, 120)
    assert np.array_equal(Predictor(file, window=(36, 36))(image).mask, Predictor(file)(image).mask)


def test_pixels_go_in_and_masks_come_out(folder: Path) -> None:
    image = picture()
    expected = logits_of(preprocess(image, STEPS), stride=1).argmax(0)
    for name in ("pixels.onnx", "mask.onnx"):
        for runtime in ("onnx", "openvino"):
            mask = Predictor(folder / name, runtime=runtime)(image).mask
            assert mask.dtype == np.uint8
            assert np.array_equal(mask, expected)
    assert np.array_equal(Predictor(folder / "pixels.onnx", tta="flip", window=(9, 9))(image).mask, expected)


@pytest.mark.parametrize("options", [{"tta": "flip"}, {"scales": (0.5, 1)}, {"window": (8, 8)}, {"confidence": True}])
def test_masks_leave_nothing_to_average(folder: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="gives masks"):
        Predictor(folder / "mask.onnx", **options)


def test_pixels_cannot_be_scaled(folder: Path) -> None:
    with pytest.raises(ConfigError, match="takes pixels"):
        Predictor(folder / "pixels.onnx", scales=(0.5, 1))


def test_auto_takes_what_is_installed_and_starts_fastest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Predictor(folder / "a.onnx").runtime == "onnx"
    assert Predictor(folder / "a.xml").runtime == "openvino"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Predictor(folder / "a.onnx").runtime == "openvino"


def test_nothing_installed_names_the_extras(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="neither onnxruntime nor openvino is installed") as caught:
        Predictor(folder / "a.onnx")
    assert caught.value.fix == 'pip install "segwright[onnx]" or pip install "segwright[openvino]"'
    with pytest.raises(MissingExtraError, match="needs openvino, which is not installed") as caught:
        Predictor(folder / "a.xml")
    assert caught.value.fix == 'pip install "segwright[openvino]"'


@pytest.mark.parametrize(
    ("name", "runtime", "able"),
    [
        ("a.onnx", "torch", "auto, onnx, openvino"),
        ("a.onnx", "compiled", "auto, onnx, openvino"),
        ("a.xml", "onnx", "auto, openvino"),
    ],
)
def test_runtime_that_cannot_read_the_file_is_refused(folder: Path, name: str, runtime: str, able: str) -> None:
    with pytest.raises(ConfigError, match=f"'{runtime}' cannot read") as caught:
        Predictor(folder / name, runtime=runtime)
    assert caught.value.fix == f"choose one of: {able}"


@pytest.mark.parametrize(("runtime", "ending"), [("onnx", "onnx"), ("openvino", "xml")])
def test_runtime_of_exported_files_says_how_to_export(runtime: str, ending: str) -> None:
    with pytest.raises(ConfigError, match="'runs/yard' is none") as caught:
        Predictor("runs/yard", runtime=runtime)
    line = f"segwright export runs/yard --format {runtime} --out model.{ending}"
    assert caught.value.fix == f"{line}, then give model.{ending}"


def test_file_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.onnx' does not exist"):
        Predictor(tmp_path / "none.onnx")


def test_precision_of_the_file_is_told(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "a.onnx", record(precision="int8", agreement=0.9912))
    predictor = Predictor(file, runtime="onnx")
    assert predictor.precision == "int8"
    assert predictor.describe() == "onnx, int8 (99.12 % of the pixels as in fp32, measured at export)"


def test_agreement_of_float32_is_not_told_of_bf16(folder: Path) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    assert Predictor(folder / "a.xml", precision="bf16").describe() == "openvino, bf16"


def test_candidates_of_an_exported_file_are_all_that_read_it(folder: Path) -> None:
    ways, path = candidates(folder / "a.onnx", "auto", Options())
    assert [way.runtime for way in ways] == ["onnx", "openvino"]
    assert path == folder / "a.onnx"


TORCH_FREE = """
import sys
for name in ("torch", "torchvision", "timm", "scipy", "matplotlib", "pydantic"):
    sys.modules[name] = None
import numpy as np
from segwright import Predictor
print(Predictor(sys.argv[1])(np.zeros((8, 9, 3), np.uint8)).mask.shape)
"""


@pytest.mark.parametrize("name", ["a.onnx", "a.xml"])
def test_exported_file_needs_no_torch(folder: Path, name: str) -> None:
    command = [sys.executable, "-c", TORCH_FREE, str(folder / name)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "(8, 9)"), result.stderr
