"""Rasters read in parts against the same files read whole by Pillow, and what is refused of them."""

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segwright.errors import DataError, MissingExtraError
from segwright.runtime import read_image, windowed
from segwright.runtime.bands import read_bands
from segwright.runtime.tiles import Box
from segwright.runtime.windowed import Raster, is_raster, raster_facts
from tests.support.extras import needs
from tests.support.rasters import pattern, placed, write_tiff

needs("rasterio")

TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}


def whole(raster: Raster) -> np.ndarray:
    return raster.read(Box(0, 0, *raster.size))


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"blockysize": 1, "compress": "lzw"},
        {**TILES, "compress": "deflate", "predictor": 2},
        {**TILES, "interleave": "band"},
        {**TILES, "compress": "zstd", "BIGTIFF": "YES", "ENDIANNESS": "BIG"},
    ],
    ids=str,
)
def test_parts_are_those_of_the_picture(tmp_path: Path, profile: dict[str, Any]) -> None:
    image = pattern(50, 70)
    with Raster(write_tiff(tmp_path / "a.tif", image, **profile)) as raster:
        assert raster.size == (50, 70)
        for box in (Box(0, 0, 50, 70), Box(0, 0, 1, 1), Box(17, 31, 20, 39), Box(49, 69, 1, 1)):
            assert np.array_equal(raster.read(box), image[box.place])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pixels_become_rgb_as_those_of_other_pictures(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(pattern(33, 40)).convert("RGBA")
    picture.putalpha(Image.fromarray(pattern(33, 40, 1)[..., 0]))
    picture.convert(mode).save(tmp_path / "a.tif")
    with Raster(tmp_path / "a.tif") as raster:
        assert np.array_equal(whole(raster), read_image(tmp_path / "a.tif"))


@pytest.mark.parametrize("profile", [{"photometric": "MINISWHITE"}, {"nbits": 4}], ids=str)
def test_grey_of_other_scales_is_read_as_pillow_reads_it(tmp_path: Path, profile: dict[str, Any]) -> None:
    levels = pattern(20, 30, 1) // (1 if "photometric" in profile else 16)
    with Raster(write_tiff(tmp_path / "a.tif", levels, **profile)) as raster:
        assert np.array_equal(whole(raster), read_image(tmp_path / "a.tif"))


def test_bands_are_ordered_by_their_colours(tmp_path: Path) -> None:
    import rasterio
    from rasterio.enums import ColorInterp

    image = pattern(20, 30)
    path = write_tiff(tmp_path / "a.tif", image[..., ::-1], photometric="MINISBLACK", **placed())
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    with Raster(path) as raster:
        assert np.array_equal(whole(raster), image)


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint16"), (7, "float32")])
def test_a_network_of_bands_gets_them_as_stored(tmp_path: Path, bands: int, dtype: str) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(20, 30, bands, dtype), **TILES)
    with Raster(path, bands) as raster:
        stored = whole(raster)
    assert (stored.dtype, stored.shape) == (dtype, (20, 30, bands))
    assert np.array_equal(stored, read_bands(path, bands))


@pytest.mark.parametrize("nodata", [-9999.0, float("nan")])
def test_a_network_of_bands_sees_the_fill_where_there_is_no_data(tmp_path: Path, nodata: float) -> None:
    image = pattern(20, 30, 2, "float32")
    image[:5] = nodata
    with Raster(write_tiff(tmp_path / "a.tif", image, nodata=nodata), 2, (0.5, 0.25)) as raster:
        stored = whole(raster)
    assert (stored[:5] == (0.5, 0.25)).all()
    assert np.array_equal(stored[5:], image[5:])


