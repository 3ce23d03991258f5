"""Rasters predicted in parts against the same pixels predicted whole."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segwright.errors import ConfigError, DataError
from segwright.inference import Predictor, rasters
from segwright.inference.raster_files import Preview
from segwright.inference.rasters import default_window, predict_raster, window_for
from segwright.info import Preprocessing, generic_palette
from segwright.models import SegmentationModel
from segwright.models.segmentation_model import build_model
from segwright.runtime import preprocess
from segwright.runtime.tiles import Box, window_boxes
from tests.support.exported import record, write_onnx
from tests.support.extras import needs
from tests.support.rasters import pattern, placed, write_tiff

needs("rasterio")

NUM_CLASSES = 5
IMAGE = pattern(150, 230)


def tell_apart(model: SegmentationModel, image: np.ndarray) -> SegmentationModel:
    """Fit statistics and last bias of a network of random weights to a picture, so that it tells pixels apart."""
    images = torch.from_numpy(preprocess(image, model.info.preprocessing))[None]
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.cat([images, images.flip(3)]))
        model.eval()
        model.classifier[-1].bias -= model(images).logits.mean((0, 2, 3))
    return model


@pytest.fixture(scope="module")
def trained() -> SegmentationModel:
    torch.manual_seed(0)
    return tell_apart(build_model("fast_scnn", NUM_CLASSES, {}), IMAGE)


@pytest.fixture
def make(trained: SegmentationModel) -> Callable[..., Predictor]:
    """A predictor whose network is rewritten, as before many windows: another's logits would differ in rounding."""

    def make(**options: Any) -> Predictor:
        predictor = Predictor(copy.deepcopy(trained), device="cpu", **options)
        predictor.prepare(IMAGE, 4)
        return predictor

    return make


def read(path: Path) -> np.ndarray:
    import rasterio

    with rasterio.open(path) as file:
        assert (file.crs, file.transform) == tuple(placed().values())
        values: np.ndarray = file.read(1)
    return values


