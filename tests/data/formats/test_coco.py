import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwright.errors import ConfigError, DataError
from tests.support.extras import needs

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

SQUARE = [10, 8, 30, 8, 30, 28, 10, 28]
SHAPE = {"segmentation": [SQUARE]}
INSIDE = np.zeros(SIZE, bool)
INSIDE[8:28, 10:30] = True


def content(*annotations: dict[str, Any], name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": name, "width": 64, "height": 48}],
        "categories": [{"id": 3, "name": "car"}, {"id": 9, "name": "road"}],
        "annotations": [{"id": i, "image_id": 7, "category_id": 3, **each} for i, each in enumerate(annotations)],
        **more,
    }


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(document: object, name: str = "annotations/instances_train2017.json", image: str = "a.jpg") -> Path:
        if image:
            picture(f"train2017/{image}")
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document) if not isinstance(document, str) else document)
        return path

    return run


def test_a_polygon_becomes_its_class_over_an_added_background(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}))
    result = converted()
    assert result.told == [
        (
            "coco",
            "COCO JSON (instances_train2017.json): 1 image, 2 classes, 1 annotation as polygons, 0 as RLE",
        )
    ]
    assert result.data.classes == ("background", "car", "road")
    assert (result.mask("a") == INSIDE).all()
    assert result.said("class 0 'background' is added for pixels without a shape")
    assert result.said("classes without a pixel: road")


def test_a_category_called_background_serves_as_class_0(write: Write, converted: Run) -> None:
    document = content({"segmentation": [SQUARE]})
    document["categories"][1]["name"] = "Background"
    write(document)
    result = converted()
    assert result.data.classes == ("Background", "car")
    assert (result.mask("a") == INSIDE).all()


def test_pixels_without_a_shape_may_be_ignored(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}))
    result = converted(background="ignore")
    assert result.data.classes == ("car", "road")
    assert (result.mask("a") == np.where(INSIDE, 0, 255)).all()


@pytest.mark.parametrize("is_text", [True, False])
def test_run_lengths_make_holes(write: Write, converted: Run, is_text: bool) -> None:
    ring = INSIDE.copy()
    ring[12:20, 15:25] = False
    flips = np.flatnonzero(np.diff(np.concatenate([[False], ring.T.ravel(), [False]])))
    counts: object = np.diff([0, *flips, ring.size]).tolist()
    if is_text:
        needs("pycocotools")
        from pycocotools import mask as tools

        counts = tools.encode(np.asfortranarray(ring.astype(np.uint8)))["counts"].decode()
    write(content({"segmentation": {"size": list(SIZE), "counts": counts}, "iscrowd": 1}))
    assert (converted().mask("a") == ring).all()


def test_smaller_shapes_lie_on_top_unless_the_order_counts(write: Write, converted: Run) -> None:
    small = [12, 10, 16, 10, 16, 14, 12, 14]
    write(content({"segmentation": [small]}, {"segmentation": [SQUARE], "category_id": 9}))
    result = converted()
    assert result.mask("a")[11, 13] == 1
    assert result.said("larger shapes are drawn first")


def test_the_order_of_the_file_may_count(write: Write, converted: Run) -> None:
    small = [12, 10, 16, 10, 16, 14, 12, 14]
    write(content({"segmentation": [small]}, {"segmentation": [SQUARE], "category_id": 9}))
    assert converted(overlap="order").mask("a")[11, 13] == 2


def test_names_with_folders_keep_them(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}, name="x/y/a.jpg"), image="x/y/a.jpg")
    assert (converted().mask("x/y/a") == INSIDE).all()


def test_each_split_has_its_file(write: Write, picture: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}))
    picture("val2017/a.jpg", value=10)
    write(content({"segmentation": [SQUARE]}), "annotations/instances_val2017.json", image="")
    write(content({"segmentation": [SQUARE]}), "annotations/person_keypoints_val2017.json", image="")
    result = converted()
    assert result.done.images == {"train": 1, "val": 1}
    assert result.data.pairs("train")[0].image.read_bytes() != result.data.pairs("val")[0].image.read_bytes()


def test_one_file_for_all_is_split_by_names(write: Write, picture: Write, converted: Run) -> None:
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(10)]
    for image in images:
        picture(image["file_name"])  # type: ignore[arg-type]
    shape = {"image_id": 0, "category_id": 0, "segmentation": [SQUARE]}
    document = {"images": images, "categories": [{"id": 0, "name": "car"}], "annotations": [shape]}
    result = converted(write(document, "all.json", image=""))
    assert result.said("pictures serve as val, by a hash of their names")
    assert result.said("pictures without annotation, all unlabelled: 9")
    assert sum(result.done.images.values()) == 10


