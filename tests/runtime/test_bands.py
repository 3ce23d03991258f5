"""What is read of pictures of any number of bands, and what is refused."""

import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import DataError, MissingExtraError, ShapeError
from segwright.runtime.bands import as_bands, as_picture, read_bands, read_picture, rgb_view
from segwright.runtime.images import find_images, read_image
from segwright.runtime.stored import stored_as

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")

SIZE = (6, 9)


def values(bands: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return rng.normal(0, 1000, (*SIZE, bands)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (*SIZE, bands), dtype=dtype, endpoint=True)


def write_tiff(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    height, width, count = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype, **options
        ) as file:
            file.write(np.moveaxis(pixels, -1, 0))
    return path


def with_orientation(path: Path, orientation: int) -> Path:
    """The TIFF at ``path`` with the tag in its directory, in the place of one that nobody needs."""
    content = bytearray(path.read_bytes())
    order = "<" if content[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", content, 4)[0]
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from(order + "H", content, start)[0], 12):
        if struct.unpack_from(order + "H", content, place)[0] == 273 - 14:  # compression (259): 1 is the default
            struct.pack_into(order + "HHIHH", content, place, 274, 3, 1, orientation, 0)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("bands", "dtype", "read_as"),
    [
        (1, "uint8", "uint8"),
        (2, "uint8", "uint8"),
        (3, "uint8", "uint8"),
        (4, "uint8", "uint8"),
        (5, "uint8", "uint8"),
        (1, "uint16", "uint16"),
        (3, "uint16", "uint16"),
        (4, "uint16", "uint16"),
        (13, "uint16", "uint16"),
        (1, "int8", "float32"),
        (1, "int16", "float32"),
        (2, "int16", "float32"),
        (1, "int32", "float32"),
        (1, "uint32", "float32"),
        (1, "float32", "float32"),
        (3, "float32", "float32"),
        (1, "float64", "float32"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"interleave": "band", "compress": "lzw"}, {"tiled": True, "bigtiff": "yes"}])
def test_a_tiff_gives_its_stored_values(
    tmp_path: Path, bands: int, dtype: str, read_as: str, options: dict[str, Any]
) -> None:
    pixels = values(bands, dtype)
    sizes = {"blockxsize": 16, "blockysize": 16} if "tiled" in options else {}
    path = write_tiff(tmp_path / "a.tif", pixels, **options, **sizes)
    read = read_bands(path, bands)
    assert read.dtype == read_as
    np.testing.assert_array_equal(read, pixels.astype(read_as))
    stored = stored_as(path)
    assert (stored.size, stored.bands, stored.dtype) == (SIZE, bands, read_as)


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint16"), (1, "uint8"), (4, "uint16"), (3, "uint8")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_it_is_shown(tmp_path: Path, bands: int, dtype: str, orientation: int) -> None:
    pixels = values(bands, dtype)
    path = with_orientation(write_tiff(tmp_path / "a.tif", pixels), orientation)
    small = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(SIZE))
    exif = Image.Exif()
    exif[274] = orientation
    small.save(tmp_path / "a.png", exif=exif)
    places = read_bands(tmp_path / "a.png", 1)[..., 0]
    expected = pixels.reshape(-1, bands)[places]
    np.testing.assert_array_equal(read_bands(path, bands), expected)
    assert stored_as(path).size == stored_as(tmp_path / "a.png").size == expected.shape[:2]


@pytest.mark.parametrize(
    ("mode", "bands"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 1), ("I;16", 1)]
)
def test_a_png_gives_the_bands_of_its_mode(tmp_path: Path, mode: str, bands: int) -> None:
    rng = np.random.default_rng(1)
    colours = Image.fromarray(rng.integers(0, 256, (*SIZE, 4), np.uint8), "RGBA")
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, SIZE, np.uint16))
    else:
        picture = colours.convert("RGB").convert(mode) if mode == "P" else colours.convert(mode)
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.convert({"P": "RGB", "1": "L"}.get(mode, mode))).reshape(*SIZE, bands)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.png", bands), expected)
    np.testing.assert_array_equal(as_picture(picture, bands), expected)
    assert stored_as(tmp_path / "a.png").bands == bands


