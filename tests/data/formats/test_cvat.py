from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.errors import DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

POLYGON = '<polygon label="car" points="10,8;30,8;30,28;10,28" z_order="{}"/>'
INSIDE = np.zeros(SIZE, bool)
INSIDE[8:28, 10:30] = True


@pytest.fixture
def write(tmp_path: Path, picture: Write) -> Callable[..., Path]:
    def run(
        shapes: str = POLYGON.format(0), head: str = "", name: str = "a.jpg", subset: str = "train", more: str = ""
    ) -> Path:
        picture("images/a.jpg")
        path = tmp_path / "source" / "annotations.xml"
        labels = "".join(f"<label><name>{label}</name></label>" for label in ("road", "car"))
        path.write_text(
            f'<?xml version="1.0" encoding="utf-8"?>\n{head}<annotations><version>1.1</version>'
            f"<meta><task><labels>{labels}</labels></task></meta>{more}"
            f'<image id="0" name="{name}" subset="{subset}" width="64" height="48">{shapes}</image></annotations>'
        )
        return path

    return run


def test_polygons_take_the_labels_of_the_task(write: Write, converted: Run) -> None:
    write()
    result = converted()
    assert result.told == [("cvat", "CVAT XML: 1 image, 2 classes; 1 polygon")]
    assert result.data.classes == ("background", "road", "car")
    assert (result.mask("a") == INSIDE * 2).all()


def test_boxes_ellipses_and_bitmaps_are_shapes(write: Write, converted: Run) -> None:
    write(
        '<box label="car" xtl="0" ytl="0" xbr="10" ybr="5"/>'
        '<ellipse label="road" cx="40" cy="20" rx="10" ry="5"/>'
        '<mask label="car" left="60" top="40" width="4" height="2" rle="1, 2, 3, 1, 1"/>'
    )
    mask = converted().mask("a")
    assert (mask[:5, :10] == 2).all()
    assert abs(int((mask == 1).sum()) - np.pi * 50) < 6
    assert mask[40:42, 60:64].tolist() == [[0, 2, 2, 0], [0, 0, 2, 0]]


def test_a_turned_box_is_turned(write: Write, converted: Run) -> None:
    write('<box label="car" xtl="20" ytl="20" xbr="40" ybr="24" rotation="90"/>')
    rows, columns = np.nonzero(converted().mask("a"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 31, 28, 31)


def test_the_highest_shape_lies_on_top(write: Write, converted: Run) -> None:
    write(POLYGON.format(5) + POLYGON.format(1).replace("car", "road"))
    assert converted().mask("a")[10, 12] == 2


def test_lines_and_tags_are_counted(write: Write, converted: Run) -> None:
    lines = '<polyline label="car" points="1,2;3,4"/><tag label="car"/><polygon label="car" points="1,2;3,4"/>'
    write(lines + '<polygon label="car" points="1,2;9,2;9,9"/>')
    result = converted()
    assert result.said("shapes of type 'polyline' without area, left out: 1")
    assert result.said("elements 'tag' that label no pixels, left out: 1")
    assert result.said("polygons of fewer than three corners, left out: 1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": '<!DOCTYPE a [<!ENTITY b "c">]>'}, "declares a DOCTYPE"),
        ({"shapes": "<polygon"}, "is no XML"),
        ({"more": '<track id="0"/>'}, "holds tracks of a video"),
        ({"name": "../a.jpg"}, "leads out of the data set"),
        ({"name": "b.jpg"}, "nowhere below"),
        ({"shapes": '<polygon points="1,2;3,4;5,6"/>'}, "polygon without a label"),
        ({"shapes": '<polygon label="car" points="1,2;3,x;5,6"/>'}, "no list of numbers"),
        ({"shapes": '<polygon label="car" points="1,2;3;5,6"/>'}, "no list of numbers"),
        ({"shapes": '<polygon label="car" points="1,2;nan,4;5,6"/>'}, "coordinate that is no number"),
        ({"shapes": '<box label="car" xtl="0" ytl="0" xbr="a" ybr="5"/>'}, "box with xbr='a'; it must be a number"),
        ({"shapes": '<box label="car" xtl="0" ytl="0" xbr="5"/>'}, "box with no ybr"),
        (
            {"shapes": '<mask label="car" left="0" top="0" width="2" height="2" rle="1,x"/>'},
            "rle is no list of numbers",
        ),
        ({"shapes": '<mask label="car" left="0" top="0" width="2" height="2" rle="9"/>'}, "do not add up to 2x2 px"),
        ({"shapes": '<mask label="car" left="0" top="0" width="9999" height="2" rle="9"/>'}, "mask of 9999x2 px"),
    ],
)
def test_each_fault_is_one_sentence_and_nothing_is_written(
    write: Write, converted: Run, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    write(**options)
    with pytest.raises(DataError, match=message):
        converted()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "<!DOCTYPE html><html>", "<annotations"])
def test_a_damaged_file_is_named_among_good_ones(write: Write, converted: Run, text: str) -> None:
    write('<polygon label="car" points="1,2;9,2;9,9"/>').with_name("val.xml").write_text(text)
    with pytest.raises(DataError, match=r"val.xml' (is no XML|declares a DOCTYPE)"):
        converted()


def test_xml_of_something_else_is_left_alone(write: Write, converted: Run) -> None:
    write('<polygon label="car" points="1,2;9,2;9,9"/>').with_name("boxes.xml").write_text("<annotation/>")
    assert converted().mask("a").any()