OPTIONS: list[dict[str, Any]] = [
    {"window": (64, 96)},
    {"window": (64, 1000)},
    {"window": (64, 96), "tta": "flip", "scales": (0.5, 1, 1.3)},
    {"window": (96, 120), "scales": (0.5, 1)},  # at the smaller scale a window shows it all
    {"window": (1000, 1000)},
    {},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parts_equal_the_prediction_of_the_whole(
    make: Callable[..., Predictor], tmp_path: Path, options: dict[str, Any]
) -> None:
    predictor = make(confidence=True, **options)
    source, mask, confidence = (tmp_path / name for name in ("a.tif", "mask.tif", "confidence.tif"))
    write_tiff(source, IMAGE, tiled=True, blockxsize=32, blockysize=16, **placed())
    result = predict_raster(predictor, source, mask=mask, confidence=confidence)
    expected = predictor(IMAGE)
    assert len(np.unique(expected.mask)) >= 3
    assert np.array_equal(read(mask), expected.mask)
    assert expected.confidence is not None
    assert np.abs(read(confidence) - expected.confidence * 255).max() <= 0.501
    assert result.areas == expected.areas()
    assert sum(result.areas.values()) == pytest.approx(1)
    assert result.milliseconds > 0


def test_panels_equal_the_whole_and_every_window_is_told(
    make: Callable[..., Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pattern(70, 1100)
    source, mask = write_tiff(tmp_path / "a.tif", image, **placed()), tmp_path / "mask.tif"
    predictor, told = make(window=(64, 96)), []
    predict_raster(predictor, source, mask=mask, tell=lambda done, total: told.append((done, total)))
    windows = len(window_boxes((70, 1100), (64, 96)))
    assert told == [(number, windows) for number in range(1, windows + 1)]
    assert np.array_equal(read(mask), predictor(image).mask)
    for limit in ("_KEPT", "_WIDEST"):
        monkeypatch.setattr(rasters, limit, 512)
        told.clear()
        predict_raster(predictor, source, mask=mask, tell=lambda done, total: told.append((done, total)))
        assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
        assert windows < len(told) < 1.5 * windows
        assert np.array_equal(read(mask), predictor(image).mask)
        monkeypatch.undo()


@pytest.mark.parametrize("strips", [[700], [3] * 233 + [1], [512, 188], [500, 30, 170], [1, 699]], ids=lambda x: len(x))
def test_rows_are_handed_out_by_the_block(strips: list[int]) -> None:
    rows = np.arange(700, dtype=np.uint16)[:, None]
    stops = np.cumsum(strips)
    given = (
        (slice(stop - count, stop), rasters.Decision(rows[stop - count : stop], None))
        for stop, count in zip(stops, strips, strict=True)
    )
    blocks = list(rasters._in_blocks(given, 700))
    assert [top for top, _ in blocks] == [0, 512]
    assert [len(part.mask) for _, part in blocks] == [512, 188]
    assert np.array_equal(np.concatenate([part.mask for _, part in blocks]), rows)


def test_pixels_without_data_are_255_count_nowhere_and_empty_windows_are_not_shown(
    make: Callable[..., Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = IMAGE | 1
    image[:, 100:] = image[7, 9] = 0
    source, mask = write_tiff(tmp_path / "a.tif", image, nodata=0, **placed()), tmp_path / "mask.tif"
    predictor, seen = make(window=(64, 64)), []
    expected = predictor(image).mask
    run = predictor.network.run
    monkeypatch.setattr(predictor.network, "run", lambda batch: seen.append(batch) or run(batch))
    result = predict_raster(
        predictor, source, mask=mask, overlay=tmp_path / "overlay.jpg", confidence=tmp_path / "confidence.tif"
    )
    predicted, there = read(mask), image.any(2)
    assert np.array_equal(predicted[there], expected[there])
    assert (predicted[~there] == 255).all()
    assert (read(tmp_path / "confidence.tif") > 0).tolist() == there.tolist()
    shares = np.bincount(expected[there], minlength=NUM_CLASSES) / there.sum()
    assert list(result.areas.values()) == pytest.approx(shares)
    boxes = window_boxes((150, 230), (64, 64))
    assert len(seen) == sum(box.left < 100 for box in boxes) < len(boxes)


def test_a_raster_without_data_is_255_everywhere_and_told(
    make: Callable[..., Predictor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_tiff(tmp_path / "a.tif", np.zeros_like(IMAGE), nodata=0, **placed())
    for options in ({}, {"window": (64, 64)}):
        result = predict_raster(make(**options), source, mask=tmp_path / "mask.tif")
        assert (read(tmp_path / "mask.tif") == 255).all()
        assert set(result.areas.values()) == {0}
    assert caplog.text.count("a.tif' has no pixel with data") == 2


def test_networks_of_one_short_side_see_a_raster_at_its_own_resolution(
    make: Callable[..., Predictor], trained: SegmentationModel, tmp_path: Path
) -> None:
    source, mask = write_tiff(tmp_path / "a.tif", IMAGE, **placed()), tmp_path / "mask.tif"
    for options in ({}, {"window": (64, 96)}):
        expected = make(**options)(IMAGE).mask
        predictor = make(**options)
        steps = replace(predictor.info.preprocessing, short_side=40)
        predictor.info = predictor.network.info = replace(predictor.info, preprocessing=steps)
        assert not np.array_equal(predictor(IMAGE).mask, expected)
        predict_raster(predictor, source, mask=mask)
        assert np.array_equal(read(mask), expected)


def test_a_network_of_bands_sees_them_as_stored_and_its_mean_where_there_is_no_data(
    tmp_path: Path,
) -> None:
    steps = Preprocessing((0.5,) * 4, (0.25,) * 4, bands=4, unit=65535.0)
    torch.manual_seed(0)
    model = build_model("fast_scnn", NUM_CLASSES, {"in_channels": 4})
    model.info = replace(model.info, preprocessing=steps)
    image = pattern(100, 140, 4, "uint16") | 1
    tell_apart(model, image)
    image[:, 120:] = 0
    source = write_tiff(tmp_path / "a.tif", image, nodata=0, **placed())
    predictor = Predictor(model, device="cpu", window=(64, 96))
    predictor.prepare(image, 4)
    filled = np.where(image.any(2)[..., None], image, np.uint16(0.5 * 65535))
    expected = predictor(filled).mask
    predict_raster(predictor, source, mask=tmp_path / "mask.tif", overlay=tmp_path / "overlay.jpg")
    mask = read(tmp_path / "mask.tif")
    assert len(np.unique(expected)) > 1
    assert np.array_equal(mask[:, :120], expected[:, :120])
    assert (mask[:, 120:] == 255).all()
    rgb = write_tiff(tmp_path / "rgb.tif", IMAGE, **placed())
    with pytest.raises(DataError, match=r"rgb\.tif' has 3 bands, and 4 are wanted"):
        predict_raster(predictor, rgb, mask=tmp_path / "rgb_mask.tif")


def test_windows_are_chosen_from_2048_pixels_squared_on(make: Callable[..., Predictor]) -> None:
    predictor = make()
    assert window_for(predictor, (2048, 2048)) is None
    assert window_for(predictor, (2048, 2049)) == (1024, 1024)
    assert window_for(make(window=(64, 96)), (2048, 2049)) == (64, 96)


def test_the_window_is_what_the_network_saw_in_training(trained: SegmentationModel) -> None:
    def after(crop: object, short_side: int | None = None) -> tuple[int, int]:
        steps = replace(trained.info.preprocessing, short_side=short_side)
        return default_window(
            replace(trained.info, preprocessing=steps, provenance={"config": {"data": {"crop_size": crop}}})
        )

    assert after([768, 1536]) == (768, 1536)
    assert after([64, 600]) == (512, 600)
    assert after(None) == (1024, 1024)
    assert after(None, 720) == (720, 720)
    assert default_window(replace(trained.info, provenance={"config": "elsewhere"})) == (1024, 1024)


def test_from_256_classes_on_masks_are_wide(tmp_path: Path) -> None:
    needs("onnx", "onnxruntime")
    names = tuple(f"class {number}" for number in range(256))
    predictor = Predictor(write_onnx(tmp_path / "model.onnx", record(classes=names)), window=(64, 64))
    image = IMAGE | 1
    image[:5] = 0
    source = write_tiff(tmp_path / "a.tif", image, nodata=0, **placed())
    predict_raster(predictor, source, mask=tmp_path / "mask.tif")
    mask = read(tmp_path / "mask.tif")
    assert mask.dtype == np.uint16
    assert (mask[:5] == 65535).all()
    assert np.array_equal(mask[5:], predictor(image).mask[5:])


def test_a_model_that_gives_masks_needs_rasters_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("onnx", "onnxruntime")
    predictor = Predictor(write_onnx(tmp_path / "model.onnx", record(output="mask")))
    source = write_tiff(tmp_path / "a.tif", IMAGE, **placed())
    predict_raster(predictor, source, mask=tmp_path / "mask.tif")
    assert np.array_equal(read(tmp_path / "mask.tif"), predictor(IMAGE).mask)
    monkeypatch.setattr(rasters, "_WHOLE", 100)
    monkeypatch.setattr(rasters, "default_window", lambda info: (64, 64))
    with pytest.raises(ConfigError, match=r"a\.tif' \(230x150 px, .*the model gives masks"):
        predict_raster(predictor, source, mask=tmp_path / "other.tif")
    assert not (tmp_path / "other.tif").exists()


def test_nothing_is_left_of_a_raster_that_is_damaged_in_its_midst(
    make: Callable[..., Predictor], tmp_path: Path
) -> None:
    source = write_tiff(tmp_path / "a.tif", IMAGE, tiled=True, blockxsize=32, blockysize=16, **placed())
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
    for options in ({}, {"window": (64, 64)}):
        with pytest.raises(DataError, match=r"a\.tif' cannot be read \(rows"):
            predict_raster(make(**options), source, mask=tmp_path / "mask.tif", overlay=tmp_path / "overlay.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_the_overlay_is_the_picture_under_colours_and_reduced(
    make: Callable[..., Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, overlay = write_tiff(tmp_path / "a.tif", IMAGE, **placed()), tmp_path / "overlay.jpg"
    predictor = make(window=(64, 96))
    predict_raster(predictor, source, overlay=overlay)
    with Image.open(overlay) as picture:
        expected = np.asarray(predictor(IMAGE).overlay())
        assert np.abs(np.asarray(picture).astype(int) - expected).mean() < 8  # JPEG
    monkeypatch.setattr("segwright.inference.raster_files._OVERLAY_SIDE", 100)
    predict_raster(predictor, source, overlay=overlay)
    with Image.open(overlay) as picture:
        assert picture.size == (58, 38)


def test_a_preview_averages_pixels_and_takes_the_middle_of_the_mask() -> None:
    preview = Preview((5, 7), side=4)
    assert (preview.step, preview.size) == (2, (3, 4))
    image = np.arange(35, dtype=np.uint8).reshape(5, 7, 1) * 4
    mask = np.zeros((5, 7), np.uint8)
    mask[1::2, 1::2] = 1
    mask[4, 6] = 1
    for rows in (slice(0, 4), slice(4, 5)):
        preview.add(Box(rows.start, 0, rows.stop - rows.start, 7), image[rows], mask[rows])
    shown = np.asarray(preview.picture([(0, 0, 0), *generic_palette(3)[1:]]))
    assert shown.shape == (3, 4, 3)
    assert preview._mask is not None
    assert preview._mask[:2, :3].all()
    assert preview._mask[2].tolist() == [0, 0, 0, 1]
    assert preview._image is not None
    assert preview._image[0, 0] == np.rint((0 + 1 + 7 + 8) / 4 * 4)
    assert preview._image[2, 3] == 34 * 4