def test_what_has_no_outline_is_counted(write: Write, converted: Run) -> None:
    write(content({"bbox": [1, 2, 3, 4]}, {"segmentation": []}, {"segmentation": [[1, 2, 3, 4], SQUARE]}))
    result = converted()
    assert (result.mask("a") == INSIDE).all()
    assert result.said("annotations without outline (a box at most), left out: 2, first in '")
    assert result.said("polygons of fewer than three corners, left out: 1, first in '")


def test_outlines_beyond_the_picture_are_cut_off(write: Write, converted: Run) -> None:
    write(content({"segmentation": [[-100, -100, 500, -100, 500, 20, -100, 20]]}))
    result = converted()
    assert (result.mask("a") == (np.arange(48)[:, None] < 20)).all()
    assert result.said("shapes that reach out of their picture, cut off at its border: 1, first in '")


BAD: list[tuple[object, str]] = [
    ('{"images" "annotations" "categories"', "is no COCO JSON"),
    (content(images=3), "is no COCO JSON at images: .*array"),
    (content(images=[{"id": 7}]), "is no COCO JSON at images.0.file_name: field required"),
    (content({"segmentation": [[float("nan"), 1, 2, 3, 4, 5]]}), "annotations.0 has a coordinate that is no number"),
    (content({"segmentation": [[1e30, 1, 2, 3, 4, 5]]}), "annotations.0 has the coordinate 1e\\+30"),
    (content({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}), "polygon of 7 numbers"),
    (content({"segmentation": "x"}), "annotations.0.segmentation is neither polygons nor RLE"),
    (content({"segmentation": {"size": [48, 64], "counts": [5]}}), "do not add up to 64x48 px"),
    (content({"segmentation": {"size": [4, 4], "counts": [16]}}), r"RLE of size \[4, 4\]"),
    (content({"segmentation": {"size": [48, 64], "counts": [10**30]}}), "no RLE with size and counts"),
    (content({"segmentation": {"counts": [5]}}), "no RLE with size and counts"),
    (content({"image_id": 8, "segmentation": [SQUARE]}), "annotations.0 names image 8, which does not exist"),
    (content({"category_id": 8, "segmentation": [SQUARE]}), "annotations.0 names category 8, which does not exist"),
    (content(name="../a.jpg"), "'../a.jpg', which leads out of the data set"),
    (content(name="/etc/a.jpg"), "leads out of the data set"),
    (content(name="C:\\a.jpg"), "leads out of the data set"),
    (content(name="b.jpg"), "'b.jpg', which is nowhere below"),
    (content(name="a\0.jpg"), "no name of a visible file"),
    (content(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), "class name 'a' stands twice"),
    (content(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "category id 1 twice"),
    (content(images=[{"id": 7, "file_name": "a.jpg"}] * 2), "image id twice"),
    (content(SHAPE, images=[{"id": i, "file_name": "a.jpg"} for i in (7, 8)]), "a.jpg' is labelled twice"),
    (content(SHAPE, images=[{"id": 7, "file_name": "a.jpg", "width": 10**9, "height": 10**9}]), "but '.*' has 64x48"),
    (content(), "not one of 0 annotations in '.*instances_train2017.json' has an outline"),
    (content({"bbox": [1, 2, 3, 4]}, {"segmentation": []}), "not one of 2 annotations in '.*' has an outline"),
    (content({"segmentation": [[100, 8, 120, 8, 120, 28]]}), "has not one shape that could be drawn in 1 picture"),
    ("", r"instances_train2017.json' is no JSON \(it is empty\)"),
    ("<html>", r"instances_train2017.json' is no JSON \(expected value at line 1 column 1\)"),
    ({"image": [], "annotations": [], "category": []}, "instances_train2017.json' lacks 'images' and 'categories'"),
    ([1, 2], "instances_train2017.json' lacks 'images' and 'annotations' and 'categories'"),
]


@pytest.mark.parametrize(("document", "message"), BAD)
def test_each_fault_is_one_sentence_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, document: object, message: str
) -> None:
    write(document)
    with pytest.raises(DataError, match=message) as error:
        converted(tmp_path / "source" / "annotations" / "instances_train2017.json", name="coco")
    assert error.value.fix
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".segwright-*"))


def test_splits_with_different_categories_are_refused(write: Write, converted: Run) -> None:
    write(content())
    write(content(categories=[{"id": 3, "name": "bus"}]), "annotations/instances_val2017.json", image="")
    with pytest.raises(DataError, match=r"category 3 is 'car' in .* and 'bus' in"):
        converted()


def test_two_files_that_could_be_meant_are_refused(write: Write, converted: Run) -> None:
    write(content(), "one.json")
    write(content(), "two.json")
    with pytest.raises(DataError, match=r"could both label the same pictures; give the one file as SRC"):
        converted()


