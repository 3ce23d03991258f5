"""Whatever a label file holds: a data set, or one of our errors and nothing written."""

import base64
import copy
import io
import json
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from segwright.data.formats import FORMATS, Options, convert
from segwright.errors import SegmentationError

FUZZ = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def matrix() -> bytes:
    file = io.BytesIO()
    savemat(file, {"S": np.ones((12, 16), np.uint8)})
    return file.getvalue()


SQUARE = [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]]
PICTURE = png(Image.new("RGB", (16, 12)))
BITMAP = base64.b64encode(png(Image.new("L", (3, 2), 9))).decode()
PACKED = base64.b64encode(zlib.compress(png(Image.new("1", (3, 2), 1)))).decode()
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [12, 16], "counts": [100, 92]}},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [12, 16], "counts": "k05700000000000a2"}},
    ],
}
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 12,
    "imageWidth": 16,
    "imageData": None,
    "shapes": [
        {"label": "car", "shape_type": kind, "points": SQUARE, "mask": BITMAP}
        for kind in ("polygon", "circle", "mask", "line")
    ],
}
SUPERVISELY = {
    "size": {"height": 12, "width": 16},
    "objects": [
        {"classTitle": "car", "geometryType": "polygon", "points": {"exterior": SQUARE, "interior": [SQUARE]}},
        {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": PACKED, "origin": [1, 2]}},
    ],
}
CVAT = (
    "<annotations><version>1.1</version><meta><task><labels><label><name>car</name></label></labels></task></meta>"
    '<image id="0" name="a.png" width="16" height="12"><polygon label="car" points="1,1;9,1;9,9" z_order="0"/>'
    '<mask label="car" left="1" top="1" width="2" height="2" rle="1,3" z_order="1"/></image></annotations>'
)
YOLO = "0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.5 0.5 0.1 0.1\n"
TABLE = "name,r,g,b\nroad,128,64,128\ncar,0,0,142\n"

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["../x", "/a", "a.png"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(document: Any, place: tuple[Any, ...], value: Any, is_removed: bool) -> Any:
    """A copy with another value, or none, at a place."""
    if not place:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if is_removed:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return document


def is_a_data_set_or_one_of_our_errors(name: str, files: dict[str, bytes], options: Options | None = None) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        for file, content in {"img/a.png": PICTURE, **files}.items():
            path = folder / "source" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            done = convert(folder / "source", folder / "out", name=name, options=options)
            assert (folder / "out" / "data.yaml").is_file()
            assert sum(done.images.values()) > 0
        except SegmentationError as error:
            assert error.message
            assert "\n" not in error.message
            assert [path.name for path in folder.iterdir()] == ["source"]
    finally:
        shutil.rmtree(folder)


FILES: dict[str, tuple[str, Any]] = {
    "coco": ("all.json", COCO),
    "labelme": ("img/a.json", LABELME),
    "supervisely": ("ann/a.png.json", SUPERVISELY),
}


@pytest.mark.parametrize("name", FILES)
def test_json_with_any_value_anywhere(name: str) -> None:
    file, document = FILES[name]
    more = {"meta.json": b'{"classes": [{"title": "car"}]}'} if name == "supervisely" else {}

    @FUZZ
    @given(st.sampled_from(places(document)), anything, st.booleans())
    def run(place: tuple[Any, ...], value: Any, is_removed: bool) -> None:
        content = json.dumps(changed(document, place, value, is_removed)).encode()
        is_a_data_set_or_one_of_our_errors(name, {file: content, **more})

    run()


GREY = Image.new("L", (16, 12))
GREY.paste(255, (3, 3, 9, 9))
RGB = Image.new("RGB", (16, 12), (0, 0, 142))
RGB.paste((128, 64, 128), (3, 3, 9, 9))
PANOPTIC = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [{"image_id": 1, "file_name": "b.png", "segments_info": [{"id": 255, "category_id": 1}]}],
}
SEGMENTS = png(Image.new("RGB", (16, 12), (255, 0, 0)))
STUDIO = [
    {
        "data": {"image": "a.png"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "polygonlabels",
                        "from_name": "x",
                        "value": {"points": [[10, 10], [90, 10], [90, 90]], "polygonlabels": ["car"]},
                    },
                ]
            }
        ],
    }
]
TEXTS: dict[str, tuple[str, bytes, dict[str, bytes]]] = {
    "coco": ("all.json", json.dumps(COCO).encode(), {}),
    "labelme": ("img/a.json", json.dumps(LABELME).encode(), {}),
    "supervisely": (
        "meta.json",
        b'{"classes": [{"title": "car"}]}',
        {"ann/a.png.json": json.dumps(SUPERVISELY).encode()},
    ),
    "coco_panoptic": ("all.json", json.dumps(PANOPTIC).encode(), {"all/b.png": SEGMENTS}),
    "label_studio": ("all.json", json.dumps(STUDIO).encode(), {}),
    "cvat": ("a.xml", CVAT.encode(), {}),
    "yolo": ("img/a.txt", YOLO.encode(), {"d.yaml": b"train: img\nnames: [car]"}),
    "voc": (
        "ImageSets/Segmentation/train.txt",
        b"a\n",
        {"JPEGImages/a.png": PICTURE, "SegmentationClass/a.png": png(GREY)},
    ),
    "colour": ("class_dict.csv", TABLE.encode(), {"img/a_mask.png": png(RGB)}),
    "mat": ("img/a.mat", matrix(), {}),
    "index": ("img/a_mask.png", png(Image.new("L", (16, 12), 1)), {}),
    "levels": ("img/a_mask.png", png(GREY), {}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_fuzzed_is_a_data_set_at_first(name: str, tmp_path: Path) -> None:
    file, content, more = TEXTS[name]
    for path, data in {"img/a.png": PICTURE, file: content, **more}.items():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(data)
    assert convert(tmp_path / "source", tmp_path / "out", name=name).images["train"] == 1


@pytest.mark.parametrize("name", TEXTS)
def test_files_with_any_bytes_anywhere(name: str) -> None:
    file, content, more = TEXTS[name]

    @FUZZ
    @given(st.integers(0, len(content)), st.integers(0, 8), st.binary(max_size=8))
    def run(position: int, length: int, piece: bytes) -> None:
        mixed = content[:position] + piece + content[position + length :]
        is_a_data_set_or_one_of_our_errors(name, {file: mixed, **more})

    run()


@pytest.mark.parametrize(
    "yaml", [b"names: [car]\ntrain: ../..", b"names: {1: a}\ntrain: [[1]]", b"train: {a: b}\nnames: [1]"]
)
def test_yaml_of_yolo_with_strange_splits(yaml: bytes) -> None:
    is_a_data_set_or_one_of_our_errors("yolo", {"d.yaml": yaml})


def test_each_format_with_a_parser_of_its_own_is_fuzzed() -> None:
    assert TEXTS.keys() == FORMATS.keys() - {"cityscapes", "ade20k", "pascal_context", "coco_stuff", "camvid"}
