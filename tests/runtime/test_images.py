"""Every kind of picture is read by its stated rule or refused by name."""

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.errors import ConfigError, DataError, ShapeError
from segwright.runtime import as_image, find_images, read_image
from segwright.runtime.images import allow_pixels, are_pictures

ORIENTATION = 274

# What a viewer does to the stored pixels, by the EXIF standard's numbers.
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 7), dtype=np.uint8)


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=-1)


def rgb16_png(path: Path) -> Path:
    """A colour PNG with 16 bits per channel, which Pillow can read (cut to 8) but not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, pixels: np.ndarray, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path), SHOWN[orientation](pixels))


@pytest.mark.parametrize("orientation", SHOWN)
def test_exif_orientation_of_a_jpeg_is_applied(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    shown = read_image(tmp_path / "turned.jpg")
    assert np.array_equal(shown > 127, SHOWN[orientation](stored) > 127)


def smooth_jpeg(path: Path, size: tuple[int, int], orientation: int = 1) -> Path:
    """A slow ramp down and across, (height, width) as stored."""
    down, across = (np.linspace(0, 255, side) for side in size)
    stored = np.stack(np.broadcast_arrays(down[:, None], across[None], 128), axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(path, quality=95, exif=exif)
    return path


@pytest.mark.parametrize(
    ("at_least", "expected"),
    [
        ((200, 301), (200, 301)),
        ((101, 100), (200, 301)),  # a half would be 100 rows
        ((100, 150), (100, 151)),
        ((60, 80), (100, 151)),
        ((50, 75), (50, 76)),
        ((25, 10), (25, 38)),
        ((1, 1), (25, 38)),
        ((0, 0), (25, 38)),
        ((999, 10), (200, 301)),
    ],
)
def test_jpeg_is_decoded_at_the_smallest_part_that_suffices(
    tmp_path: Path, at_least: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = smooth_jpeg(tmp_path / "a.jpg", (200, 301))
    whole, image = read_image(path), read_image(path, at_least)
    assert image.shape == (*expected, 3)
    small = np.asarray(Image.fromarray(whole).resize(expected[::-1], Image.Resampling.BOX))
    assert np.abs(image.astype(int) - small).max() <= 6
    if expected == (200, 301):
        assert np.array_equal(image, whole)


@pytest.mark.parametrize("orientation", SHOWN)
def test_size_that_suffices_is_that_of_the_picture_as_shown(tmp_path: Path, orientation: int) -> None:
    path = smooth_jpeg(tmp_path / "a.jpg", (80, 320), orientation)
    lies = orientation >= 5
    assert read_image(path, (160, 40) if lies else (40, 160)).shape[:2] == ((160, 40) if lies else (40, 160))
    assert read_image(path, (40, 160) if lies else (160, 40)).shape[:2] == ((320, 80) if lies else (80, 320))


def test_other_formats_are_read_in_full(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", (1, 1)), pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_ink_jpegs_shrink_too(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (64, 32), 60 if mode == "L" else (0, 90, 90, 0)).save(tmp_path / "a.jpg")
    small, whole = read_image(tmp_path / "a.jpg", (8, 16)), read_image(tmp_path / "a.jpg")
    assert small.shape == (8, 16, 3)
    assert np.abs(small.astype(int) - whole[::4, ::4]).max() <= 1


def test_pil_image_is_turned_and_stays_as_it_was(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        assert np.array_equal(as_image(picture), SHOWN[6](pixels))
        assert picture.size == (7, 5)
        assert np.array_equal(as_image(picture), SHOWN[6](pixels))


def test_rgb_is_read_as_it_is(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"))
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_is_repeated(tmp_path: Path, grey: np.ndarray, suffix: str) -> None:
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), repeated(grey))


def test_one_bit_becomes_0_and_255(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(grey > 127).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), repeated(np.where(grey > 127, 255, 0)))


def test_alpha_of_rgba_is_dropped(tmp_path: Path, pixels: np.ndarray, grey: np.ndarray) -> None:
    Image.fromarray(np.dstack([pixels, grey])).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)


def test_alpha_of_grey_is_dropped(tmp_path: Path, grey: np.ndarray) -> None:
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(grey[::-1].copy())]).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), repeated(grey))


@pytest.mark.parametrize("transparency", [None, 2, bytes([0, 128, 255])])
def test_palette_is_looked_up(tmp_path: Path, transparency: int | bytes | None) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    assert np.array_equal(read_image(tmp_path / "a.png"), colours[indices])


def test_palette_with_alpha_is_looked_up(grey: np.ndarray) -> None:
    picture = Image.fromarray(grey % 3)
    picture.putpalette(bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    colours = np.asarray(picture.convert("RGB"))
    assert np.array_equal(as_image(picture.convert("PA")), colours)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, 4:, 1:3] = 255  # magenta and yellow make red; no ink is white
    Image.frombytes("CMYK", (8, 8), inks.tobytes()).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 7].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (np.full((4, 4), 1000, np.uint16), "png"),
        (np.full((4, 4), 1000, np.uint16), "tif"),
        (np.full((4, 4), 100000, np.int32), "tif"),
        (np.full((4, 4), 0.5, np.float32), "tif"),
    ],
)
def test_more_than_8_bits_is_refused(tmp_path: Path, values: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match="more than 8 bits") as caught:
        read_image(path)
    assert "deep" in caught.value.message
    assert "convert to 8 bit" in caught.value.fix
    with Image.open(path) as picture, pytest.raises(DataError, match="more than 8 bits"):
        as_image(picture)


def test_16_bit_colour_is_refused_although_pillow_would_cut_it(tmp_path: Path) -> None:
    path = rgb16_png(tmp_path / "deep.png")
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
    with pytest.raises(DataError, match="more than 8 bits"):
        read_image(path)


def test_lab_is_converted() -> None:
    lab = Image.merge("LAB", [Image.new("L", (2, 2), level) for level in (255, 128, 128)])
    assert np.abs(as_image(lab).astype(int) - 255).max() <= 2


def test_ycbcr_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("YCbCr").save(path)
    with Image.open(path) as picture:
        assert picture.mode == "YCbCr"
    assert np.abs(read_image(path).astype(int) - (200, 30, 60)).max() <= 2


def saved(path: Path, *, size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    whole = saved(path)
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=rf"cut\.{suffix}' cannot be read"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
def test_damaged_file_gives_a_picture_or_a_data_error(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"a.{suffix}", np.random.default_rng(0)
    whole, refused = np.frombuffer(saved(path, size=(16, 12)), np.uint8), 0
    for _ in range(40):
        damaged = whole.copy()
        damaged[rng.integers(0, min(200, len(whole)), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).shape[2] == 3
        except DataError as error:
            refused += 1
            assert str(path) in error.message
    assert refused


def test_truncated_pil_image_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(saved(path)[:1500])
    with Image.open(path) as picture, pytest.raises(DataError, match="the picture cannot be read"):
        as_image(picture)


def test_zero_bytes_are_named(tmp_path: Path) -> None:
    (tmp_path / "nothing.jpg").touch()
    with pytest.raises(DataError, match=r"nothing\.jpg' is empty"):
        read_image(tmp_path / "nothing.jpg")


def test_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear reader")
    with pytest.raises(DataError, match=r"letter\.jpg' cannot be read \(not an image"):
        read_image(tmp_path / "letter.jpg")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg' does not exist"):
        read_image(tmp_path / "gone.jpg")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [99, 49])  # Pillow warns above its limit and fails above twice of it
def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"bomb\.png' is too large"):
        read_image(tmp_path / "bomb.png")


def test_decompression_bomb_is_refused_where_warnings_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(DataError, match=r"bomb\.png' is too large"):
        read_image(tmp_path / "bomb.png")


def test_larger_pictures_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)
    allow_pixels("")
    with pytest.raises(DataError, match="set SEGWRIGHT_MAX_PIXELS=N if you trust it"):
        read_image(tmp_path / "large.png")
    allow_pixels("100")
    assert read_image(tmp_path / "large.png").shape == (10, 10, 3)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1e9"])
def test_a_limit_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="SEGWRIGHT_MAX_PIXELS is "):
        allow_pixels(text)


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_first_frame_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING, logger="segwright"):
        image = read_image(tmp_path / f"film.{suffix}")
    assert (image == 255).all()
    assert "2 frames" in caplog.text
    assert f"film.{suffix}" in caplog.text


def test_single_picture_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif")
    read_image(tmp_path / "still.gif")
    assert caplog.text == ""


def test_array_is_taken_as_it_is(pixels: np.ndarray) -> None:
    assert as_image(pixels) is pixels


def test_grey_array_is_repeated(grey: np.ndarray) -> None:
    assert np.array_equal(as_image(grey), repeated(grey))


@pytest.mark.parametrize("shape", [(3, 5, 7), (5, 7, 4), (1, 5, 7, 3), (5,), (0, 7, 3), (0, 7)])
def test_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="must be"):
        as_image(np.zeros(shape, np.uint8))


def test_float_array_is_refused_with_the_conversion(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="got float32") as caught:
        as_image((pixels / 255).astype(np.float32))
    assert "(image * 255).round().astype(np.uint8)" in caught.value.fix


def test_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be made of int"):
        as_image(3)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "sub/deep/c.webp", "notes.txt", ".hidden.png", ".cache/d.png", "x[1].tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_folder_is_searched_to_the_bottom_and_sorted(tree: Path) -> None:
    assert names(find_images([tree]), tree) == ["a.JPG", "b.png", "sub/deep/c.webp", "x[1].tif"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png"]),
        ("**/*.webp", ["sub/deep/c.webp"]),
        ("?.*", ["a.JPG", "b.png"]),
        ("x[1].tif", ["x[1].tif"]),
    ],
)
def test_patterns_are_expanded(tree: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_images([f"{tree}/{pattern}"]), tree) == expected


def test_sources_keep_their_order_and_files_come_once(tree: Path) -> None:
    found = find_images([tree / "b.png", f"{tree}/*.png", str(tree / "a.JPG")])
    assert names(found, tree) == ["b.png", "a.JPG"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.png", "does not exist"),
        ("notes.txt", "no picture by its name"),
        ("*.bmp", "matches no picture"),
        ("empty", "holds no picture"),
    ],
)
def test_source_without_picture_is_named(tree: Path, source: str, message: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        find_images([tree / "b.png", f"{tree}/{source}"])
    assert source in caught.value.message


def test_no_source_says_what_is_read() -> None:
    with pytest.raises(DataError, match="no picture was given") as caught:
        find_images([])
    assert "jpg jpeg png webp bmp tif tiff gif" in caught.value.fix


def test_words_that_mean_pictures_are_told_from_models(tmp_path: Path) -> None:
    (tmp_path / "street[1].onnx").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    for word in ("missing.JPG", str(tmp_path), f"{tmp_path}/*.png", "a/street.tif"):
        assert are_pictures(word)
    for word in ("camvid/fast_scnn", "model.safetensors", str(tmp_path / "run"), str(tmp_path / "street[1].onnx")):
        assert not are_pictures(word)


def test_links_to_folders_are_searched_too(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "z.png").touch()
    (tree / "more").symlink_to(other)
    assert "more/z.png" in names(find_images([tree]), tree)
