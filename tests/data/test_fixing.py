import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import MaskReader, check_data, load_data
from segwright.data.fixing import Mending, fix_data
from segwright.errors import ConfigError, DataError
from segwright.runtime.images import read_image

WriteData = Callable[..., Path]
PALETTE = "palette: {sky: [1, 2, 3], road: [4, 5, 6], car: [7, 8, 9]}\n"
YAML = """\
path: .
train: {images: images/train, masks: masks/train}
val: {images: images/val, masks: masks/val}
classes: {0: sky, 1: road, 2: car}
"""


@pytest.fixture
def root(write_data: WriteData) -> Path:
    return write_data()


def fix(root: Path, **options: bool) -> tuple[Mending, Path]:
    out = root.parent / "out"
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    record = fix_data(root, out, **options)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    return record, out


def first(root: Path, kind: str = "masks") -> Path:
    return root / kind / "train" / "train_0.png"


def array(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_data_set_without_fault_is_copied_byte_by_byte(root: Path) -> None:
    record, out = fix(root)
    assert (record.mended, record.left_out, record.images) == ({}, {}, {"train": 5, "val": 3})
    for path in root.rglob("*.png"):
        assert (out / path.relative_to(root)).read_bytes() == path.read_bytes()
    assert load_data(out).labels == load_data(root).labels


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_mask_of_the_stored_pixels_is_turned_and_the_picture_stays(root: Path, orientation: int) -> None:
    head = Image.Exif()
    head[0x0112] = orientation
    upright = array(first(root))
    back = Image.Transpose.ROTATE_90 if orientation == 6 else Image.Transpose.ROTATE_270
    with Image.open(first(root, "images")) as picture:
        picture.transpose(back).save(first(root, "images"), exif=head)
    Image.fromarray(upright).transpose(back).save(first(root))
    assert not check_data(root).ok
    record, out = fix(root)
    assert record.mended == {"masks turned as their picture's EXIF orientation says": [str(first(root))]}
    assert first(out, "images").read_bytes() == first(root, "images").read_bytes()
    np.testing.assert_array_equal(array(first(out)), upright)
    assert check_data(out).ok


def test_masks_of_known_colours_become_indices(write_data: WriteData) -> None:
    root = write_data(yaml=YAML + PALETTE)
    mask = array(first(root)) % 255
    colours = np.array([(1, 2, 3), (4, 5, 6), (7, 8, 9)], np.uint8)
    Image.fromarray(colours[mask]).save(first(root))
    record, out = fix(root)
    assert list(record.mended) == ["masks of known colours written as index PNGs"]
    np.testing.assert_array_equal(array(first(out)), mask)


def test_a_map_keeps_its_meaning_for_masks_of_colours(write_data: WriteData) -> None:
    root = write_data(yaml=YAML + 'map: {7: sky, 0: ignore, "9,9,9": car, "7,7,7": sky}\n')
    colours = np.full((48, 64, 3), 7, np.uint8)
    colours[:9] = 9
    Image.fromarray(colours).save(first(root))
    _, out = fix(root)
    assert array(first(out)).ndim == 2
    before, after = MaskReader(load_data(root).labels), MaskReader(load_data(out).labels)
    np.testing.assert_array_equal(after.read(first(out)), before.read(first(root)))


def test_grey_saved_as_rgb_becomes_indices(root: Path) -> None:
    mask = array(first(root))
    Image.fromarray(mask).convert("RGB").save(first(root))
    assert not check_data(root).ok
    record, out = fix(root)
    assert list(record.mended) == ["masks saved as RGB written as index PNGs"]
    np.testing.assert_array_equal(array(first(out)), mask)
    assert check_data(out).ok


def test_unknown_colours_stay_for_the_check_to_name(root: Path) -> None:
    Image.new("RGB", (64, 48), (9, 8, 7)).save(first(root))
    record, out = fix(root)
    assert record.mended == {}
    assert [problem.code for problem in check_data(out).problems if problem.severity == "error"] == ["colour-mask"]


def test_masks_of_0_and_255_get_a_map(write_data: WriteData) -> None:
    root = write_data(yaml=YAML.replace("{0: sky, 1: road, 2: car}", "{0: wall, 1: crack}"))
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(((array(path) == 1) * 255).astype(np.uint8)).save(path)
    assert not check_data(root).ok
    (root / "masks" / "val" / "val_5.png").unlink()  # a link to nowhere says nothing about the values
    (root / "masks" / "val" / "val_5.png").symlink_to("nowhere.png")
    record, out = fix(root)
    assert list(record.mended) == ["masks of 0 and 255: 255 is 'crack' in data.yaml"]
    assert first(out).read_bytes() == first(root).read_bytes()
    assert sorted(np.unique(MaskReader(load_data(out).labels).read(first(out)))) == [0, 1]
    assert check_data(out).ok


def test_another_size_is_mended_only_where_it_is_allowed(root: Path) -> None:
    small = array(first(root))[::2, ::2]
    Image.fromarray(small).save(first(root))
    record, out = fix(root)
    assert record.mended == {}
    assert "size-mismatch" in [problem.code for problem in check_data(out).problems]
    shutil.rmtree(out)
    record, out = fix(root, resize_masks=True)
    assert list(record.mended) == ["masks resized to their picture's size by the nearest value"]
    np.testing.assert_array_equal(array(first(out)), small.repeat(2, 0).repeat(2, 1))
    assert check_data(out).ok


def test_another_shape_is_never_resized(root: Path) -> None:
    Image.fromarray(array(first(root))[:, :32]).save(first(root))
    record, _ = fix(root, resize_masks=True)
    assert record.mended == {}


def test_names_that_say_another_type_are_mended(root: Path) -> None:
    for kind in ("images", "masks"):
        first(root, kind).rename(first(root, kind).with_suffix(".bmp"))
    record, out = fix(root)
    assert set(record.mended) == {"pictures whose name said another type", "masks whose name said another type"}
    assert first(out, "images").read_bytes() == first(root, "images").with_suffix(".bmp").read_bytes()
    assert first(out).exists()


def test_a_gif_under_another_name_becomes_a_png(root: Path) -> None:
    with Image.open(first(root, "images")) as picture:
        palette = picture.convert("P")
    palette.save(first(root, "images"), "GIF")
    record, out = fix(root)
    assert list(record.mended) == ["pictures of a type that training does not read"]
    np.testing.assert_array_equal(read_image(first(out, "images")), read_image(first(root, "images")))
    assert first(out, "images").read_bytes()[:4] == b"\x89PNG"


def test_of_several_pages_the_first_is_kept_as_it_is_shown(root: Path) -> None:
    pages = [
        Image.fromarray(array(first(root, "images"))).transpose(Image.Transpose.ROTATE_90),
        Image.new("RGB", (9, 9)),
    ]
    first(root, "images").unlink()
    head = Image.Exif()
    head[0x0112] = 6
    path = first(root, "images").with_suffix(".tif")
    pages[0].save(path, save_all=True, append_images=pages[1:], exif=head)
    shown = read_image(path)
    assert shown.shape == (48, 64, 3)
    record, out = fix(root)
    assert list(record.mended) == ["pictures of several pages of which the first is kept"]
    np.testing.assert_array_equal(read_image(first(out, "images").with_suffix(".tif")), shown)


def test_what_cannot_be_read_or_has_no_partner_is_left_out_and_listed(root: Path) -> None:
    first(root).write_bytes(b"no mask")
    (root / "images/val/val_5.png").write_bytes((root / "images/val/val_5.png").read_bytes()[:-20])
    (root / "masks/train/train_1.png").unlink()
    (root / "images/train/train_2.png").unlink()
    record, out = fix(root)
    assert record.left_out == {
        "masks that cannot be read, with their pictures": [str(first(root))],
        "pictures that cannot be read, with their masks": [str(root / "images/val/val_5.png")],
        "pictures without a mask": [str(root / "images/train/train_1.png")],
        "masks without a picture": [str(root / "masks/train/train_2.png")],
    }
    assert record.images == {"train": 2, "val": 2}
    assert check_data(out).ok
    head = (out / "data.yaml").read_text().splitlines()
    assert head[0].startswith("# mended copy of ")
    assert any("left out: pictures without a mask: 1, first '" in line for line in head)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_link_to_nowhere_is_left_out_like_any_file_that_cannot_be_read(root: Path, kind: str) -> None:
    path = first(root, kind)
    path.unlink()
    path.symlink_to(root / "nowhere.png")
    record, _ = fix(root)
    assert list(record.left_out.values()) == [[str(path)]]
    assert record.images == {"train": 4, "val": 3}


def test_a_picture_of_val_is_taken_out_of_train_and_not_out_of_val(root: Path) -> None:
    shutil.copyfile(root / "images/val/val_5.png", first(root, "images"))
    record, out = fix(root)
    assert record.left_out == {"pictures of train that stand in another split as well": [str(first(root, "images"))]}
    assert (out / "images/val/val_5.png").exists()
    assert not first(out, "images").exists()


def test_of_two_files_of_a_stem_one_is_kept_if_they_show_the_same(root: Path) -> None:
    with Image.open(first(root, "images")) as picture:
        picture.save(first(root, "images").with_suffix(".bmp"))
    Image.new("RGB", (64, 48)).save(root / "images/train/train_1.bmp")
    record, out = fix(root)
    assert record.left_out["second files of a stem that hold the same"] == [str(first(root, "images"))]
    assert len(record.left_out["files whose stem stands twice, with different content"]) == 2
    assert record.left_out["masks without a picture"] == [str(root / "masks/train/train_1.png")]
    assert first(out, "images").with_suffix(".bmp").exists()
    assert check_data(out).ok


def test_a_data_set_of_which_nothing_can_be_read_is_refused_and_nothing_written(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no pair of 'data' can be read"):
        fix(root)
    assert not (root.parent / "out").exists()


def test_the_data_set_itself_is_no_target(root: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the data that is read"):
        fix_data(root, root / "fixed")
