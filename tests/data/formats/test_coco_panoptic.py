import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwright.errors import DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]


def rgb(numbers: np.ndarray) -> np.ndarray:
    """Segment numbers as colours, as the COCO panoptic API writes them (id2rgb)."""
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)


@pytest.fixture
def write(tmp_path: Path, picture: Write, mask_file: Write) -> Callable[..., Path]:
    def run(split: str = "train", **more: Any) -> Path:
        picture(f"{split}2017/a.jpg")
        numbers = np.zeros(SIZE, np.int64)
        numbers[:10], numbers[10:20], numbers[20:30] = 3226956, 300, 7
        mask_file(f"annotations/panoptic_{split}2017/a.png", rgb(numbers))
        path = tmp_path / f"source/annotations/panoptic_{split}2017.json"
        segments = [(3226956, 200), (300, 1), (7, 1)]
        document = {
            "images": [{"id": 5, "file_name": "a.jpg", "height": 48, "width": 64}],
            "categories": [{"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "rug", "isthing": 0}],
            "annotations": [
                {
                    "image_id": 5,
                    "file_name": "a.png",
                    "segments_info": [{"id": number, "category_id": category} for number, category in segments],
                }
            ],
            **more,
        }
        path.write_text(json.dumps(document))
        return path

    return run


def test_segments_become_their_categories_and_0_is_ignored(write: Write, converted: Run) -> None:
    write()
    write("val")
    result = converted()
    assert result.told == [
        (
            "coco_panoptic",
            "COCO panoptic (panoptic_train2017.json, panoptic_val2017.json): 2 images, 2 classes, 6 segments; "
            "what is in none is ignored",
        )
    ]
    assert result.data.classes == ("person", "rug")
    assert result.mask("a", "val")[[5, 15, 25, 40], 0].tolist() == [1, 0, 0, 255]


def test_a_category_may_be_ignored(write: Write, converted: Run) -> None:
    write()
    result = converted(ignore=("rug",))
    assert result.data.classes == ("person",)
    assert result.mask("a")[[5, 15], 0].tolist() == [255, 0]


def test_a_picture_may_be_a_png_of_the_masks_name(write: Write, picture: Write, converted: Run, tmp_path: Path) -> None:
    write(images=[{"id": 5, "file_name": "a.png"}])
    (tmp_path / "source/train2017/a.jpg").unlink()
    path = picture("train2017/a.png")
    assert converted().data.pairs("train")[0].image.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"images": []}, "annotations.0 names image 5, which does not exist"),
        ({"categories": [{"id": 1, "name": "a"}]}, "annotations.0 names category 200, which does not exist"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 200, "name": "a"}]}, "class name 'a' stands twice"),
        ({"annotations": [{"segments_info": 3}]}, "is no COCO panoptic JSON at annotations.0.image_id: field required"),
        ({"images": [{"id": 5, "file_name": "../a.jpg"}]}, "leads out of the data set"),
        (
            {"annotations": [{"image_id": 5, "file_name": "b.png", "segments_info": []}]},
            "names the picture 'b.png', which is nowhere",
        ),
        (
            {"annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": []}]},
            r"a.png' holds the segment 7 \(640 px\), which '.*panoptic_train2017.json': annotations.0 does not list",
        ),
        (
            {"annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": []}] * 2},
            "annotations.1 labels image 5 again",
        ),
    ],
)
def test_each_fault_is_one_sentence_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    write(**more)
    with pytest.raises(DataError, match=message):
        converted(name="coco_panoptic")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"images": [', "is no JSON"), ('{"images": [], "annotations": []}', "lacks 'segments_info'")],
)
def test_a_damaged_file_is_named_where_the_other_split_is_whole(
    write: Write, converted: Run, text: str, message: str
) -> None:
    write()
    write("val").write_text(text)
    with pytest.raises(DataError, match=f"panoptic_val2017.json' {message}"):
        converted()
