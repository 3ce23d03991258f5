from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import load_data
from segwright.errors import DataError

from .conftest import SIZE, Converted, assert_reads_alike_in_place

Run = Callable[..., Converted]
Write = Callable[..., Path]


@pytest.fixture
def voc(picture: Write, tmp_path: Path) -> Path:
    root = tmp_path / "source" / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    for name, split in (("2007_1", "train"), ("2007_2", "train"), ("2008.3", "val")):
        picture(f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg")
        mask = np.zeros(SIZE, np.uint8)
        mask[10:20], mask[20:22] = 15, 255
        image = Image.fromarray(mask)
        image.putpalette(list(range(256)) * 3)
        image.save(root / "SegmentationClass" / f"{name}.png")
        with (lists / f"{split}.txt").open("a") as file:
            file.write(f"{name}\n")
    (lists / "trainval.txt").write_text("2007_1\n")
    return root


def test_lists_say_the_splits_and_palettes_are_read_by_index(voc: Path, converted: Run, tmp_path: Path) -> None:
    result = converted()
    assert result.told[0][0] == "voc"
    assert result.done.images == {"train": 2, "val": 1}
    assert result.data.classes[15] == "person"
    assert result.mask("2008.3", "val")[[5, 15, 21], 0].tolist() == [0, 15, 255]
    assert result.said("lists that are not read: trainval.txt")
    assert_reads_alike_in_place(tmp_path / "source", result)


def test_rgb_masks_are_read_by_the_colours_of_voc(voc: Path, converted: Run) -> None:
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[10:20], mask[20:] = (192, 128, 128), (0, 64, 128)
    Image.fromarray(mask).save(voc / "SegmentationClass" / "2007_1.png")
    assert converted().mask("2007_1")[[5, 15, 30], 0].tolist() == [0, 15, 20]


def test_a_label_map_names_other_classes(voc: Path, converted: Run) -> None:
    names = [f"thing {index}" for index in range(16)]
    (voc / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\n" + "".join(f"{name}:{i},0,{i}::\n" for i, name in enumerate(names))
    )
    result = converted()
    assert result.data.classes == tuple(names)
    assert result.data.palette[3] == (3, 0, 3)


@pytest.mark.parametrize(
    ("folder", "what"), [("SegmentationClass", "lists '2007_1'"), ("JPEGImages", "lists '2007_1'")]
)
def test_a_listed_name_without_its_file_is_an_error(voc: Path, converted: Run, folder: str, what: str) -> None:
    next((voc / folder).glob("2007_1.*")).unlink()
    with pytest.raises(DataError, match=f"train.txt' {what}, which {folder} does not have"):
        converted()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:\\x"])
def test_a_list_cannot_lead_out(voc: Path, converted: Run, name: str) -> None:
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text(name)
    with pytest.raises(DataError, match="leads out of the data set"):
        converted()


def test_masks_in_no_list_are_counted(voc: Path, converted: Run) -> None:
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    assert converted().said("masks in no list, left out: 1, first in '")


def test_trainaug_takes_the_masks_that_voc_lacks_from_sbd(
    voc: Path, picture: Write, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    picture("VOCdevkit/VOC2012/JPEGImages/2009_9.jpg")
    for name in ("2009_9", "2007_1"):
        mask_file(f"VOCdevkit/VOC2012/SegmentationClassAug/{name}.png", np.full(SIZE, 7, np.uint8))
    (voc / "ImageSets/Segmentation/trainaug.txt").write_text("2007_1\n2007_2\n2009_9\n")
    result = converted()
    assert result.done.images == {"train": 3, "val": 1}
    assert (result.mask("2009_9") == 7).all()
    assert result.mask("2007_1")[15, 0] == 15
    assert result.said("train is trainaug.txt")
    data = load_data(tmp_path / "source")
    assert len(data.pairs("train")) == 2
    assert any("data convert reads trainaug.txt" in sentence for sentence in data.understood)
