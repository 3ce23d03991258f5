import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segwright.data.formats.label_studio import unpack_values
from segwright.errors import DataError

from .conftest import SIZE, SQUARE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

INSIDE = np.zeros(SIZE, bool)
INSIDE[8:28, 10:30] = True
PERCENT = [[100 * x / 64, 100 * y / 48] for x, y in SQUARE]


def result(kind: str = "polygon", label: str = "car", **value: Any) -> dict[str, Any]:
    return {
        "type": f"{kind}labels",
        "from_name": "label",
        "original_width": 64,
        "original_height": 48,
        "value": {f"{kind}labels": [label], **value},
    }


def task(*results: dict[str, Any], image: str = "/data/upload/1/0a1b2c3d-a.jpg", **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": list(results), **more}]}


def pack(values: list[int], sizes: tuple[int, int, int, int] = (3, 4, 8, 16)) -> bytes:
    """Values as rle-pack writes them: runs where three are alike, single values elsewhere."""
    text = f"{len(values):032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    start = 0
    while start < len(values):
        end = start + 1
        while end < len(values) and values[end] == values[start] and end - start < 1 << 16:
            end += 1
        length, is_run = end - start, end - start >= 3
        index = next(i for i, size in enumerate(sizes) if length - 1 < 1 << size)
        text += f"{int(is_run)}{index:02b}{length - 1:0{sizes[index]}b}"
        text += f"{values[start]:08b}" if is_run else "".join(f"{value:08b}" for value in values[start:end])
        start = end
    return bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(*tasks: object, image: str = "a.jpg") -> Path:
        picture(image)
        path = tmp_path / "source" / "project.json"
        path.write_text(json.dumps(tasks))
        return path

    return run


def test_a_polygon_in_percent_is_drawn_on_the_picture_that_was_uploaded(write: Write, converted: Run) -> None:
    write(task(result(points=PERCENT)))
    done = converted()
    assert done.told == [("label_studio", "Label Studio: 1 picture, 1 label; 1 polygonlabels")]
    assert done.data.classes == ("background", "car")
    np.testing.assert_array_equal(done.mask("a"), INSIDE)


@pytest.mark.parametrize(
    "address", ["a.jpg", "https://host/x/a.jpg?token=1", "/data/local-files/?d=x/a.jpg", "s3://bucket/a.jpg"]
)
def test_addresses_of_many_stores_are_understood(write: Write, converted: Run, address: str) -> None:
    write(task(result(points=PERCENT), image=address))
    assert converted().mask("a").any()


@pytest.mark.parametrize("address", ["?d=x%5Ca%20b.jpg", "/data/upload/1/0a1b2c3d-a%20b.jpg", "/x/a b.jpg"])
def test_an_address_with_escaped_letters_is_understood(write: Write, converted: Run, address: str) -> None:
    write(task(result(points=PERCENT), image=address), image="a b.jpg")
    assert converted().mask("a b").any()


def test_rectangles_ellipses_and_brush_strokes_are_shapes(write: Write, converted: Run) -> None:
    rgba = np.zeros((*SIZE, 4), np.uint8)
    rgba[INSIDE] = (9, 8, 7, 255)
    write(
        task(
            result("rectangle", "box", x=0, y=50, width=50, height=50),
            result("ellipse", "disc", x=75, y=75, radiusX=10, radiusY=20),
            result("brush", "road", rle=list(pack(rgba.ravel().tolist()))),
        )
    )
    done = converted()
    mask = done.mask("a")
    assert done.data.classes == ("background", "box", "disc", "road")
    np.testing.assert_array_equal(mask == 3, INSIDE)
    assert (mask[30:, :10] == 1).all()
    assert mask[36, 48] == 2
    assert abs((mask == 2).sum() - np.pi * 6.4 * 9.6) < 12


def test_a_turned_rectangle_turns_about_its_first_corner(write: Write, converted: Run) -> None:
    write(task(result("rectangle", x=50, y=50, width=25, height=25, rotation=90)))
    mask = converted().mask("a")
    assert mask[24 + 8, 32 - 6] == 1
    assert mask[24 + 6, 32 + 8] == 0


def test_what_is_cancelled_not_labelled_or_a_choice_is_counted(write: Write, converted: Run) -> None:
    first = task({"type": "choices", "from_name": "c", "value": {"choices": ["x"]}}, result(points=PERCENT))
    first["annotations"].insert(0, {"was_cancelled": True, "result": [result(label="van", points=PERCENT)]})
    first["annotations"].append({"result": []})
    write(first, {"data": {"image": "b.jpg"}, "annotations": []})
    done = converted()
    assert done.data.classes == ("background", "car")
    assert done.said("tasks without annotation, left out: 1")
    assert done.said("results of type 'choices' without area or label, left out: 1")
    assert done.said("tasks of several annotations, of which the first is read: 1")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (task(result(points=[[1e300, 1], [2, 2], [3, 3]])), "has no usable value at points.0.0"),
        (task(result(points="x")), "has no usable value at points"),
        (task(result("brush", rle=[0, 0, 0, 9, 1])), "brush stroke that cannot be unpacked"),
        (task(result("brush", rle=[300])), "has no usable value at rle.0"),
        (task(result(points=PERCENT), image="b.jpg"), "names the picture 'b.jpg', which is nowhere"),
        (task(result(points=PERCENT), image="../.hidden.jpg"), "no name of a visible file"),
        (task(result(points=PERCENT), image="text"), "names no picture"),
        ({"data": 3, "annotations": [{"result": [{"from_name": "x"}]}]}, "is no Label Studio JSON at 0.data"),
        (task(result(points=PERCENT), result(points=PERCENT) | {"original_width": 9}), "gives its picture 2 sizes"),
        (task(result(points=PERCENT) | {"original_width": 9}), "labels a picture of 9x48 px"),
    ],
)
def test_each_fault_is_one_sentence_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, document: object, message: str
) -> None:
    write(document)
    with pytest.raises(DataError, match=message):
        converted(name="label_studio")
    assert not (tmp_path / "out").exists()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40)), max_size=20))
def test_packed_values_come_back(runs: list[tuple[int, int]]) -> None:
    values = [value for value, length in runs for _ in range(length)]
    assert unpack_values(pack(values), len(values)).tolist() == values


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=40), st.integers(0, 100))
def test_any_bytes_are_values_or_refused(data: bytes, count: int) -> None:
    try:
        assert len(unpack_values(data, count)) == count
    except ValueError as reason:
        assert str(reason)


def test_a_stroke_that_label_studio_has_packed_is_read() -> None:
    # label_studio_sdk 2.1.2, converter.brush.mask2rle of this mask
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:7], mask[5, 0] = 255, 255
    packed = bytes.fromhex("000000c0391bfe2700c27ff6c0309ffdb00c27ff88c023ffc36000")
    np.testing.assert_array_equal(unpack_values(packed, 4 * 48).reshape(6, 8, 4)[..., 3], mask)


def test_a_damaged_file_is_named_among_good_ones(write: Write, converted: Run) -> None:
    write(task(result(points=PERCENT))).with_name("more.json").write_text("[{")
    with pytest.raises(DataError, match=r"more.json' is no JSON"):
        converted()