def test_a_colour_png_of_16_bits_is_not_cut(tmp_path: Path) -> None:
    pixels = values(3, "uint16")
    write_tiff(tmp_path / "a.tif", pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "a.png", "w", driver="PNG", width=9, height=6, count=3, dtype="uint16") as file:
            file.write(np.moveaxis(pixels, -1, 0))
    np.testing.assert_array_equal(read_bands(tmp_path / "a.png", 3), pixels)
    with Image.open(tmp_path / "a.png") as picture, pytest.raises(DataError, match="cut to 8 bits"):
        as_picture(picture, 3)


def test_cmyk_keeps_its_four_bands(tmp_path: Path) -> None:
    pixels = values(4, "uint8")
    Image.fromarray(pixels, "CMYK").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_bands(tmp_path / "a.tif", 4), pixels)
    assert stored_as(tmp_path / "a.tif").fits_rgb


def test_an_array_file_is_a_picture(tmp_path: Path) -> None:
    for dtype, read_as in (("uint8", "uint8"), (">u2", "uint16"), ("int64", "float32"), ("float16", "float32")):
        pixels = np.arange(54 * 5).reshape(*SIZE, 5).astype(dtype)
        np.save(tmp_path / "a.npy", pixels)
        read = read_bands(tmp_path / "a.npy", 5)
        assert read.dtype == read_as
        np.testing.assert_array_equal(read, pixels)
    np.save(tmp_path / "grey.npy", pixels[..., 0])
    assert read_bands(tmp_path / "grey.npy", 1).shape == (*SIZE, 1)


def test_arrays_count_in_folders_without_other_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values(2, "uint8"))
    assert find_images([tmp_path]) == find_images([tmp_path / "a.npy"]) == [tmp_path / "a.npy"]
    Image.new("L", (3, 3)).save(tmp_path / "b.png")
    assert find_images([tmp_path]) == [tmp_path / "b.png"]


def test_a_pickle_in_an_array_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy.*type object"):
        read_bands(tmp_path / "a.npy", 1)


@pytest.mark.parametrize("end", [4, 9, 40, 200])
def test_a_truncated_file_is_named(tmp_path: Path, end: int) -> None:
    np.save(tmp_path / "a.npy", values(4, "uint16"))
    write_tiff(tmp_path / "a.tif", values(4, "uint16"))
    for path in (tmp_path / "a.npy", tmp_path / "a.tif"):
        path.write_bytes(path.read_bytes()[:end])
        with pytest.raises(DataError, match=path.name):
            read_bands(path, 4)


def test_another_number_of_bands_names_both(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", values(4, "uint16"))
    with pytest.raises(DataError, match=r"a\.tif' has 4 bands, and 3 are wanted"):
        read_bands(path, 3)
    with pytest.raises(DataError, match=r"has 4 bands, and 1 is wanted; give pictures of 1 band, or"):
        read_bands(path, 1)
    with pytest.raises(DataError, match=r"np\.moveaxis"):
        as_bands(np.zeros((4, 6, 9), np.uint16), 4, "the picture")


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    pixels = values(2, "float32")
    pixels[0, 0], pixels[1, 1, 1] = np.nan, np.inf
    with pytest.raises(DataError, match=r"a\.tif' holds 3 values that are NaN or infinite"):
        read_bands(write_tiff(tmp_path / "a.tif", pixels), 2)
    with pytest.raises(DataError, match="infinite"):  # beyond float32
        as_bands(np.full((2, 2), 1e300), 1, "the picture")


def test_arrays_of_no_picture_are_refused() -> None:
    for pixels in (np.zeros(3), np.zeros((2, 0, 3)), np.zeros((1, 2, 3, 4))):
        with pytest.raises(ShapeError, match="shape"):
            as_bands(pixels, 3, "the picture")
    with pytest.raises(DataError, match="complex"):
        as_bands(np.zeros((2, 2), complex), 1, "the picture")
    with pytest.raises(DataError, match="made of list"):
        as_picture([1, 2], 1)  # type: ignore[arg-type]


def test_the_first_page_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Image.fromarray(values(1, "uint16", seed)[..., 0]) for seed in (0, 1)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_bands(tmp_path / "a.tif", 1), values(1, "uint16"))
    assert "several pages" in caplog.text


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match="exceed the limit of 50"):
        read_bands(write_tiff(tmp_path / "a.tif", values(4, "uint16")), 4)


