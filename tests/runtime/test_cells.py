import numpy as np
import pytest

from segwright.runtime.bilinear import grid, interpolate
from segwright.runtime.cells import decide_cells


def every_pixel(logits: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    return interpolate(logits, *grid(logits, size, align_corners=align_corners)).argmax(0)


def decided(logits: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    mask = np.full(size, 255, np.uint8)
    decide_cells(logits, *grid(logits, size, align_corners=align_corners), mask)
    return mask


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("num_classes", [2, 5, 21])
@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        ((30, 40), (240, 320)),
        ((3, 4), (200, 333)),  # cells larger than a block
        ((33, 47), (97, 111)),
        ((64, 80), (20, 33)),
        ((2, 50), (90, 50)),
    ],
)
def test_equals_the_arithmetic_of_every_pixel(
    coarse: tuple[int, int], fine: tuple[int, int], num_classes: int, align_corners: bool
) -> None:
    logits = np.random.default_rng(0).normal(size=(num_classes, *coarse)).astype(np.float32)
    assert np.array_equal(decided(logits, fine, align_corners), every_pixel(logits, fine, align_corners))


def test_class_that_wins_inside_a_cell_but_at_no_corner_is_found() -> None:
    logits = np.array([[[10, 0]], [[0, 10]], [[8, 8]]], np.float32)
    mask = decided(logits, (1, 9), True)
    assert mask.tolist() == [[0, 0, 2, 2, 2, 2, 2, 1, 1]]
    assert np.array_equal(mask, every_pixel(logits, (1, 9), True))


def test_where_classes_all_but_tie_the_chosen_one_has_the_largest_score() -> None:
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(1, 20, 20)) + 1e-7 * rng.normal(size=(4, 20, 20))).astype(np.float32)
    mask = decided(logits, (160, 160), False)
    scores = interpolate(logits, *grid(logits, (160, 160), align_corners=False))
    assert np.array_equal(np.take_along_axis(scores, mask[None].astype(np.intp), axis=0)[0], scores.max(0))