def test_pixels_without_data_are_known_by_value_alpha_or_mask(tmp_path: Path) -> None:
    image, there = pattern(20, 30) | 1, np.ones((20, 30), bool)
    there[:, 25:] = there[3, 4] = False
    alpha = np.where(there, 200, 0).astype(np.uint8)
    paths = (
        write_tiff(tmp_path / "value.tif", image * there[..., None], nodata=0),
        write_tiff(tmp_path / "alpha.tif", np.dstack([image, alpha]), alpha="YES", photometric="RGB"),
        write_tiff(tmp_path / "mask.tif", image, mask=there),
    )
    for path in paths:
        with Raster(path) as raster:
            assert raster.has_gaps
            valid = raster.valid(Box(2, 4, 10, 26))
            assert valid is not None
            assert np.array_equal(valid, there[2:12, 4:30])
            assert raster.valid(Box(5, 5, 10, 10)) is None
    with Raster(write_tiff(tmp_path / "full.tif", image)) as raster:
        assert not raster.has_gaps
        assert raster.valid(Box(0, 0, 20, 30)) is None


def test_a_value_that_one_band_has_is_data(tmp_path: Path) -> None:
    image = pattern(20, 30) | 1
    image[4, 4, 0] = 0
    with Raster(write_tiff(tmp_path / "a.tif", image, nodata=0)) as raster:
        assert raster.valid(Box(0, 0, 20, 30)) is None


def test_truncated_file_is_named_with_its_rows(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(200, 300), **TILES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.tif' cannot be read \(rows 180 to 199"), Raster(path) as raster:
        raster.read(Box(180, 0, 20, 300))


def with_size(path: Path, size: tuple[int, int]) -> Path:
    """A classic little-endian TIFF that declares another (height, width)."""
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    for entry in range(first + 2, first + 2 + 12 * count, 12):
        tag = struct.unpack_from("<H", data, entry)[0]
        if tag in (256, 257):
            struct.pack_into("<HII", data, entry + 2, 4, 1, size[257 - tag])
    path.write_bytes(data)
    return path


def test_more_pixels_than_the_file_can_hold_are_refused(tmp_path: Path) -> None:
    path = with_size(write_tiff(tmp_path / "a.tif", pattern(64, 64), **TILES), (100_000, 100_000))
    assert is_raster(path)
    with pytest.raises(DataError, match=r"a\.tif' declares 100000x100000 px .* in \d+ bytes"):
        Raster(path)


def test_a_block_too_large_for_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "_LARGEST_BLOCK", 200 * 300 * 3 - 1)
    path = write_tiff(tmp_path / "a.tif", pattern(200, 300), blockysize=200, compress="deflate", interleave="pixel")
    with pytest.raises(DataError, match="stored in blocks of 300x200 px") as error:
        Raster(path)
    assert "gdal_translate -co TILED=YES" in error.value.fix


@pytest.mark.parametrize(
    ("image", "profile", "said"),
    [
        (pattern(20, 30, 4), {"photometric": "MINISBLACK"}, "has 4 bands .* the network reads 3"),
        (pattern(20, 30, 2), {}, "has 2 bands .* the network reads 3"),
        (pattern(20, 30, 4), {"photometric": "CMYK"}, "stores CMYK"),
        (pattern(20, 30, 3, "uint16"), {}, r"has more than 8 bits per channel \(uint16\)"),
    ],
    ids=["four bands", "two bands", "cmyk", "16 bits"],
)
def test_what_is_no_rgb_is_refused(tmp_path: Path, image: np.ndarray, profile: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"a\.tif' {said}"):
        Raster(write_tiff(tmp_path / "a.tif", image, **profile))


def test_other_bands_than_the_networks_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(20, 30, 4, "uint16"))
    with Raster(path, 6) as raster, pytest.raises(DataError, match=r"a\.tif' has 4 bands, and 6 are wanted"):
        whole(raster)


