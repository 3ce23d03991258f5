import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segwright.data import Labels, MaskReader
from segwright.data.masks import count_pixels, read_raw_mask
from segwright.data.transforms import EXIF_ORIENTATION
from segwright.errors import DataError

CLASSES = ("sky", "road", "car")
COLOURS = ((70, 130, 180), (128, 64, 128), (0, 0, 142))
INDICES = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], np.uint8)


def saved(tmp_path: Path, pixels: np.ndarray, name: str = "mask.png", mode: str | None = None) -> Path:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(tmp_path / name)
    return tmp_path / name


def write_grey_png(path: Path, rows: list[bytes], width: int, bits: int) -> None:
    """A grey PNG of fewer than 8 bits, which Pillow reads but does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def refused(reader: MaskReader, path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        reader.read(path)
    return caught.value


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.bmp"])
def test_index_masks_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    mask = MaskReader(Labels(CLASSES)).read(saved(tmp_path, INDICES, name))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, INDICES)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_palette_masks_are_read_by_index_whatever_their_colours(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(INDICES)
    picture.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
    picture.save(tmp_path / name)
    np.testing.assert_array_equal(MaskReader(Labels(CLASSES)).read(tmp_path / name), INDICES)


def test_one_bit_masks_give_classes_0_and_1(tmp_path: Path) -> None:
    bits = np.array([[True, False, False], [False, True, True]])
    path = saved(tmp_path, bits)
    with Image.open(path) as picture:
        assert picture.mode == "1"
    np.testing.assert_array_equal(MaskReader(Labels(("off", "on"))).read(path), bits)


@pytest.mark.parametrize(("bits", "row"), [(2, bytes([0b00_01_10_11])), (4, bytes([0x01, 0x23]))])
def test_grey_masks_of_2_and_4_bits_keep_their_values(tmp_path: Path, bits: int, row: bytes) -> None:
    write_grey_png(tmp_path / "mask.png", [row], 4, bits)
    np.testing.assert_array_equal(read_raw_mask(tmp_path / "mask.png"), [[0, 1, 2, 3]])


def test_16_bit_masks_hold_ids_above_255_and_ignore_65535(tmp_path: Path) -> None:
    labels = Labels(tuple(f"plant {index}" for index in range(300)), ignore=(65535,))
    raw = np.array([[0, 255, 256], [299, 65535, 1]], np.uint16)
    path = saved(tmp_path, raw)
    with Image.open(path) as picture:
        assert picture.mode == "I;16"
    mask = MaskReader(labels).read(path)
    assert mask.dtype == np.uint16
    assert labels.ignore_index == 65535
    np.testing.assert_array_equal(mask, raw)


def test_16_bit_ids_are_mapped_to_few_classes(tmp_path: Path) -> None:
    labels = Labels(CLASSES, ignore=(65535,), map={24001: "car", 40000: "ignore"})
    mask = MaskReader(labels).read(saved(tmp_path, np.array([[24001, 40000, 65535, 1]], np.uint16)))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[2, 255, 255, 1]])


def test_raw_values_are_mapped_to_a_class_or_to_ignore(tmp_path: Path) -> None:
    labels = Labels(CLASSES, map={7: "road", 12: "ignore"})
    mask = MaskReader(labels).read(saved(tmp_path, np.array([[7, 12, 255, 2]], np.uint8)))
    np.testing.assert_array_equal(mask, [[1, 255, 255, 2]])


@pytest.mark.parametrize(
    "labels",
    [
        Labels(CLASSES, COLOURS, palette_is_stated=True, map={(0, 0, 0): "ignore"}),
        Labels(CLASSES, map={**dict(zip(COLOURS, CLASSES, strict=True)), (0, 0, 0): "ignore"}),
        Labels(
            CLASSES, (*COLOURS[:2], (1, 1, 1)), palette_is_stated=True, map={COLOURS[2]: "car", (0, 0, 0): "ignore"}
        ),
    ],
    ids=["palette", "map", "both"],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colour_masks_are_read_by_palette_and_map(tmp_path: Path, labels: Labels, mode: str) -> None:
    table = np.zeros((256, 3), np.uint8)
    table[:3] = COLOURS
    path = saved(tmp_path, table[INDICES], mode=mode)
    np.testing.assert_array_equal(MaskReader(labels).read(path), INDICES)


def test_a_generic_palette_does_not_read_colour_masks(tmp_path: Path) -> None:
    path = saved(tmp_path, np.full((2, 2, 3), COLOURS[0], np.uint8))
    error = refused(MaskReader(Labels(CLASSES, COLOURS)), path)
    assert f"mask '{path}' is an RGB picture" in error.message
    assert "palette: {road: [128, 64, 128]}" in error.fix
    assert "map:" in error.fix


def test_an_unknown_value_names_file_value_count_place_and_fix(tmp_path: Path) -> None:
    raw = np.zeros((4, 5), np.uint8)
    raw[2, 1:4], raw[3, 0] = 34, 9
    path = saved(tmp_path, raw)
    error = refused(MaskReader(Labels(CLASSES)), path)
    assert error.message == (
        f"mask '{path}' holds unknown values 34 (3 px), 9 (1 px), first at row 2, column 1; "
        "classes end at 2 and ignore is 255"
    )
    assert error.fix == "add 'map: {34: ignore, 9: ignore}' to data.yaml, or the classes they mean"


def test_an_unknown_value_in_a_window_is_told_with_all_of_the_file(tmp_path: Path) -> None:
    raw = np.zeros((4, 5), np.uint8)
    raw[2, 1:4], raw[3, 0] = 34, 9
    path = saved(tmp_path, raw)
    reader = MaskReader(Labels(CLASSES))
    with pytest.raises(DataError, match=r"34 \(3 px\), 9 \(1 px\), first at row 2, column 1"):
        reader.decode(raw[3:, :1], path, whole=raw)
    assert not reader.decode(raw[:2], path, whole=raw).any()


def test_unknown_values_are_added_to_a_map_that_is_there(tmp_path: Path) -> None:
    path = saved(tmp_path, np.array([[7, 34]], np.uint8))
    error = refused(MaskReader(Labels(CLASSES, map={7: "road"})), path)
    assert error.fix == "add '34: ignore' to 'map' in data.yaml, or the class it means"


def test_an_unknown_colour_names_the_colour_and_the_fix(tmp_path: Path) -> None:
    pixels = np.full((2, 3, 3), COLOURS[1], np.uint8)
    pixels[1, 2] = (1, 2, 3)
    error = refused(MaskReader(Labels(CLASSES, COLOURS, palette_is_stated=True)), saved(tmp_path, pixels))
    assert "holds value 1,2,3 (1 px), first at row 1, column 2" in error.message
    assert 'map: {"1,2,3": ignore}' in error.fix


@pytest.mark.parametrize(("name", "kind"), [("mask.jpg", "a JPEG"), ("mask.webp", "a lossy WebP")])
@pytest.mark.parametrize("values", [(0, 1), (0, 80)])
def test_lossy_masks_are_refused_even_where_all_values_are_known(
    tmp_path: Path, name: str, kind: str, values: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).choice(np.array(values, np.uint8), (16, 16))
    path = saved(tmp_path, pixels, name, mode="L")
    error = refused(MaskReader(Labels(CLASSES)), path)
    assert error.message == f"mask '{path}' is {kind}, which smears class values"
    assert error.fix == "export it as PNG from the labelling tool"


def test_a_jpeg_with_previews_is_a_lossy_mask_too(tmp_path: Path) -> None:
    picture = Image.fromarray(INDICES)
    picture.save(tmp_path / "mask.jpg", "MPO", save_all=True, append_images=[picture])
    assert "is a JPEG" in refused(MaskReader(Labels(CLASSES)), tmp_path / "mask.jpg").message


@pytest.mark.parametrize("has_metadata", [False, True])
def test_lossless_webp_masks_keep_their_values(tmp_path: Path, has_metadata: bool) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 1  # metadata, and a profile of odd length, move the picture's chunk
    extra: dict[str, Any] = {"exif": exif, "icc_profile": b"odd"} if has_metadata else {}
    table = np.zeros((256, 3), np.uint8)
    table[:3] = COLOURS
    Image.fromarray(table[INDICES]).save(tmp_path / "mask.webp", lossless=True, **extra)
    np.testing.assert_array_equal(read_raw_mask(tmp_path / "mask.webp"), table[INDICES])
    Image.fromarray(table[INDICES]).save(tmp_path / "mask.webp", lossless=False, **extra)
    assert "is a lossy WebP" in refused(MaskReader(Labels(CLASSES)), tmp_path / "mask.webp").message


def test_a_mask_of_decimal_numbers_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, np.zeros((2, 2), np.float32), "mask.tif")
    assert "decimal numbers" in refused(MaskReader(Labels(CLASSES)), path).message


def test_values_above_16_bits_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, np.full((2, 2), 70000, np.int32), "mask.tif")
    assert "outside 0..65535" in refused(MaskReader(Labels(CLASSES)), path).message


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes | str) -> None:
    path = saved(tmp_path, np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8))
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-200])
    assert f"mask '{path}' cannot be read" in refused(MaskReader(Labels(CLASSES)), path).message


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refused(MaskReader(Labels(CLASSES)), tmp_path / "none.png").message


def test_pixels_are_counted_per_class_without_ignored_ones() -> None:
    assert count_pixels(INDICES, 4) == [2, 2, 3, 0]
