from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import MaskReader, load_data
from segwright.data.dataset import Folders
from segwright.data.layouts import recognise
from segwright.errors import DataError
from segwright.info import generic_palette


def split_of(data_root: Path) -> dict[str, str]:
    data = recognise(data_root)
    return {pair.image.stem: split for split in ("train", "val") for pair in data.pairs(split)}


def add_picture(root: Path, stem: str, value: int = 1) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), value).save(root / folder / f"{stem}.png")


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{split}", "masks/{split}"),
        ("image/{split}", "labels/{split}"),
        ("imgs/{split}", "annotations/{split}"),
        ("{split}/images", "{split}/masks"),
        ("{split}/img", "{split}/label"),
        ("{split}", "{split}annot"),
    ],
)
def test_split_folders_are_recognised_and_said(write_data: Callable[..., Path], images: str, masks: str) -> None:
    root = write_data(yaml="", counts={"train": 3, "val": 2, "test": 1}, images=images, masks=masks)
    data = recognise(root)
    assert {split: len(data.pairs(split)) for split in data.folders} == {"train": 3, "val": 2, "test": 1}
    places = ", ".join(f"{s} = {images.format(split=s)} + {masks.format(split=s)}" for s in ("train", "val", "test"))
    assert data.understood == (
        f"splits: {places}",
        "3 classes, numbered by the values 0..2 in the masks, 255 ignored",
    )
    assert data.classes == ("class 0", "class 1", "class 2")
    assert data.palette == generic_palette(3)
    assert not data.labels.palette_is_stated


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("training", "validation", "testing"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
    ],
)
def test_other_names_of_splits_are_recognised(
    write_data: Callable[..., Path], names: tuple[str, ...], splits: list[str]
) -> None:
    root = write_data(yaml="", counts=dict.fromkeys(names, 1))
    assert list(recognise(root).folders) == splits


def test_one_folder_is_split_and_said(tmp_path: Path) -> None:
    for index in range(20):
        add_picture(tmp_path, f"street_{index}")
    data = recognise(tmp_path)
    val = len(data.pairs("val"))
    assert 1 <= val <= 9
    assert len(data.pairs("train")) == 20 - val
    assert data.understood[0] == (
        f"no split folders: {val} of 20 pictures serve as val, chosen by a hash of their names"
    )


def test_about_a_fifth_of_many_pictures_serves_as_val(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    for index in range(1000):
        (tmp_path / f"images/street_{index}.png").touch()
    assert 160 <= len(recognise(tmp_path).folders["val"].stems or ()) <= 240


def test_more_pictures_move_none_between_the_splits(tmp_path: Path) -> None:
    for index in range(20):
        add_picture(tmp_path, f"street_{index}")
    before = split_of(tmp_path)
    for index in range(20, 60):
        add_picture(tmp_path, f"street_{index}")
        after = split_of(tmp_path) if index % 8 == 3 else before
        assert {stem: after[stem] for stem in before} == before


@pytest.mark.parametrize("stems", [("a", "b"), ("a", "b", "c"), ("x", "y")])
def test_a_handful_of_pictures_leaves_no_split_empty(tmp_path: Path, stems: tuple[str, ...]) -> None:
    for stem in stems:
        add_picture(tmp_path, stem)
    assert sorted(split_of(tmp_path)) == sorted(stems)
    assert set(split_of(tmp_path).values()) == {"train", "val"}


def test_the_only_picture_serves_as_both_splits_and_this_is_said(tmp_path: Path) -> None:
    add_picture(tmp_path, "street")
    data = recognise(tmp_path)
    assert data.pairs("train") == data.pairs("val")
    assert data.understood[0] == (
        "no split folders: the only picture serves as train and as val, so that scores say nothing"
    )


def test_a_jpeg_among_the_masks_tells_no_classes(tmp_path: Path) -> None:
    add_picture(tmp_path, "street")
    (tmp_path / "masks/street.png").unlink()
    Image.new("L", (4, 3), 1).save(tmp_path / "masks/street.jpg")
    with pytest.raises(DataError, match=r"street.jpg' is a JPEG"):
        recognise(tmp_path)


def test_a_lonely_picture_is_left_for_the_pairing_to_name(tmp_path: Path) -> None:
    for index in range(10):
        add_picture(tmp_path, f"street_{index}")
    (tmp_path / "masks/street_3.png").unlink()
    data = recognise(tmp_path)
    with pytest.raises(DataError, match=r"street_3\.png"):
        data.pairs("train" if "street_3" in (data.folders["train"].stems or ()) else "val")


def test_a_damaged_mask_does_not_hide_the_classes(write_data: Callable[..., Path]) -> None:
    root = write_data(yaml="")
    (root / "masks/train/train_0.png").write_bytes(b"")
    assert recognise(root).classes == ("class 0", "class 1", "class 2")


def test_a_written_data_yaml_reads_the_same(write_data: Callable[..., Path]) -> None:
    root = write_data(yaml="")
    data = load_data(root)
    (root / "data.yaml").write_text(data.to_yaml(root))
    again = load_data(root)
    assert (again.folders, again.labels.classes, again.palette) == (data.folders, data.classes, data.palette)
    assert again.understood == ()
    assert again.pairs("val") == data.pairs("val")


@pytest.mark.parametrize(
    ("text", "palette"),
    [
        ("sky\nthe road\n\ncar\n", None),
        ("sky 1 2 3\nthe road 4 5 6\ncar 7 8 9\n", ((1, 2, 3), (4, 5, 6), (7, 8, 9))),
    ],
)
def test_classes_txt_names_the_classes(
    write_data: Callable[..., Path], text: str, palette: tuple[tuple[int, int, int], ...] | None
) -> None:
    root = write_data(yaml="")
    (root / "classes.txt").write_text(text)
    data = recognise(root)
    assert data.classes == ("sky", "the road", "car")
    assert data.palette == (palette or generic_palette(3))
    assert data.labels.palette_is_stated == bool(palette)
    assert data.understood[1] == f"classes from '{root / 'classes.txt'}': sky, the road, car"


@pytest.mark.parametrize(
    ("text", "said"),
    [("sky\nsky\n", "'sky' stands twice"), ("a 1 2 3\nb 1 2 3\n", "two classes share a colour"), ("", "no classes")],
)
def test_a_classes_txt_that_makes_no_sense_is_refused(write_data: Callable[..., Path], text: str, said: str) -> None:
    root = write_data(yaml="")
    (root / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        recognise(root)


def test_300_classes_of_a_classes_txt_keep_class_255(write_data: Callable[..., Path]) -> None:
    root = write_data(yaml="")
    (root / "classes.txt").write_text("".join(f"plant{index}\n" for index in range(300)))
    labels = recognise(root).labels
    assert labels.ignore == (65535,)
    assert labels.index_table()[255] == 255


@pytest.mark.parametrize("values", [(255, 255), (3, 300)])
def test_masks_whose_values_are_no_class_numbers_are_refused(tmp_path: Path, values: tuple[int, int]) -> None:
    add_picture(tmp_path, "street")
    Image.fromarray(np.array([values], np.uint16)).save(tmp_path / "masks/street.png")
    with pytest.raises(DataError, match="classes cannot be told") as caught:
        recognise(tmp_path)
    assert "map: {255: object}" in caught.value.fix


@pytest.mark.parametrize(
    ("values", "meaning", "decoded"),
    [
        ((0, 255), "0 = background, 255 = object", [0, 1]),
        ((0, 127, 254), "0 = class 0, 127 = class 1, 254 = class 2", [0, 1, 2]),
    ],
)
def test_grey_levels_are_classes_and_this_is_said(
    tmp_path: Path, values: tuple[int, ...], meaning: str, decoded: list[int]
) -> None:
    for stem in ("a", "b"):
        add_picture(tmp_path, stem)
        Image.fromarray(np.array([values], np.uint8)).save(tmp_path / f"masks/{stem}.png")
    data = recognise(tmp_path)
    assert data.understood[-1] == f"grey levels in the masks: {meaning}"
    assert MaskReader(data.labels).read(tmp_path / "masks/a.png").tolist() == [decoded]
    # What data check --write would write says the same.
    whole = replace(data, folders={"train": Folders(tmp_path / "images", tmp_path / "masks")})
    (tmp_path / "data.yaml").write_text(whole.to_yaml(tmp_path))
    assert load_data(tmp_path).labels.index_table().tolist() == data.labels.index_table().tolist()


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 10, 20), (0, 8, 16, 255)])
def test_values_that_could_be_indices_are_taken_for_indices(tmp_path: Path, values: tuple[int, ...]) -> None:
    add_picture(tmp_path, "street")
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "masks/street.png")
    assert "numbered by the values" in recognise(tmp_path).understood[-1]


