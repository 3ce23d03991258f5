import numpy as np
import pytest

from segwright.runtime.tiles import window_boxes


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
