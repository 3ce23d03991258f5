"""A run on pictures that are no 8-bit RGB: what it chooses, and that its network works wherever others do."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segwright.data import load_data
from segwright.deploy.benchmark import benchmark
from segwright.deploy.export import export
from segwright.engine.bands import plan_bands, plan_statistics
from segwright.engine.choices import Plan
from segwright.engine.train import run
from segwright.errors import ConfigError, DataError
from segwright.evaluation import evaluate
from segwright.inference import Predictor
from segwright.models.weights import load_model_file, read_info
from tests.engine.runs import Listener, tiny_config

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")

SIZE = (40, 56)


def write_set(root: Path, bands: int = 4, dtype: str = "uint16", suffix: str = ".tif") -> Path:
    """A set of noise whose classes show in the last band alone."""
    rng = np.random.default_rng(5)
    mask = np.broadcast_to(np.arange(SIZE[1]) * 3 // SIZE[1], SIZE).astype(np.uint8)
    high = np.iinfo(dtype).max if dtype != "float32" else 3.0
    for split, count in (("train", 3), ("val", 2)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            picture = rng.uniform(0.2, 0.4, (*SIZE, bands))
            picture[..., -1] = 0.1 + 0.3 * mask + rng.uniform(0, 0.05, SIZE)
            write_picture(root / "images" / split / f"{index}{suffix}", (picture * high).astype(dtype))
            Image.fromarray(mask).save(root / "masks" / split / f"{index}.png")
    splits = "".join(f"{split}: {{images: images/{split}, masks: masks/{split}}}\n" for split in ("train", "val"))
    (root / "data.yaml").write_text(f"path: .\n{splits}classes: {{0: a, 1: b, 2: c}}\n")
    return root


def write_picture(path: Path, pixels: Any) -> None:
    if path.suffix == ".npy":
        np.save(path, pixels)
        return
    height, width, count = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype
        ) as file:
            file.write(np.moveaxis(pixels, -1, 0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Listener]:
    """Data set, run folder and what was said."""
    root = tmp_path_factory.mktemp("bands")
    data, listener = write_set(root / "fields"), Listener()
    settings = {"train__iters": 3, "train__save_every": 3, "data__classmix": 0.5, "data__rare_class_crops": 0.5}
    run(tiny_config(data, **settings), root / "run", reporter=listener)
    return data, root / "run", listener


def test_a_16_bit_set_of_four_bands_trains_and_says_why(trained: tuple[Path, Path, Listener]) -> None:
    data, folder, listener = trained
    said = dict(listener.said)
    assert "4 bands of 16 bits, which is no 8-bit RGB" in said["bands"]
    assert "of 3 training pictures" in said["mean"]
    info = read_info(folder / "model.safetensors")
    assert info.options["in_channels"] == 4
    pictures = [rasterio_read(path) for path in sorted((data / "images" / "train").iterdir())]
    values = np.concatenate([picture.reshape(4, -1) for picture in pictures], axis=1) / 65535
    steps = info.preprocessing
    assert (steps.bands, steps.unit, steps.dtype) == (4, 65535.0, "uint16")
    np.testing.assert_allclose(steps.mean, values.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(steps.std, values.std(axis=1), rtol=1e-5)
    assert (folder / "samples" / "batch_000000.jpg").is_file()


def rasterio_read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return file.read()


def test_its_model_file_predicts_files_and_arrays_alike(trained: tuple[Path, Path, Listener]) -> None:
    data, folder, _ = trained
    path = data / "images" / "val" / "0.tif"
    predictor = Predictor(folder, device="cpu")
    result = predictor(path)
    assert result.mask.shape == SIZE
    assert result.overlay().size == SIZE[::-1]
    array = np.moveaxis(rasterio_read(path), 0, -1)
    assert np.array_equal(predictor(array).mask, result.mask)
    in_windows = Predictor(folder, device="cpu", window=(24, 32), tta="flip", scales=(1.0, 1.25))
    assert in_windows(array).mask.shape == SIZE
    assert evaluate(folder, load_data(data), device="cpu").miou >= 0
    with pytest.raises(DataError, match="holds uint8 values, and the network was trained on uint16"):
        predictor(array.astype(np.uint8))
    Image.new("RGB", (8, 8)).save(folder / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png' has 3 bands, and 4 are wanted"):
        predictor(folder / "rgb.png")


@pytest.mark.parametrize(
    ("format", "ending"), [("onnx", ".onnx"), pytest.param("openvino", ".xml", marks=pytest.mark.slow)]
)
def test_its_exported_file_gives_the_same_masks(
    trained: tuple[Path, Path, Listener], tmp_path: Path, format: Any, ending: str
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(format, format))
    data, folder, _ = trained
    path = data / "images" / "val" / "1.tif"
    report = export(folder, tmp_path / f"model{ending}", format=format)
    predictor = Predictor(report.path)
    assert predictor.info.preprocessing == read_info(folder / "model.safetensors").preprocessing
    assert np.mean(predictor(path).mask == Predictor(folder, device="cpu")(path).mask) > 0.999


def test_preprocessing_of_16_bits_is_not_put_into_the_graph(
    trained: tuple[Path, Path, Listener], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="reads uint16 values, and a graph can take 8-bit"):
        export(trained[1], tmp_path / "model.onnx", preprocessing=True)


@pytest.mark.slow
def test_it_can_be_benchmarked(trained: tuple[Path, Path, Listener]) -> None:
    report = benchmark([str(trained[1])], size=(64, 96), rounds=1, threads=1, device="cpu")
    assert [row.gmacs is not None for row in report.rows] == [True]


def test_its_weights_start_a_network_of_rgb_and_back(
    trained: tuple[Path, Path, Listener], scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = trained[1]
    settings = {"train__iters": 1, "train__eval_every": 1}
    run(tiny_config(scenes, model__weights=str(folder), **settings), tmp_path / "rgb")
    assert "adapted from 4 to 3 bands" in caplog.text
    assert read_info(tmp_path / "rgb" / "model.safetensors").preprocessing.bands is None
    stem = "learning_to_downsample.0.0.weight"
    four, three = (load_model_file(run / "model.safetensors").state_dict()[stem] for run in (folder, tmp_path / "rgb"))
    assert four.shape[1] == 4
    torch.testing.assert_close(three, four[:, :3] * 4 / 3, atol=0.05, rtol=0)


@pytest.mark.parametrize(("bands", "dtype", "suffix"), [(1, "uint8", ".npy"), (6, "float32", ".npy")])
def test_arrays_of_any_kind_train(tmp_path: Path, bands: int, dtype: str, suffix: str) -> None:
    data = write_set(tmp_path / "arrays", bands, dtype, suffix)
    run(tiny_config(data, train__iters=1, train__eval_every=1), tmp_path / "run")
    steps = read_info(tmp_path / "run" / "model.safetensors").preprocessing
    assert (steps.bands, steps.dtype) == (bands, dtype)
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert f"bands: {bands}" in config


def planned(data: Path, **settings: Any) -> Plan:
    plan = Plan(tiny_config(data, **settings))
    pairs = load_data(data).pairs("train")
    plan_bands(plan, pairs)
    plan_statistics(plan, pairs)
    return plan


def test_8_bit_rgb_stays_rgb(scenes: Path) -> None:
    plan = planned(scenes)
    assert plan.config.data.bands is plan.config.data.mean is None
    assert not plan.reasons


def test_rgb_may_be_read_as_bands(scenes: Path) -> None:
    plan = planned(scenes, data__bands=3)
    assert plan.config.data.unit == 255.0
    assert plan.config.data.mean is not None
    assert 0 < min(plan.config.data.mean) < max(plan.config.data.mean) < 1


def test_numbers_that_are_given_stay(tmp_path: Path) -> None:
    data = write_set(tmp_path / "fields")
    plan = planned(data, data__bands=4, data__unit=1000.0, data__mean=[1.0, 2.0, 3.0, 4.0])
    assert plan.config.data.mean == (1.0, 2.0, 3.0, 4.0)
    assert set(plan.reasons) == {"data.std"}
    assert plan.config.data.std is not None
    assert plan.config.data.std[3] == pytest.approx(16.1, abs=0.3)  # 0.3 * 65535 / 1000 * sqrt(2 / 3)


def test_a_band_that_never_changes_is_divided_by_one(tmp_path: Path) -> None:
    data = write_set(tmp_path / "fields", 2, "uint8", ".npy")
    for path in (data / "images" / "train").iterdir():
        picture = np.load(path)
        picture[..., 0] = 7
        np.save(path, picture)
    plan = planned(data)
    assert plan.config.data.std is not None
    assert plan.config.data.std[0] == 1.0
    assert "never changes" in plan.reasons["data.std"]


@pytest.mark.parametrize(("bands", "dtype", "what"), [(3, "uint16", "3 bands"), (4, "uint8", "8 bits")])
def test_pictures_of_other_bands_or_values_are_named_before_training(
    tmp_path: Path, bands: int, dtype: str, what: str
) -> None:
    data = write_set(tmp_path / "fields")
    write_picture(data / "images" / "train" / "2.tif", np.zeros((*SIZE, bands), dtype))
    with pytest.raises(DataError, match=rf"2\.tif' holds .*{what}.*0\.tif' holds 4 bands of 16 bits"):
        planned(data)


def test_validation_pictures_must_be_alike_too(tmp_path: Path) -> None:
    data = write_set(tmp_path / "fields", 3, "uint8", ".npy")
    path = data / "images" / "val" / "1.npy"
    write_picture(path, np.load(path).astype(np.uint16))
    with pytest.raises(DataError, match=r"1\.npy' holds 3 bands of 16 bits, and '.*' holds 3 bands of 8 bits"):
        run(tiny_config(data, data__check=False), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bands_and_channels_must_agree(tmp_path: Path) -> None:
    data = write_set(tmp_path / "fields")
    with pytest.raises(ConfigError, match=r"data\.bands is 4 and model\.options\.in_channels is 5"):
        planned(data, data__bands=4, model__options={"in_channels": 5})
    assert planned(data, model__options={"in_channels": 4}).config.data.bands == 4
    with pytest.raises(ConfigError, match=r"one number for each band"):
        tiny_config(data, data__bands=4, data__mean=[1.0, 2.0, 3.0])


def test_a_teacher_must_read_the_same_bands(trained: tuple[Path, Path, Listener], scenes: Path, tmp_path: Path) -> None:
    folder = trained[1]
    data = write_set(tmp_path / "rgb", 3, "uint8")
    with pytest.raises(ConfigError, match="the teacher reads 4 bands, and the network that learns 8-bit RGB"):
        run(tiny_config(data, model__teacher=str(folder)), tmp_path / "run")


def test_an_old_model_file_reads_as_before(trained: tuple[Path, Path, Listener]) -> None:
    info = read_info(trained[1] / "model.safetensors")
    metadata = replace(info).to_metadata()
    steps = json.loads(metadata["preprocessing"])
    del steps["bands"], steps["unit"]
    steps |= {key: steps[key][:3] for key in ("mean", "std")}  # all networks read RGB then
    old = type(info).from_metadata({**metadata, "preprocessing": json.dumps(steps)}, "old")
    assert (old.preprocessing.bands, old.preprocessing.unit, old.preprocessing.dtype) == (None, 255.0, "uint8")
