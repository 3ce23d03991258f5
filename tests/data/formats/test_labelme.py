import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from segwright.errors import DataError

from .conftest import SIZE, SQUARE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]


def shape(label: str = "car", kind: str = "polygon", points: object = SQUARE, **more: object) -> dict[str, object]:
    return {"label": label, "shape_type": kind, "points": points, **more}


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(*shapes: dict[str, object], name: str = "a", image: str = "a.jpg", **more: Any) -> Path:
        if image and not more.get("imageData"):
            picture(image)
        path = tmp_path / "source" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "imagePath": image,
            "imageData": None,
            "imageHeight": 48,
            "imageWidth": 64,
            "shapes": shapes,
            **more,
        }
        path.write_text(json.dumps(document))
        return path

    return run


def png(array: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_polygons_are_drawn_by_the_rule_of_labelme(write: Write, converted: Run) -> None:
    rng = np.random.default_rng(0)
    same = []
    for index in range(4):
        points = rng.uniform(-5, 60, (6, 2)).tolist()
        write(shape(points=points), name=f"p{index}", image=f"p{index}.jpg")
        canvas = Image.new("L", (64, 48))
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], outline=1, fill=1)
        same.append((f"p{index}", np.asarray(canvas)))
    result = converted()
    for stem, wanted in same:
        split = "train" if (result.done.folder / "masks" / "train" / f"{stem}.png").exists() else "val"
        assert (result.mask(stem, split) == wanted).mean() >= 0.999


def test_rectangles_circles_and_bitmaps_are_shapes(write: Write, converted: Run) -> None:
    bitmap = np.zeros((4, 6), np.uint8)
    bitmap[1:3, 2:5] = 255
    write(
        shape("box", "rectangle", [[20, 10], [5, 4]]),
        shape("disc", "circle", [[40, 20], [40, 25]]),
        shape("map", "mask", [[50, 40], [55, 43]], mask=png(bitmap)),
    )
    result = converted()
    assert result.data.classes == ("background", "box", "disc", "map")
    mask = result.mask("a")
    assert (mask == 1).sum() == 7 * 16
    assert abs(int((mask == 2).sum()) - np.pi * 25) < 20
    assert np.argwhere(mask == 3).min(axis=0).tolist() == [41, 52]
    assert (mask == 3).sum() == 6


def test_later_shapes_lie_on_top(write: Write, converted: Run) -> None:
    write(shape("car"), shape("van"))
    assert converted().mask("a")[15, 15] == 2


def test_lines_and_points_are_counted(write: Write, converted: Run) -> None:
    write(shape(), shape(kind="linestrip"), shape(kind="point", points=[[1, 2]]), shape(points=[[1, 2], [3, 4]]))
    result = converted()
    assert result.said("shapes of type 'linestrip' without area, left out: 1, first in '")
    assert result.said("shapes of type 'point' without area, left out: 1")
    assert result.said("shapes of type 'polygon' with too few points, left out: 1")


def test_an_embedded_picture_is_taken_out(write: Write, converted: Run) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    write(shape(), imageData=png(pixels), image="gone.jpg")
    (pair,) = converted().data.pairs("train")
    with Image.open(pair.image) as image:
        assert (np.asarray(image) == pixels).all()


def test_special_labels_are_ignored_and_background(write: Write, converted: Run) -> None:
    write(
        shape("car"),
        shape("_background_", points=[[0, 0], [9, 0], [9, 9]]),
        shape("__ignore__"),
        shape("tip", "point", [[1, 1]]),
    )
    result = converted()
    assert result.data.classes == ("_background_", "car")
    assert result.said("labels of points and lines only are no classes: tip")
    assert result.mask("a")[15, 15] == 255
    assert result.mask("a")[0, 5] == 0


def test_a_class_that_data_yaml_cannot_hold_is_refused(write: Write, converted: Run, tmp_path: Path) -> None:
    write(shape("ignore"))
    with pytest.raises(DataError, match=r"has a class called 'ignore', .* leave --ignore none out"):
        converted(ignore=("none",))
    assert not (tmp_path / "out").exists()


def test_labels_txt_orders_the_classes(write: Write, converted: Run, tmp_path: Path) -> None:
    write(shape("car"))
    (tmp_path / "source" / "labels.txt").write_text("__ignore__\n_background_\nvan\ncar\n")
    assert converted().data.classes == ("_background_", "van", "car")


