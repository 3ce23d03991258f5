"""segwright predict on georeferenced and very large pictures."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data.synthetic import CLASSES, PALETTE
from segwright.inference import rasters
from segwright.runtime import windowed
from tests.support.extras import needs
from tests.support.rasters import pattern, placed, write_tiff

from .conftest import Command

needs("rasterio")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return write_tiff(tmp_path / "pictures" / "field.tif", pattern(80, 120), **placed())


def test_a_georeferenced_picture_gets_a_mask_in_the_same_place(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path
) -> None:
    import rasterio

    out = tmp_path / "out"
    result = segwright("predict", run_folder, raster, "--out", out, "--format", "both", "--confidence", "--json")
    assert result.code == 0
    assert files(out) == {"field.tif", "field_overlay.jpg", "field_confidence.tif"}
    (entry,) = json.loads(result.out)["results"]
    assert entry.keys() == {"source", "mask", "overlay", "confidence", "areas", "milliseconds"}
    assert entry["mask"] == str(out / "field.tif")
    assert list(entry["areas"]) == list(CLASSES)
    with rasterio.open(entry["mask"]) as mask:
        assert (mask.crs, mask.transform) == tuple(placed().values())
        assert (mask.shape, mask.colormap(1)[0][:3]) == ((80, 120), PALETTE[0])
        assert json.loads(mask.tags(1)["CLASSES"])["1"] == CLASSES[1]


def test_windows_of_the_users_choice_are_taken_and_pictures_of_all_kinds_go_together(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path
) -> None:
    Image.fromarray(pattern(40, 50)).save(raster.with_name("photo.jpg"))
    Image.fromarray(pattern(40, 50)).save(raster.with_name("plain.tif"))
    words = ("predict", run_folder, raster.parent, "--out", tmp_path / "out")
    assert segwright(*words, "--window", 64, 64).code == 0
    assert files(tmp_path / "out") == {"field.tif", "photo.png", "plain.png"}
    assert segwright(*words, "--window", 0, 64).code == 2


def test_the_window_that_follows_from_the_size_is_said(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasters, "_WHOLE", 80 * 120 - 1)
    result = segwright("predict", run_folder, raster, "--out", tmp_path / "out")
    assert result.code == 0
    assert "field.tif' is seen at its own resolution in windows of 512x512 px; --window H W" in result.err


def test_former_masks_in_an_output_folder_inside_the_source_are_left_out(
    segwright: Command, run_folder: Path, raster: Path
) -> None:
    out = raster.parent / "masks"
    first, second = (segwright("predict", run_folder, raster.parent, "--out", out) for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert len(second.out.splitlines()) == 1
    assert "1 pictures in the output folder" in second.err


def test_a_damaged_raster_does_not_stop_the_others(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path
) -> None:
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    torn = write_tiff(raster.with_name("a_torn.tif"), pattern(80, 120), **tiles, **placed())
    torn.write_bytes(torn.read_bytes()[:-9000])
    result = segwright("predict", run_folder, raster.parent, "--out", tmp_path / "out", "--window", 32, 32, "--json")
    assert result.code == 3
    assert "a_torn.tif' cannot be read (rows" in result.err
    assert [entry.get("error") is None for entry in json.loads(result.out)["results"]] == [False, True]
    assert files(tmp_path / "out") == {"field.tif"}


def test_a_large_picture_without_rasterio_names_the_extra_before_anything_is_done(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowed, "RASTER_PIXELS", 80 * 120 - 1)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    result = segwright("predict", run_folder, raster, "--out", tmp_path / "out")
    assert (result.code, result.out) == (4, "")
    assert "field.tif' needs rasterio, which is not installed" in result.err
    assert 'fix: pip install "segwright[geo]"' in result.err
    assert not (tmp_path / "out").exists()


def test_without_rasterio_a_small_one_is_a_picture_like_others_with_a_warning(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    result = segwright("predict", run_folder, raster, "--out", tmp_path / "out")
    assert result.code == 0
    assert files(tmp_path / "out") == {"field.png"}
    assert result.err.count("warning: georeferences are lost") == 1


def test_an_output_that_cannot_be_written_is_told(
    segwright: Command, run_folder: Path, raster: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "field.tif").mkdir(parents=True)
    result = segwright("predict", run_folder, raster, "--out", tmp_path / "out")
    assert result.code == 1
    assert "could not write" in result.err
    assert "field.tif" in result.err
    assert files(tmp_path / "out") == set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_stop_leaves_nothing_half_written(
    run_folder: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    source = write_tiff(tmp_path / "large.tif", np.zeros((4000, 4000, 3), np.uint8), compress="deflate", **placed())
    out = tmp_path / "out"
    command = [
        Path(sys.executable).with_name("segwright"),
        "predict",
        run_folder,
        source,
        "--out",
        out,
        "--window",
        "64",
        "64",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    while not (out.exists() and files(out)) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.05)
    assert len(files(out)) == 1, run.communicate()
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == code
    assert "error: stopped" in said
    assert files(out) == set()
