"""The boundary F-score beside the released Gated-SCNN's and a slow one, and the distance-based evaluation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segwright.errors import ConfigError, DataError, ShapeError
from segwright.metrics import BoundaryF, ConfusionMatrix, DistanceScores
from segwright.metrics.boundary import distance_crop, radius_of

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "gscnn__boundary.json").read_text())["boundary_f"]

Maps = NDArray[np.integer]


def recorded_maps() -> tuple[Maps, Maps]:
    with np.load(GOLDEN / "metrics.npz") as arrays:
        return arrays["pred_train_id"], arrays["label_train_id"]


def counted(prediction: Maps, mask: Maps, num_classes: int = 2, tolerances: tuple[float, ...] = (2,)) -> BoundaryF:
    boundary = BoundaryF(num_classes, tolerances)
    boundary.update(prediction, mask)
    return boundary


def f_of(prediction: Maps, mask: Maps, tolerance: float = 2) -> list[float]:
    return list(counted(prediction, mask, tolerances=(tolerance,)).per_class()[0])


def slow_boundary(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            near = [(y, min(x + 1, width - 1)), (min(y + 1, height - 1), x)]
            near.append((near[1][0], near[0][1]))
            if any(mask[place] != mask[y, x] for place in near):
                found.append((y, x))
    return found


def slow_f(prediction: Maps, mask: Maps, number: int, radius: float) -> float:
    ours, theirs = (slow_boundary((values == number) & (mask != 255)) for values in (prediction, mask))

    def share(these: list[tuple[int, int]], those: list[tuple[int, int]]) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in those) for y, x in these]
        return float(np.mean(near)) if these else 1.0

    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def square(top: int, left: int, side: int = 12, size: tuple[int, int] = (48, 64)) -> Maps:
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


@pytest.mark.parametrize("tolerance", RECORDED)
def test_equals_the_released_code(tolerance: str) -> None:
    boundary = counted(*recorded_maps(), num_classes=19, tolerances=(float(tolerance),))
    assert list(boundary.per_class()[0]) == pytest.approx(RECORDED[tolerance]["per_class"], abs=1e-12)
    assert boundary.compute()[float(tolerance)] == pytest.approx(RECORDED[tolerance]["mean"], abs=1e-12)


@pytest.mark.parametrize("num_classes", [3, 32, 33, 64, 65, 130])
def test_equals_a_slow_one_for_any_number_of_classes(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    mask = rng.choice([0, 1, num_classes - 1], (13, 17))
    prediction = np.where(rng.random(mask.shape) < 0.8, mask, rng.integers(-1, num_classes + 2, mask.shape))
    mask[rng.random(mask.shape) < 0.1] = 255
    scores = counted(prediction, mask, num_classes, tolerances=(1, 2)).per_class()
    for number in (0, 1, num_classes - 1):
        expected = [slow_f(prediction, mask, number, radius) for radius in (1, 2)]
        assert list(scores[:, number]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (150, 7), (64, 65)])
def test_perfect_prediction_scores_1_at_any_size(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 3, size)
    assert counted(mask, mask, num_classes=3, tolerances=(1, 3, 12)).compute() == {1: 1.0, 3: 1.0, 12: 1.0}


@pytest.mark.parametrize("tolerance", [1, 3, 5])
def test_shift_within_the_tolerance_costs_nothing_and_beyond_it_something(tolerance: int) -> None:
    mask = square(15, 20)
    scores = [f_of(square(15, 20 + shift), mask, tolerance)[1] for shift in range(tolerance + 6)]
    assert scores[: tolerance + 1] == [1.0] * (tolerance + 1)
    assert scores[tolerance + 1] < 1
    assert scores[tolerance:] == sorted(scores[tolerance:], reverse=True)


def test_diagonal_shift_counts_by_euclidean_distance() -> None:
    single, moved = np.zeros((2, 20, 20), np.uint8)
    single[:10, :10], moved[:12, :12] = 1, 1  # the corner moves by 2.83 pixels, the sides by 2
    assert f_of(moved, single, 3)[1] == 1.0
    assert f_of(moved, single, 2)[1] < 1.0


def test_radii_of_the_paper_s_shares_are_3_5_9_12_on_cityscapes() -> None:
    assert [radius_of(share, 1024, 2048) for share in (0.00088, 0.001875, 0.00375, 0.005)] == [3, 5, 9, 12]
    assert radius_of(0.0005, 1024, 2048) == 2  # the released code's first default
    assert radius_of(7, 10, 10) == 7


def test_class_in_truth_or_prediction_alone_scores_0() -> None:
    empty = np.zeros_like(square(0, 0))
    assert f_of(square(9, 9), empty)[1] == 0.0
    assert f_of(empty, square(9, 9))[1] == 0.0


@pytest.mark.parametrize(("absent", "expected"), [("one", (1 + 1) / 2), ("skip", 1.0)])
def test_absent_class_counts_as_1_or_not_at_all(absent: str, expected: float) -> None:
    boundary = BoundaryF(3, (2,), absent=absent)  # type: ignore[arg-type]
    boundary.update(square(9, 9), square(9, 9))
    boundary.update(np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8))
    assert boundary.compute() == {2: expected}
    assert math.isnan(boundary.per_class()[0, 2]) == (absent == "skip")


def test_absent_class_raises_the_score_of_the_released_code() -> None:
    wrong, mask = square(9, 9), square(30, 40)
    scores = {}
    for absent in ("one", "skip"):
        boundary = BoundaryF(5, (2,), absent=absent)  # type: ignore[arg-type]
        boundary.update(wrong, mask)
        scores[absent] = boundary.compute()[2]
    assert scores["one"] > 0.5 > scores["skip"]


def test_nothing_counted_gives_nan() -> None:
    assert math.isnan(BoundaryF(2, (2,)).compute()[2])


def test_ignored_pixels_change_nothing() -> None:
    rng = np.random.default_rng(3)
    mask = square(9, 9).astype(int)
    mask[30:, :40] = 255
    first, second = square(10, 9), square(10, 9)
    second[30:, :40] = rng.integers(0, 2, (18, 40))
    assert f_of(first, mask) == f_of(second, mask)


def test_parts_and_batches_add_up() -> None:
    predictions, masks = recorded_maps()
    whole = counted(predictions, masks, num_classes=19, tolerances=(3, 9))
    first, second = (counted(predictions[p], masks[p], 19, (3, 9)) for p in (slice(0, 2), slice(2, None)))
    second.merge(first)
    assert np.allclose(second.per_class(), whole.per_class(), rtol=0, atol=1e-12)
    assert np.array_equal(second.counts, whole.counts)
    second.all_reduce(lambda tensor: tensor * 2)
    assert np.array_equal(second.counts, 2 * whole.counts)
    with pytest.raises(ConfigError, match="different settings"):
        first.merge(BoundaryF(19, (3,)))


def test_labels_shrunk_and_enlarged_lose_their_boundaries() -> None:
    """Resizing the input hurts boundaries: even perfect labels do not survive a smaller size."""
    mask = disks()
    scores = [counted(shrunk(mask, factor), mask, 3, (1,)).compute()[1] for factor in (1, 2, 4, 8)]
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def disks() -> Maps:
    y, x = np.mgrid[:96, :128]
    mask = np.zeros((96, 128), np.uint8)
    for number, (v, u, radius) in enumerate([(30, 30, 17), (60, 90, 25), (20, 100, 6), (80, 20, 9)]):
        mask[(y - v) ** 2 + (x - u) ** 2 < radius**2] = 1 + number % 2
    return mask


def shrunk(mask: Maps, factor: int) -> Maps:
    """Nearest: every factor-th pixel of every factor-th row, repeated."""
    return mask[factor // 2 :: factor, factor // 2 :: factor].repeat(factor, 0).repeat(factor, 1)


@pytest.mark.parametrize("tolerances", [(), (0,), (3, -1), (math.inf,)])
def test_tolerances_that_are_none_are_refused(tolerances: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="tolerances is"):
        BoundaryF(2, tolerances)


def test_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_classes is 0"):
        BoundaryF(0)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"prediction has shape \(4, 5\)"):
        counted(np.zeros((4, 5), int), np.zeros((4, 6), int))


def test_decimal_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="the mask holds float64"):
        counted(np.zeros((4, 5), int), np.zeros((4, 5)))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0, (0, 1024, 0, 2048)), (100, (100, 924, 200, 1848)), (400, (400, 624, 800, 1248))],
)
def test_distance_crop_removes_as_large_a_share_of_the_columns(factor: int, expected: tuple[int, ...]) -> None:
    rows, columns = distance_crop(1024, 2048, factor)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


@pytest.mark.parametrize("centre", [(0.0, 0.0), (1.0, 1.0), (0.45, 0.9)])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (360, 480)])
def test_distance_crop_stays_inside(size: tuple[int, int], centre: tuple[float, float]) -> None:
    for factor in (0, 100, 511):
        for crop, side in zip(distance_crop(*size, factor, centre=centre), size, strict=True):
            assert 0 <= crop.start < crop.stop <= side


def test_distance_scores_count_the_crops_of_the_whole_prediction() -> None:
    rng = np.random.default_rng(5)
    predictions, masks = rng.integers(0, 4, (2, 2, 64, 128))
    scores = DistanceScores(4, factors=(0, 256))
    scores.update(predictions, masks)
    for factor, part in {0: np.s_[:, :, :], 256: np.s_[:, 16:48, 32:96]}.items():
        expected = ConfusionMatrix(4)
        expected.update(predictions[part], masks[part])
        assert np.array_equal(scores.matrices[factor].counts, expected.counts)


def test_mistakes_far_away_weigh_more_the_closer_the_crop() -> None:
    mask = np.zeros((128, 256), np.uint8)
    prediction = mask.copy()
    prediction[60:68, 120:136] = 1  # around the vanishing point
    scores = DistanceScores(2)
    scores.update(prediction, mask)
    ious = [matrix.compute(["road", "car"]).iou_per_class["road"] for matrix in scores.matrices.values()]
    assert ious == sorted(ious, reverse=True)
    assert ious[0] != ious[-1]


def test_distance_factor_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="factors is"):
        DistanceScores(2, factors=(512,))