@pytest.mark.parametrize(("bands", "dtype"), [(5, "uint8"), (3, "uint16"), (1, "float64")])
def test_8_bit_rgb_refuses_other_pictures_by_what_they_hold(tmp_path: Path, bands: int, dtype: str) -> None:
    path = write_tiff(tmp_path / "a.tif", values(bands, dtype))
    with pytest.raises(DataError, match=rf"has {bands} band.*8-bit RGB is wanted") as caught:
        read_image(path)
    assert "data.bands" in caught.value.fix
    assert not stored_as(path).fits_rgb


def test_undeclared_bands_do_not_fit_rgb_and_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not stored_as(write_tiff(tmp_path / "a.tif", values(4, "uint8"), photometric="rgb", alpha="no")).fits_rgb
    assert stored_as(write_tiff(tmp_path / "b.tif", values(4, "uint8"), photometric="rgb", alpha="yes")).fits_rgb
    read_image(tmp_path / "b.tif")
    assert not caplog.records
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), values(4, "uint8")[..., :3])
    assert "neither colour nor alpha" in caplog.text


def test_rgb_is_read_as_before_without_bands(tmp_path: Path) -> None:
    Image.fromarray(values(3, "uint8")).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), values(3, "uint8"))
    np.testing.assert_array_equal(as_picture(values(3, "uint8")), values(3, "uint8"))


def test_a_picture_of_bands_is_shown_by_its_first_three_stretched() -> None:
    pixels = np.linspace(0, 60000, 100 * 100 * 4).reshape(100, 100, 4).astype(np.uint16)
    shown = rgb_view(pixels)
    assert shown.shape == (100, 100, 3)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    assert 0.015 < (shown[..., 1] == 0).mean() < 0.03
    grey = rgb_view(pixels[..., :2])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    eight = values(4, "uint8")
    np.testing.assert_array_equal(rgb_view(eight), eight[..., :3])
    assert not rgb_view(np.ones((4, 4, 1), np.float32)).any()


def test_bands_count_towards_the_limit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", values(33, "uint8"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3 * 54)
    assert read_bands(path, 33).shape == (*SIZE, 33)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3 * 54 - 1)
    with pytest.raises(DataError, match="exceed the limit"):
        read_bands(path, 33)


@pytest.mark.parametrize("kind", ["tif", "lzw.tif", "png", "npy"])
def test_damaged_files_are_one_sentence_or_read(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / f"a.{kind}", np.random.default_rng(7)
    if kind == "npy":
        np.save(path, values(4, "uint16"))
    elif kind == "png":
        Image.fromarray(values(4, "uint8"), "RGBA").save(path)
    else:
        write_tiff(path, values(4, "uint16"), compress="lzw" if "lzw" in kind else None)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(150):
        broken = whole.copy()
        places = rng.integers(0, min(len(whole), 400), rng.integers(1, 4))
        broken[places] = rng.integers(0, 256, len(places))
        path.write_bytes(broken.tobytes())
        try:
            stored = stored_as(path)
            assert read_bands(path, stored.bands).shape == (*stored.size, stored.bands)
        except DataError as error:
            assert path.name in error.message


def test_without_rasterio_what_needs_it_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = write_tiff(tmp_path / "deep.tif", values(4, "uint16"))
    grey = write_tiff(tmp_path / "grey.tif", values(1, "uint16"))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert read_bands(grey, 1).shape == (*SIZE, 1)
    with pytest.raises(MissingExtraError, match=r"deep\.tif' needs rasterio") as caught:
        read_bands(deep, 4)
    assert "segwright[geo]" in caught.value.fix
