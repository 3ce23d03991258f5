import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segwright.data.formats.fill import (
    Region,
    Shape,
    as_points,
    decompress_runs,
    draw_with_pillow,
    fill_polygon,
    fill_runs,
    paint,
    place,
    polygon_area,
)
from segwright.data.formats.reading import LabelTable, Notes
from segwright.errors import DataError
from tests.support.extras import needs

TABLE = LabelTable(("background", "a", "b"), {"a": 1, "b": 2}, 0)
FEW = settings(max_examples=60, deadline=None, derandomize=True)
corners = st.lists(st.tuples(st.floats(-30, 130), st.floats(-30, 130)), min_size=3, max_size=12)


def whole(region: Region | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    if region is not None:
        height, width = region.inside.shape
        mask[region.top : region.top + height, region.left : region.left + width] = region.inside
    return mask


# pycocotools 2.0.11 is older than NumPy 2's rule for __array__.
old_numpy = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def of_coco_tools(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    needs("pycocotools")
    from pycocotools import mask as tools

    runs = tools.frPyObjects([points.ravel().tolist()], *size)
    return tools.decode(runs)[..., 0].astype(bool)  # type: ignore[no-any-return]


@old_numpy
@FEW
@given(corners)
def test_polygons_equal_those_of_the_coco_tools(points: list[tuple[float, float]]) -> None:
    size = (100, 90)
    outline = np.array(points)
    assert (whole(fill_polygon(outline, size), size) == of_coco_tools(outline, size)).all()


@old_numpy
def test_polygons_far_outside_agree_with_the_coco_tools_on_999_of_1000_pixels() -> None:
    rng = np.random.default_rng(0)
    size, same = (120, 160), []
    for _ in range(20):
        outline = rng.uniform(-900, 900, (7, 2))
        same.append(whole(fill_polygon(outline, size), size) == of_coco_tools(outline, size))
    assert np.mean(same) >= 0.999


def test_a_long_outline_is_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    outline = np.random.default_rng(1).uniform(0, 100, (40, 2))
    at_once = whole(fill_polygon(outline, (100, 100)), (100, 100))
    monkeypatch.setattr("segwright.data.formats.fill._CHUNK", 500)
    assert (whole(fill_polygon(outline, (100, 100)), (100, 100)) == at_once).all()
    assert at_once.any()


@FEW
@given(corners)
def test_pillow_polygons_are_drawn_as_on_the_whole_picture(points: list[tuple[float, float]]) -> None:
    size, outline = (100, 90), np.array(points)
    canvas = Image.new("L", (90, 100))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], fill=1, outline=1)
    assert (whole(draw_with_pillow(outline, size), size) == np.asarray(canvas).astype(bool)).all()


@FEW
@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 40), st.sampled_from(["rectangle", "ellipse"]))
def test_pillow_boxes_are_drawn_as_on_the_whole_picture(x: float, y: float, radius: float, kind: str) -> None:
    size, box = (100, 90), np.array([[x - radius, y - radius], [x + radius, y + radius]])
    canvas = Image.new("L", (90, 100))
    getattr(ImageDraw.Draw(canvas), kind)(np.trunc(box).ravel().tolist(), fill=1, outline=1)
    assert (whole(draw_with_pillow(box, size, kind), size) == np.asarray(canvas).astype(bool)).all()


@pytest.mark.parametrize("fill", [fill_polygon, draw_with_pillow])
def test_a_polygon_outside_has_no_pixel(fill: object) -> None:
    assert fill(np.array([[200.0, 5], [300, 5], [250, 90]]), (50, 60)) is None  # type: ignore[operator]


def test_larger_shapes_are_drawn_first_by_area_and_in_order_by_order() -> None:
    small, large = (np.array([[0.0, 0], [n, 0], [n, n], [0, n]]) for n in (4, 8))
    shapes = [Shape(i, polygon_area(p), lambda size, p=p: fill_polygon(p, size)) for i, p in ((1, small), (2, large))]
    assert paint(shapes, (8, 8), TABLE, "area", Notes())[0, 0] == 1
    assert paint(shapes, (8, 8), TABLE, "order", Notes())[0, 0] == 2


def test_shapes_with_a_pixel_in_the_picture_are_counted() -> None:
    far = np.array([[20.0, 20], [30, 20], [30, 30]])
    shapes = [Shape(1, 50.0, lambda size, p=p: fill_polygon(p, size)) for p in (far, far - 20, far - 20)]
    paint(shapes, (8, 8), TABLE, "order", notes := Notes())
    assert notes.drawn == 2


def test_area_is_that_of_the_shoelace_formula() -> None:
    assert polygon_area(np.array([[0.0, 0], [4, 0], [4, 3]])) == 6


@pytest.mark.parametrize("numbers", [[1, 2, 3], [0, 0, float("nan"), 1], [1e300, 0], ["a", 2], [[1, 2], [3]], {"x": 1}])
def test_what_is_no_point_is_refused(numbers: object) -> None:
    with pytest.raises(DataError, match=r"^here has"):
        as_points(numbers, "here")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_compressed_runs_are_those_of_the_coco_tools(height: int, width: int, seed: int) -> None:
    needs("pycocotools")
    from pycocotools import mask as tools

    mask = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.uint8)
    text = tools.encode(np.asfortranarray(mask))["counts"].decode()
    assert (fill_runs(decompress_runs(text, "here"), (height, width), "here") == mask).all()


def test_runs_go_down_the_columns_and_begin_outside() -> None:
    inside = fill_runs(np.array([1, 2, 3]), (2, 3), "here")
    assert inside.astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]
    by_rows = fill_runs(np.array([1, 2, 3]), (2, 3), "here", by_columns=False)
    assert by_rows.astype(int).tolist() == [[0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("counts", [[], [1, 2], [7], [8, -2], [2**62, 2**62]])
def test_runs_that_do_not_add_up_are_refused(counts: list[int]) -> None:
    with pytest.raises(DataError, match="do not add up to 3x2 px"):
        fill_runs(np.array(counts, np.int64), (2, 3), "here")


@given(st.text(st.characters(max_codepoint=200), max_size=30))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_text_is_runs_or_refused(text: str) -> None:
    try:
        decompress_runs(text, "here")
    except DataError as error:
        assert "compressed RLE" in error.message


def test_a_bitmap_is_cut_off_at_the_border() -> None:
    bitmap = np.ones((4, 4), bool)
    region = place(bitmap, -2, 5, (6, 7))
    assert region is not None
    assert (region.top, region.left, region.inside.shape) == (0, 5, (2, 2))
    assert place(bitmap, 6, 0, (6, 7)) is None
    assert place(bitmap, 0, -4, (6, 7)) is None