@pytest.mark.parametrize("folders", [("images", "masks"), ("images/{split}", "masks/{split}")])
def test_an_ending_of_the_masks_names_is_understood_and_said(
    write_data: Callable[..., Path], folders: tuple[str, str]
) -> None:
    root = write_data(yaml="", images=folders[0], masks=folders[1])
    for path in (root / "masks").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    data = recognise(root)
    assert "the masks' names end in '_mask' behind those of the pictures" in data.understood
    pairs = data.pairs("train") + data.pairs("val")
    assert len(pairs) == 8
    assert all(pair.mask.name == f"{pair.image.stem}_mask.png" for pair in pairs)
    with pytest.raises(DataError, match=r"which data.yaml cannot say"):
        data.to_yaml(root)


def test_an_ending_of_masks_in_a_linked_folder_is_understood(write_data: Callable[..., Path], tmp_path: Path) -> None:
    root = write_data(yaml="")
    for kind in ("images", "masks"):
        (root / kind / "train").rename(tmp_path / kind)
        (root / kind / "train").mkdir()
        (root / kind / "train/more").symlink_to(tmp_path / kind)
    for path in [*(tmp_path / "masks").iterdir(), *(root / "masks/val").iterdir()]:
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert len(recognise(root).pairs("train")) == 5


def test_colours_of_a_table_serve_for_colour_masks_and_void_is_ignored(tmp_path: Path) -> None:
    add_picture(tmp_path, "street")
    colours = np.array([[(1, 2, 3), (4, 5, 6), (0, 0, 0)]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "masks/street.png")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nvoid,0,0,0\nsky,1,2,3\nroad,4,5,6\n")
    data = recognise(tmp_path)
    assert (data.classes, data.palette) == (("sky", "road"), ((1, 2, 3), (4, 5, 6)))
    assert MaskReader(data.labels).read(tmp_path / "masks/street.png").tolist() == [[0, 1, 255]]
    assert "'void' is ignored" in data.understood[-1]


def test_colour_masks_need_a_data_yaml(tmp_path: Path) -> None:
    add_picture(tmp_path, "street")
    Image.new("RGB", (4, 3)).save(tmp_path / "masks/street.png")
    with pytest.raises(DataError, match=r"street.png' is an RGB picture, and no data.yaml says"):
        recognise(tmp_path)


def test_an_unknown_layout_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    with pytest.raises(DataError, match=r"is no data set that is recognised \(it holds frames\)"):
        recognise(tmp_path)
