from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.data.formats import camvid
from segwright.errors import DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

COLOURS = {name: colour for group in camvid.GROUPS for name, colour in group.members.items()}


def mask(*names: str) -> np.ndarray:
    """A mask whose first pixels have the colours of these classes, and whose others are void."""
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[0, : len(names)] = [COLOURS[name] for name in names]
    return colours


@pytest.fixture
def stills(picture: Write, mask_file: Write, tmp_path: Path) -> Path:
    for name in ("0001TP_006690", "Seq05VD_f00000"):
        picture(f"701_StillsRaw_full/{name}.png")
        mask_file(f"LabeledApproved_full/{name}_L.png", mask("Sky", "Archway", "LaneMkgsDriv", "Truck_Bus", "Animal"))
    return tmp_path / "source"


def test_32_colours_become_11_classes_and_void_is_ignored(stills: Path, converted: Run) -> None:
    assert len(COLOURS) == len(set(COLOURS.values())) == 31
    result = converted()
    assert result.told[0][0] == "camvid"
    assert result.data.classes == (
        *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    )
    split = "train" if "0001TP_006690" in {pair.image.stem for pair in result.data.pairs("train")} else "val"
    assert result.mask("0001TP_006690", split)[0, :6].tolist() == [0, 1, 3, 8, 9, 255]


def test_lists_say_the_splits_with_the_paths_of_segnet(stills: Path, converted: Run) -> None:
    (stills / "train.txt").write_text(
        "/SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png\n"
    )
    (stills / "test.txt").write_text("Seq05VD_f00000\n")
    assert converted().done.images == {"train": 1, "test": 1}


def test_folders_of_splits_are_read_where_the_format_is_named(picture: Write, mask_file: Write, converted: Run) -> None:
    for split in ("train", "val"):
        picture(f"{split}/{split}_1.png")
        mask_file(f"{split}_labels/{split}_1_L.png", mask("Road"))
    assert converted(name="camvid").done.images == {"train": 1, "val": 1}


def test_a_name_without_mask_and_a_mask_without_picture_are_named(stills: Path, converted: Run) -> None:
    (stills / "train.txt").write_text("0001TP_006690\nnone\n")
    with pytest.raises(DataError, match="name 'none', which has no mask"):
        converted()
    (stills / "701_StillsRaw_full/0001TP_006690.png").unlink()
    with pytest.raises(DataError, match=r"0001TP_006690_L.png' has no picture '0001TP_006690'"):
        converted()


def test_an_unknown_colour_is_named(stills: Path, mask_file: Write, converted: Run) -> None:
    mask_file("LabeledApproved_full/0001TP_006690_L.png", np.full((*SIZE, 3), 9, np.uint8))
    with pytest.raises(DataError, match=r"_L.png' holds value 9,9,9"):
        converted()
