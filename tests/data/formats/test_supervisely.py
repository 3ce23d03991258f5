import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.errors import DataError

from .conftest import SQUARE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

NO_PICTURE = base64.b64encode(zlib.compress(b"text")).decode()
META = {"classes": [{"title": "car", "color": "#FF0000"}, {"title": "road", "color": "#00FF80"}]}


def packed(bitmap: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(bitmap.astype(bool)).save(file, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def entry(kind: str = "polygon", title: str = "car", **more: object) -> dict[str, object]:
    return {"classTitle": title, "geometryType": kind, "points": {"exterior": SQUARE, "interior": []}, **more}


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(*objects: dict[str, object], meta: object = META) -> Path:
        picture("train/img/a.jpg")
        path = tmp_path / "source" / "train" / "ann" / "a.jpg.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"size": {"height": 48, "width": 64}, "objects": objects}))
        (tmp_path / "source" / "meta.json").write_text(json.dumps(meta))
        return path

    return run


def test_polygons_have_holes_and_classes_their_colours(write: Write, converted: Run) -> None:
    hole = [[15, 12], [20, 12], [20, 18], [15, 18]]
    write(entry(points={"exterior": SQUARE, "interior": [hole]}))
    result = converted()
    assert result.told[0][0] == "supervisely"
    assert result.data.palette == ((0, 0, 0), (255, 0, 0), (0, 255, 128))
    mask = result.mask("a")
    assert mask[8:29, 10:31].sum() == 21 * 21 - 7 * 6
    assert mask[15, 17] == 0


def test_bitmaps_and_rectangles_are_shapes(write: Write, converted: Run) -> None:
    bitmap = np.zeros((3, 4), bool)
    bitmap[1, 1:3] = True
    write(
        entry("rectangle", points={"exterior": [[30, 30], [40, 35]], "interior": []}),
        entry("bitmap", "road", bitmap={"data": packed(bitmap), "origin": [5, 7]}),
    )
    mask = converted().mask("a")
    assert (mask == 1).sum() == 11 * 6
    assert np.argwhere(mask == 2).tolist() == [[8, 6], [8, 7]]


def test_lines_are_counted(write: Write, converted: Run) -> None:
    write(entry("line"), entry())
    assert converted().said("objects of type 'line' without area, left out: 1")


@pytest.mark.parametrize(
    ("objects", "meta", "message"),
    [
        ([entry(title="bus")], META, "objects.0 names the class 'bus'"),
        ([entry("bitmap", bitmap={"data": "!!", "origin": [0, 0]})], META, "bitmap that"),
        ([entry("bitmap", bitmap={"data": packed(np.ones((2, 2)))[:20], "origin": [0, 0]})], META, "bitmap that"),
        ([entry("bitmap", bitmap={"data": NO_PICTURE, "origin": [0, 0]})], META, r"no picture \(of no format that is"),
        ([entry("line")], META, "has not one shape that could be drawn in 1 picture"),
        ([], {"classes": 3}, "is no meta.json of Supervisely at classes"),
        ([{"classTitle": 3}], META, "is no Supervisely JSON at objects.0"),
    ],
)
def test_each_fault_is_one_sentence(
    write: Write, converted: Run, objects: list[dict[str, object]], meta: object, message: str
) -> None:
    write(*objects, meta=meta)
    with pytest.raises(DataError, match=message):
        converted()


def test_a_picture_without_its_file_is_an_error(write: Write, picture: Write, converted: Run) -> None:
    write()
    picture("train/img/b.jpg")
    with pytest.raises(DataError, match=r"b.jpg' has no '.*b.jpg.json'"):
        converted()