def test_a_file_that_points_to_others_is_not_followed(tmp_path: Path) -> None:
    other = write_tiff(tmp_path / "other.tif", pattern(20, 30))
    path = tmp_path / "a.tif"
    path.write_text(
        f'<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{other}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DataError, match="cannot be read"):
        Raster(path)


def test_rows_of_a_band_of_windows_are_kept_where_reading_decodes_whole_rows(tmp_path: Path) -> None:
    from rasterio.env import getenv

    image = np.zeros((4, 40_000, 3), np.uint8)
    for profile, expected in (({"interleave": "pixel"}, 602 * 40_000 * 3), (TILES, 64 << 20)):
        path = write_tiff(tmp_path / "a.tif", image, compress="deflate", **{"blockysize": 1, **profile})
        with Raster(path, rows=600):
            assert getenv()["GDAL_CACHEMAX"] == expected


def test_pages_and_orientation_that_are_passed_over_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = Image.fromarray(pattern(20, 30))
    picture.save(tmp_path / "a.tif", save_all=True, append_images=[picture], tiffinfo={274: 6})
    with Raster(tmp_path / "a.tif"):
        pass
    assert "several pages; the first is read" in caplog.text
    assert "orientation 6, which is not applied" in caplog.text


def test_georeferenced_or_large_tiffs_are_rasters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pattern(20, 30)
    plain = write_tiff(tmp_path / "plain.tif", image)
    assert is_raster(write_tiff(tmp_path / "placed.TIFF", image, **placed()))
    assert is_raster(write_tiff(tmp_path / "transform.tif", image, transform=placed()["transform"], BIGTIFF="YES"))
    assert not is_raster(plain)
    (tmp_path / "plain.tfw").write_text("0.2\n0\n0\n-0.2\n500000\n5000000\n")
    assert is_raster(plain)
    Image.fromarray(image).save(tmp_path / "a.png")
    (tmp_path / "damaged.tif").write_bytes(b"II*\0")
    monkeypatch.setattr(windowed, "RASTER_PIXELS", 20 * 30 - 1)
    assert is_raster(write_tiff(tmp_path / "large.tif", image))
    assert not is_raster(tmp_path / "a.png")
    assert not is_raster(tmp_path / "damaged.tif")
    assert not is_raster(tmp_path / "missing.tif")


def test_without_rasterio_the_loss_of_a_georeference_is_told_and_large_pictures_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(20, 30), **placed())
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert not is_raster(path)
    assert 'a.tif\' has one: to keep it, pip install "segwright[geo]"' in caplog.text
    monkeypatch.setattr(windowed, "RASTER_PIXELS", 20 * 30 - 1)
    assert is_raster(path)
    with pytest.raises(MissingExtraError, match=r"a\.tif' needs rasterio") as error:
        Raster(path)
    assert error.value.fix == 'pip install "segwright[geo]"'


def test_facts_of_a_raster_need_no_pixel(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(200, 300, 4, "uint16"), nodata=7, **TILES, **placed())
    path.write_bytes(path.read_bytes()[:-2000])
    facts = raster_facts(path)
    assert facts == ((200, 300), 4, "uint16", "EPSG:32632", (0.2, 0.2), 7)
    assert raster_facts(write_tiff(tmp_path / "b.tif", pattern(20, 30)))[3:] == (None, None, None)
    (tmp_path / "c.tif").write_bytes(b"II*\0")
    with pytest.raises(DataError, match=r"c\.tif' cannot be read"):
        raster_facts(tmp_path / "c.tif")


def test_damaged_files_are_told_whatever_is_wrong_with_them(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(60, 80), compress="deflate", **TILES, **placed())
    whole_file, random, told = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(120):
        damaged = np.frombuffer(whole_file, np.uint8).copy()
        places = random.integers(0, random.choice([400, len(damaged)]), random.integers(1, 5))
        damaged[places] = random.integers(0, 256, len(places))
        path.write_bytes(damaged[: random.choice([len(damaged), random.integers(len(damaged))])].tobytes())
        is_raster(path)
        try:
            with Raster(path) as raster:
                box = Box(0, 0, min(64, raster.size[0]), min(64, raster.size[1]))
                assert raster.read(box).shape == (box.height, box.width, 3)
                assert len(raster.place) == 4
        except DataError as error:
            assert "a.tif'" in error.message
            assert error.fix
            told += 1
    assert 40 < told < 120