def test_a_background_that_is_a_label_is_refused(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}))
    with pytest.raises(ConfigError, match="--background 'car' is a label as well"):
        converted(background="car")


def test_pictures_that_are_missing_are_counted(write: Write, converted: Run) -> None:
    write(content(images=[{"id": i, "file_name": f"{i}.jpg"} for i in range(7)]))
    with pytest.raises(DataError, match=r"names 7 pictures \('0.jpg', .*, '4.jpg' and others\) that are nowhere below"):
        converted()


def test_pictures_that_no_file_names_are_counted(write: Write, picture: Write, converted: Run) -> None:
    picture("train2017/b.jpg")
    write(content({"segmentation": [SQUARE]}))
    assert converted().said("pictures that no label file names, left out: 1, first in '")


def test_labels_that_differ_in_capitals_only_are_told(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}, categories=[{"id": 3, "name": "car"}, {"id": 9, "name": "Car"}]))
    assert converted().said("labels 'car' and 'Car' differ in capitals only and stay two classes")


def test_a_file_over_the_limit_is_refused_before_it_is_read(write: Write, converted: Run) -> None:
    write(content({"segmentation": [SQUARE]}))
    with pytest.raises(
        DataError, match=r"instances_train2017.json' has \d+ bytes, more than the limit of 100"
    ) as error:
        converted(max_bytes=100)
    assert "--max-bytes" in error.value.fix


def test_gaps_between_category_ids_are_no_classes(write: Write, converted: Run) -> None:
    write(content({"category_id": 90, "segmentation": [SQUARE]}, categories=[{"id": 90, "name": "bus"}]))
    assert converted().data.classes == ("background", "bus")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_a_polygon_that_crosses_itself_is_filled_by_the_rule_of_the_coco_tools(write: Write, converted: Run) -> None:
    bow = [10.0, 8.0, 40.0, 30.0, 40.0, 8.0, 10.0, 30.0]
    write(content({"segmentation": [bow]}))
    reader = pytest.importorskip("pycocotools.mask", reason="the COCO tools say what is right")
    expected = reader.decode(reader.merge(reader.frPyObjects([bow], 48, 64)))
    np.testing.assert_array_equal(converted().mask("a"), expected)


def test_a_polygon_of_two_points_is_counted(write: Write, converted: Run) -> None:
    write(content({"segmentation": [[1, 2, 3, 4]]}, {"segmentation": [SQUARE]}))
    assert converted().said("polygons of fewer than three corners, left out: 1")


def test_half_a_file_is_named_where_the_other_split_is_whole(write: Write, converted: Run, tmp_path: Path) -> None:
    write(content(SHAPE))
    text = "{\n" + json.dumps(content(SHAPE))[1:30]
    write(text, "annotations/instances_val2017.json", image="")
    wrong = r"instances_val2017.json' is no JSON \(EOF while parsing .* at line 2 column 29\)"
    with pytest.raises(DataError, match=wrong) as error:
        converted()
    assert error.value.fix
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_coding_is_named(write: Write, converted: Run) -> None:
    write(content(SHAPE)).write_bytes("{'info': 'Straße'}".replace("'", '"').encode("latin-1"))
    with pytest.raises(DataError, match=r"instances_train2017.json' is no JSON \(invalid unicode code point at line 1"):
        converted()


@pytest.mark.parametrize("name", ["annotations/instances_val2017.json", "valid/instances_train2017.json"])
def test_a_file_called_like_a_label_file_must_have_the_keys(write: Write, converted: Run, name: str) -> None:
    write(content(SHAPE))
    write({"image": [], "annotations": [], "categories": []}, name, image="")
    with pytest.raises(DataError, match=rf"{name}' lacks 'images'; export it again"):
        converted()


def test_json_files_of_something_else_are_left_alone(write: Write, converted: Run) -> None:
    write(content(SHAPE))
    for name in ("annotations/captions_train2017.json", "annotations/image_info_test2017.json", "package.json"):
        write({"images": [], "info": {}}, name, image="")
    write([1, float("nan")], "list.json", image="")
    write("\ufeff{}", "mark.json", image="")
    assert converted().done.images == {"train": 1}


@pytest.mark.parametrize("name", ["auto", "coco"])
def test_a_file_over_the_limit_is_not_read_to_find_out_what_it_is(
    write: Write, converted: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    large, opened, real = write(content(SHAPE)), [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **more: (opened.append(path), real(path, *args, **more))[1])
    with pytest.raises(DataError, match=r"instances_train2017.json' has \d+ bytes, more than the limit of 100"):
        converted(name=name, max_bytes=100)
    assert large not in opened
