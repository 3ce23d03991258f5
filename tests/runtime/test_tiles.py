import numpy as np
import pytest

from segwright.runtime.tiles import window_boxes, window_starts, window_weights


@pytest.mark.parametrize("size", [(1, 1), (10, 17), (100, 30), (64, 64), (65, 200)])
@pytest.mark.parametrize("window", [(1, 1), (2, 3), (16, 16), (64, 64), (1000, 7)])
def test_windows_of_one_size_cover_the_picture(size: tuple[int, int], window: tuple[int, int]) -> None:
    visits = np.zeros(size, int)
    boxes = window_boxes(size, window)
    for box in boxes:
        assert box.top >= 0
        assert box.left >= 0
        assert (box.height, box.width) == (min(window[0], size[0]), min(window[1], size[1]))
        assert visits[box.place].shape == (box.height, box.width)
        visits[box.place] += 1
    assert visits.min() >= 1
    assert len(set(boxes)) == len(boxes)


def test_windows_move_by_two_thirds_and_the_last_is_moved_back() -> None:
    assert [box.left for box in window_boxes((9, 20), (9, 9))] == [0, 6, 11]
    assert [box.top for box in window_boxes((21, 9), (9, 9))] == [0, 6, 12]


def test_window_larger_than_the_picture_is_clipped() -> None:
    assert window_boxes((5, 7), (100, 100)) == [(0, 0, 5, 7)]


def test_large_windows_start_on_the_grid_of_the_strides() -> None:
    assert [box.left for box in window_boxes((512, 2048), (512, 512))] == [0, 320, 640, 960, 1280, 1536]
    assert all(start % 32 == 0 for start in window_starts(2048, 768))


SIDES = [(1, 1), (2, 1), (10, 3), (17, 4), (19, 5), (30, 7), (64, 64), (65, 64), (200, 64), (1000, 512), (333, 100)]


@pytest.mark.parametrize(("side", "window"), SIDES)
def test_weights_of_a_pixel_sum_to_one(side: int, window: int) -> None:
    weights = window_weights(side, window)
    assert weights.dtype == np.float32
    assert weights.shape == (len(window_starts(side, window)), side)
    assert weights.min() >= 0
    assert np.abs(weights.sum(0) - 1).max() < 1e-6


@pytest.mark.parametrize(("side", "window"), SIDES)
def test_a_window_counts_nowhere_but_inside_itself(side: int, window: int) -> None:
    for start, weights in zip(window_starts(side, window), window_weights(side, window), strict=True):
        assert not weights[:start].any()
        assert not weights[start + window :].any()


def test_a_window_counts_nothing_in_its_outer_twelfth_and_everything_at_the_pictures_border() -> None:
    first, second = window_weights(100, 60)  # they lie at 0 and 40, and overlap from 40 to 60
    assert (first[:45] == 1).all()  # its left border is the picture's
    assert not first[55:].any()
    assert not second[:45].any()
    assert (second[55:] == 1).all()
    assert first[50] == pytest.approx(0.45)


def test_one_window_fades_into_the_next() -> None:
    first, _ = window_weights(100, 60)
    steps = np.diff(first[44:56])
    assert (steps < 0).all()
    assert steps.min() >= -0.1001
