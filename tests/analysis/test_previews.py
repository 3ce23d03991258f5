from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.previews import (
    IGNORED_STRIPES,
    UNKNOWN_STRIPES,
    Candidate,
    Preview,
    draw_previews,
    fit,
    palette_of,
    show_size,
    typical_tile,
)
from segwright.data.masks import Labels

from .pairs import CLASSES, IGNORED, LABELS, PALETTE, mask_of

BOX = (24, 32)


def drawn(tmp_path: Path, mask: Image.Image | None, labels: Labels = LABELS, picture: bool = True) -> Preview:
    image_path, mask_path = tmp_path / "image.png", tmp_path / "mask.png"
    if picture:
        Image.new("RGB", (16, 12), (100, 100, 100)).save(image_path)
    if mask:
        mask.save(mask_path)
    candidate = Candidate("a", image_path if picture else None, mask_path if mask else None)
    return draw_previews([candidate], labels, BOX)[0]


def colours(image: Image.Image | None) -> set[tuple[int, ...]]:
    assert image is not None
    return {tuple(colour) for colour in np.asarray(image).reshape(-1, 3).tolist()}


def test_a_pair_is_drawn_three_times_in_one_size(tmp_path: Path) -> None:
    preview = drawn(tmp_path, Image.fromarray(mask_of(0, 1, 2)))
    assert preview.picture is not None and preview.mask is not None and preview.overlay is not None
    assert {part.size for part in (preview.picture, preview.mask, preview.overlay)} == {(32, 24)}
    assert colours(preview.mask) == set(PALETTE)
    assert colours(preview.overlay) == {(50, 50, 50), (150, 50, 50), (50, 150, 50)}
    assert (preview.size, preview.present, preview.reasons) == ((12, 16), (0, 1, 2), ())


def test_ignored_pixels_are_striped_and_differ_from_a_black_class(tmp_path: Path) -> None:
    preview = drawn(tmp_path, Image.fromarray(mask_of(0, IGNORED)))
    assert colours(preview.mask) == {PALETTE[0], *IGNORED_STRIPES}
    assert preview.has_ignored
    assert not preview.has_unknown


@pytest.mark.parametrize("is_colour", [False, True])
def test_unknown_values_are_striped_in_magenta_and_the_others_shown(tmp_path: Path, is_colour: bool) -> None:
    mask = Image.fromarray(mask_of(1, 77))
    labels = LABELS
    if is_colour:
        mask.putpalette([0, 0, 0, *PALETTE[1], *[9] * (254 * 3)])
        mask, labels = mask.convert("RGB"), Labels(CLASSES, PALETTE, palette_is_stated=True)
    preview = drawn(tmp_path, mask, labels)
    assert colours(preview.mask) == {PALETTE[1], *UNKNOWN_STRIPES}
    assert preview.has_unknown
    assert preview.present == (1,)


def test_a_class_that_is_lost_in_the_small_picture_is_present_all_the_same(tmp_path: Path) -> None:
    mask = mask_of(0, size=(120, 160))
    mask[1, 1] = 2
    preview = drawn(tmp_path, Image.fromarray(mask))
    assert preview.present == (0, 2)


def test_an_rgb_mask_without_colours_is_shown_as_it_is(tmp_path: Path) -> None:
    preview = drawn(tmp_path, Image.new("RGB", (16, 12), (1, 2, 3)))
    assert colours(preview.mask) == {(1, 2, 3)}
    assert preview.has_unknown


def test_sizes_that_differ_leave_the_overlay_out_and_are_named(tmp_path: Path) -> None:
    preview = drawn(tmp_path, Image.fromarray(mask_of(0, size=(6, 8))))
    assert preview.mask is not None
    assert preview.overlay is None
    assert preview.reason("overlay") == "picture 16 x 12, mask 8 x 6"


def test_a_missing_partner_is_a_reason_and_no_error(tmp_path: Path) -> None:
    lonely = drawn(tmp_path, None)
    assert lonely.picture is not None
    assert (lonely.mask, lonely.reason("mask")) == (None, "no mask")
    other = drawn(tmp_path, Image.fromarray(mask_of(1)), picture=False)
    assert (other.picture, other.reason("picture"), other.size) == (None, "no picture", (12, 16))


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"])
def test_damaged_files_are_reasons_and_no_errors(tmp_path: Path, content: bytes) -> None:
    for name in ("image.png", "mask.png"):
        (tmp_path / name).write_bytes(content)
    preview = draw_previews([Candidate("a", tmp_path / "image.png", tmp_path / "mask.png")], LABELS, BOX)[0]
    assert [preview.reason(part) for part in ("picture", "mask")] == ["cannot be read"] * 2
    assert preview.overlay is None


def test_pictures_of_16_bits_are_shown(tmp_path: Path) -> None:
    values = np.linspace(30_000, 31_000, 192).astype(np.uint16).reshape(12, 16)
    Image.fromarray(values).save(tmp_path / "image.png")
    preview = draw_previews([Candidate("a", tmp_path / "image.png", None)], LABELS, BOX)[0]
    shown = np.asarray(preview.picture)
    assert shown.min() < 20
    assert shown.max() > 235


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_photograph_is_shown_as_people_see_it(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((300, 400, 3), np.uint8)
    stored[:, :100] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(stored).save(tmp_path / "image.jpg", exif=exif, quality=95)
    preview = draw_previews([Candidate("a", tmp_path / "image.jpg", None)], LABELS, (40, 40))[0]
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    seen = np.rot90(stored, turns)
    assert preview.size == seen.shape[:2]
    assert preview.picture is not None
    small = np.asarray(Image.fromarray(seen).resize(preview.picture.size, Image.Resampling.BOX), np.int16)
    assert np.abs(np.asarray(preview.picture, np.int16) - small).mean() < 8


def test_tiles_have_the_shape_in_the_middle(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, size in zip(paths, ((10, 20), (10, 20), (20, 10)), strict=False):
        Image.new("L", size).save(path)
    assert typical_tile(paths, 100) == (150, 100)  # twice as high as wide, and not higher than 1.5; one is missing
    assert typical_tile(paths[2:], 100) == (50, 100)
    assert typical_tile([], 100) == (75, 100)


def test_pictures_keep_their_shape() -> None:
    assert fit((100, 400), (50, 50)) == (12, 50)
    assert fit((1, 4000), (50, 50)) == (1, 50)
    assert fit((2, 4), (50, 80)) == (40, 80)


def test_sizes_are_written_width_first() -> None:
    assert show_size((12, 16)) == "16 x 12"
    assert show_size(None) == "of unknown size"


def test_classes_without_colours_get_some() -> None:
    assert len(set(palette_of(Labels(CLASSES)))) == len(CLASSES)
    assert palette_of(LABELS) == PALETTE
