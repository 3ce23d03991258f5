"""Cityscapes, ADE20K, PASCAL Context, COCO-Stuff and MATLAB masks: miniatures of their folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import load_data
from segwright.data.formats import ade20k, cityscapes, coco_stuff, pascal_context
from segwright.errors import ConfigError, DataError
from tests.support.extras import needs

from .conftest import SIZE, Converted, assert_reads_alike_in_place

Run = Callable[..., Converted]
Write = Callable[..., Path]


def values(*numbers: int) -> np.ndarray:
    """A mask whose first pixels are these values and whose others are the last of them."""
    mask = np.full(SIZE, numbers[-1], np.uint8)
    mask[0, : len(numbers)] = numbers
    return mask


@pytest.fixture
def city(picture: Write, mask_file: Write) -> np.ndarray:
    mask = values(*range(34), 255)
    for split, name in (("train", "ulm_000000_000019"), ("val", "bonn_000000_000019"), ("test", "rome_1_2")):
        town = name.split("_")[0]
        picture(f"leftImg8bit/{split}/{town}/{name}_leftImg8bit.png")
        mask_file(f"gtFine/{split}/{town}/{name}_gtFine_labelIds.png", mask)
    picture("leftImg8bit/train_extra/ulm/ulm_9_9_leftImg8bit.png")
    for split, name in (("train", "ulm_000000_000019"), ("train_extra", "ulm_9_9"), ("val", "bonn_000000_000019")):
        mask_file(f"gtCoarse/{split}/{name.split('_')[0]}/{name}_gtCoarse_labelIds.png", mask)
    return mask


def test_label_ids_of_cityscapes_become_19_classes_and_16_are_ignored(
    city: np.ndarray, converted: Run, tmp_path: Path
) -> None:
    result = converted()
    assert result.told[0][0] == "cityscapes"
    assert result.done.images == {"train": 1, "val": 1}
    assert result.said("test is left out: its labels are not public")
    mask = result.mask("ulm/ulm_000000_000019")
    assert mask[0, [7, 8, 11, 33]].tolist() == [0, 1, 2, 18]
    assert sorted(set(mask[0, :34]) - {255}) == list(range(19))
    assert (mask[0, :35] == 255).sum() == 16
    assert [row.name for row in cityscapes.CLASSES][-1] == "bicycle"
    assert result.data.palette[0] == (128, 64, 128)
    assert_reads_alike_in_place(tmp_path / "source", result)


def test_coarse_labels_are_a_choice(city: np.ndarray, converted: Run) -> None:
    assert converted(coarse=True).done.images == {"train": 2, "val": 1}


def test_train_ids_serve_where_there_are_no_label_ids(city: np.ndarray, converted: Run, tmp_path: Path) -> None:
    labels = tmp_path / "source/gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    labels.unlink()
    Image.fromarray(values(0, 18, 255)).save(labels.with_name(labels.name.replace("labelIds", "labelTrainIds")))
    assert converted().mask("bonn/bonn_000000_000019", "val")[0, :3].tolist() == [0, 18, 255]


def test_a_street_without_labels_is_named(city: np.ndarray, picture: Write, converted: Run) -> None:
    picture("leftImg8bit/val/bonn/bonn_1_1_leftImg8bit.png")
    with pytest.raises(DataError, match=r"bonn_1_1_leftImg8bit.png' has no '.*bonn_1_1_gtFine_labelIds.png'"):
        converted()


def test_ade20k_ignores_0_and_moves_the_others_down(
    picture: Write, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        picture(f"ADEChallengeData2016/images/{folder}/{name}.jpg")
        mask_file(f"ADEChallengeData2016/annotations/{folder}/{name}.png", values(0, 1, 150))
    result = converted()
    assert result.told[0][0] == "ade20k"
    assert result.data.classes == ade20k.CLASSES
    assert (len(result.data.classes), result.data.classes[12]) == (150, "person")
    assert result.mask("ADE_val_00000001", "val")[0, :3].tolist() == [255, 0, 149]
    assert_reads_alike_in_place(tmp_path / "source", result)


@pytest.fixture
def context(picture: Write, mask_file: Write, tmp_path: Path) -> Path:
    picture("VOC2010/JPEGImages/a.jpg")
    mask_file("VOC2010/SegmentationClassContext/a.png", values(0, 1, 59))
    lists = tmp_path / "source/VOC2010/ImageSets/SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    return lists


def test_pascal_context_has_60_classes_or_59(context: Path, converted: Run, tmp_path: Path) -> None:
    result = converted()
    assert result.data.classes == pascal_context.CLASSES
    assert result.data.classes[59] == "wood"
    assert result.mask("a")[0, :3].tolist() == [0, 1, 59]
    assert_reads_alike_in_place(tmp_path / "source", result)


def test_pascal_context_without_background_has_59_classes(context: Path, converted: Run) -> None:
    result = converted(ignore=("background",))
    assert len(result.data.classes) == 59
    assert result.mask("a")[0, :3].tolist() == [255, 0, 58]


def test_a_folder_with_voc_and_context_is_not_guessed(context: Path, converted: Run, tmp_path: Path) -> None:
    for name in ("SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / "source/VOC2010" / name).mkdir()
    with pytest.raises(ConfigError, match="--from voc or --from pascal_context"):
        converted()
    with pytest.raises(DataError, match="can be read in 2 ways: voc, pascal_context"):
        load_data(tmp_path / "source")


def test_values_of_coco_stuff_are_packed_to_171(
    picture: Write, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    picture("images/val2017/a.jpg")
    picture("images/val2017/b.jpg")
    mask_file("annotations/val2017/a.png", values(0, 12, 91, 181, 255))
    result = converted()
    assert result.data.classes == coco_stuff.CLASSES
    assert result.mask("a", "val")[0, :5].tolist() == [0, 11, 80, 170, 255]
    assert result.said("pictures of val2017 without mask, left out: 1")
    assert_reads_alike_in_place(tmp_path / "source", result)


def test_unused_values_of_coco_stuff_are_ignored(picture: Write, mask_file: Write, converted: Run) -> None:
    picture("images/train2017/a.jpg")
    mask_file("annotations/train2017/a.png", values(*coco_stuff.UNUSED))
    assert (converted().mask("a") == 255).all()


@pytest.mark.parametrize("kind", ["plain", "struct"])
def test_the_matrix_of_a_matlab_file_is_the_mask(picture: Write, converted: Run, tmp_path: Path, kind: str) -> None:
    needs("scipy")
    from scipy.io import savemat

    picture("images/a.jpg")
    mask = values(0, 1, 2)
    (tmp_path / "source/labels").mkdir()
    more = {"GTcls": {"Segmentation": mask, "Categories": [1, 2]}} if kind == "struct" else {"S": mask, "name": "x"}
    savemat(tmp_path / "source/labels/a.mat", more)
    result = converted()
    assert result.told[0] == ("mat", "1 picture with MATLAB masks, 3 classes")
    assert (result.mask("a") == mask).all()


def test_matlab_files_in_another_folder_are_found_by_their_names(
    picture: Write, converted: Run, tmp_path: Path
) -> None:
    needs("scipy")
    from scipy.io import savemat

    picture("img/a.jpg")
    for folder in ("cls", "inst"):
        (tmp_path / "source" / folder).mkdir()
        savemat(tmp_path / "source" / folder / "a.mat", {"S": values(0, 1)})
    with pytest.raises(DataError, match=r"cls/a.mat' and '.*inst/a.mat' stand for the same picture"):
        converted(name="mat")
    (tmp_path / "source/inst/a.mat").unlink()
    assert (converted(name="mat").mask("a") == values(0, 1)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no matlab", r"a.mat' cannot be read"),
        (b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\x00\x02IM", r"a.mat' is a MATLAB file of version 7.3 \(HDF5\)"),
    ],
)
def test_a_matlab_file_that_cannot_be_read_is_named(
    picture: Write, converted: Run, tmp_path: Path, content: bytes, message: str
) -> None:
    needs("scipy")
    picture("a.jpg")
    (tmp_path / "source/a.mat").write_bytes(content)
    with pytest.raises(DataError, match=message):
        converted()