def test_a_label_that_labels_txt_lacks_is_an_error(write: Write, converted: Run, tmp_path: Path) -> None:
    write(shape("car"))
    (tmp_path / "source" / "labels.txt").write_text("_background_\nvan\n")
    with pytest.raises(DataError, match=r"label 'car' is not in '.*labels.txt'"):
        converted()


def test_a_picture_in_a_neighbouring_folder_is_found(write: Write, picture: Write, converted: Run) -> None:
    picture("images/train/a.jpg")
    write(shape(), name="annotations/train/a", image="", imagePath="..\\..\\images\\train\\a.jpg")
    result = converted()
    assert result.done.images == {"train": 1}
    assert (result.mask("a") > 0).any()


@pytest.mark.parametrize(
    "name", ["../../pictures/a.jpg", "..\\..\\b\\a.jpg", "C:\\me\\a.jpg", "/home/me/a.jpg", "../.."]
)
def test_a_path_that_leads_out_is_never_followed_and_the_picture_beside_is_taken(
    write: Write, converted: Run, tmp_path: Path, name: str
) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (3, 3)).save(tmp_path / "pictures" / "a.jpg")
    write(shape(), imagePath=name)
    result = converted()
    assert (result.mask("a") > 0).any()
    assert result.said("leads out of the data set, looked for beside or in their file: 1, first in '")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"imagePath": "../../secret.jpg", "image": ""}, "has no picture: neither the one that it names"),
        ({"imagePath": "/etc/passwd", "image": ""}, "has no picture: neither the one that it names"),
        ({"imagePath": "none.jpg", "image": ""}, "has no picture: neither the one that it names"),
        ({"imageData": "!!!", "imagePath": "none.jpg"}, r"a.json': imageData is no picture \(of no format that"),
        ({"imageData": "a", "imagePath": "none.jpg"}, r"a.json': imageData is no base64"),
        ({"imageHeight": 40}, "labels a picture of 64x40 px"),
        ({"shapes": 3}, "is no LabelMe JSON at shapes: .*array"),
        ({"shapes": [shape(points=[[float("nan"), 1]])]}, r"at shapes.0.points.0.0: input should be a finite number"),
        ({"shapes": [shape(points=[[1e200, 1], [1, 2], [3, 4]])]}, "shapes.0 has the coordinate 1e\\+200"),
        (
            {"shapes": [shape(kind="mask", points=[[1, 2], [3, 4]], mask="abcd")]},
            r"shapes.0.mask is no picture \(of no format that is",
        ),
        ({"shapes": [shape(label=" ")]}, "class without a printable name"),
    ],
)
def test_each_fault_is_one_sentence_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    write(*([shape()] if "shapes" not in more else []), **more)
    with pytest.raises(DataError, match=message) as error:
        converted(name="labelme")
    assert error.value.fix
    assert not (tmp_path / "out").exists()


def test_a_picture_may_be_a_link(write: Write, converted: Run, tmp_path: Path) -> None:
    write(shape())
    (tmp_path / "source" / "a.jpg").rename(tmp_path / "kept.jpg")
    (tmp_path / "source" / "a.jpg").symlink_to(tmp_path / "kept.jpg")
    result = converted()
    assert not result.data.pairs("train")[0].image.is_symlink()
    assert not result.said("no label file names")


def test_a_file_without_the_pictures_size_takes_the_pictures_own(write: Write, converted: Run) -> None:
    path = write(shape())
    document = json.loads(path.read_text())
    del document["imageHeight"], document["imageWidth"]
    path.write_text(json.dumps(document))
    assert converted().mask("a").shape == (48, 64)


@pytest.mark.parametrize("text", ["", '{"shapes": [', '{"shapes": [], "imagePath": "b.jpg"'])
def test_a_damaged_file_is_named_among_good_ones(write: Write, converted: Run, text: str, tmp_path: Path) -> None:
    write(shape())
    write(shape(), name="b", image="b.jpg").write_text(text)
    with pytest.raises(DataError, match=r"b.json' is no (LabelMe )?JSON"):
        converted()
    assert not (tmp_path / "out").exists()


def test_json_of_something_else_is_counted(write: Write, converted: Run) -> None:
    path = write(shape())
    path.with_name("notes.json").write_text("[]")
    assert converted().said("JSON files that are none of LabelMe's, left out: 1")


def test_points_alone_are_no_data_set(write: Write, converted: Run) -> None:
    write(shape(kind="point", points=[[1, 2]]))
    with pytest.raises(
        DataError, match=r"not one shape .* in 1 picture \(shapes of type 'point' without area, left out"
    ):
        converted()
