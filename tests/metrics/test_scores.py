import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from segwright.errors import ConfigError, DataError
from segwright.metrics import CITYSCAPES_CATEGORIES, ConfusionMatrix, Scores

GOLDEN = Path(__file__).parents[1] / "golden"
ABC = ("a", "b", "c")


def confusion_of(matrix: ArrayLike) -> ConfusionMatrix:
    confusion = ConfusionMatrix(len(np.asarray(matrix)))
    confusion.matrix[:] = matrix
    return confusion


def random_confusion(seed: int, num_classes: int = 19) -> ConfusionMatrix:
    """Counts with predictions outside the classes, one class in neither truth nor prediction, one only predicted."""
    confusion = ConfusionMatrix(num_classes)
    confusion.counts[:] = np.random.default_rng(seed).integers(0, 1000, confusion.counts.shape)
    confusion.counts[:2] = 0
    confusion.counts[:, 0] = 0
    return confusion


def slow_iou(counts: np.ndarray[Any, Any]) -> list[float | None]:
    ious: list[float | None] = []
    for c in range(len(counts)):
        union = sum(counts[c, :]) + sum(counts[:, c]) - counts[c, c]
        ious.append(counts[c, c] / union if union else None)
    return ious


def numbers_in(value: object) -> list[float]:
    """All floats in a tree of dicts."""
    if isinstance(value, dict):
        return [number for child in value.values() for number in numbers_in(child)]
    return [value] if isinstance(value, float) else []


@pytest.fixture
def hand_made() -> ConfusionMatrix:
    """Class c is in neither truth nor prediction."""
    return confusion_of([[3, 1, 0], [2, 4, 0], [0, 0, 0]])


def test_scores_of_a_hand_made_matrix(hand_made: ConfusionMatrix) -> None:
    scores = hand_made.compute(ABC)
    assert scores.iou_per_class == {"a": 3 / 6, "b": 4 / 7, "c": None}
    assert scores.accuracy_per_class == {"a": 3 / 4, "b": 4 / 6, "c": None}
    assert scores.dice_per_class == {"a": 6 / 9, "b": 8 / 11, "c": None}
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2, abs=1e-12)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 4 / 6) / 2, abs=1e-12)
    assert scores.mean_dice == pytest.approx((6 / 9 + 8 / 11) / 2, abs=1e-12)
    assert scores.pixel_accuracy == pytest.approx(7 / 10, abs=1e-12)
    assert scores.frequency_weighted_iou == pytest.approx(0.4 * 3 / 6 + 0.6 * 4 / 7, abs=1e-12)
    assert scores.classes_counted == 2


def test_absent_zero_divides_by_all_classes_but_still_tells_which_are_absent(hand_made: ConfusionMatrix) -> None:
    scores = hand_made.compute(ABC, absent="zero")
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 3, abs=1e-12)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 4 / 6) / 3, abs=1e-12)
    assert scores.mean_dice == pytest.approx((6 / 9 + 8 / 11) / 3, abs=1e-12)
    assert scores.iou_per_class["c"] is None
    assert scores.classes_counted == 2


def test_a_class_that_is_only_predicted_has_iou_0_and_no_accuracy() -> None:
    scores = confusion_of([[3, 0, 1], [0, 4, 0], [0, 0, 0]]).compute(ABC)
    assert scores.iou_per_class["c"] == scores.dice_per_class["c"] == 0
    assert scores.accuracy_per_class["c"] is None
    assert scores.miou == pytest.approx((3 / 4 + 1 + 0) / 3, abs=1e-12)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 1) / 2, abs=1e-12)


def test_predictions_outside_the_classes_are_misses_of_the_true_class() -> None:
    confusion = ConfusionMatrix(2)
    confusion.update(np.array([[0, 0, 9, 1]]), np.array([[0, 0, 0, 1]]))
    scores = confusion.compute(["a", "b"], categories={"a": ["a"]})
    assert scores.iou_per_class == {"a": 2 / 3, "b": 1.0}
    assert scores.accuracy_per_class == {"a": 2 / 3, "b": 1.0}
    assert scores.pixel_accuracy == 3 / 4
    assert scores.category_iou == {"a": 2 / 3}


@pytest.mark.parametrize("seed", range(5))
def test_iou_equals_a_loop_over_classes(seed: int) -> None:
    confusion = random_confusion(seed)
    names = [str(index) for index in range(19)]
    scores = confusion.compute(names)
    expected = slow_iou(confusion.counts)
    assert scores.iou_per_class == dict(zip(names, expected, strict=True))
    present = [iou for iou in expected if iou is not None]
    assert scores.miou == pytest.approx(sum(present) / len(present), abs=1e-12)
    assert scores.classes_counted == len(present) == 18


@pytest.mark.parametrize("seed", range(3))
def test_dice_is_2_iou_over_1_plus_iou(seed: int) -> None:
    scores = random_confusion(seed).compute([str(index) for index in range(19)])
    for name, iou in scores.iou_per_class.items():
        expected = None if iou is None else pytest.approx(2 * iou / (1 + iou), abs=1e-12)
        assert scores.dice_per_class[name] == expected


def test_a_perfect_prediction_scores_1_everywhere() -> None:
    masks = np.random.default_rng(0).integers(0, 3, (2, 8, 8))
    confusion = ConfusionMatrix(3)
    confusion.update(masks, masks)
    scores = confusion.compute(ABC, categories={"ab": ("a", "b"), "c": ("c",)})
    found = numbers_in(dataclasses.asdict(scores))
    assert len(found) == 17
    assert found == pytest.approx([1.0] * 17, abs=1e-12)


@pytest.mark.parametrize("absent", ["skip", "zero"])
@pytest.mark.parametrize("matrix", [[[0, 0, 0], [0, 5, 0], [0, 0, 0]], [[0, 0, 3], [0, 0, 0], [0, 0, 0]]])
def test_nan_never_appears(matrix: list[list[int]], absent: Any) -> None:
    scores = confusion_of(matrix).compute(ABC, absent=absent, categories={"ab": ("a", "b"), "c": ("c",), "none": ()})
    assert not any(map(math.isnan, numbers_in(dataclasses.asdict(scores))))
    json.dumps(scores.to_json(), allow_nan=False)


def test_categories_that_are_all_absent_have_no_mean() -> None:
    scores = confusion_of([[5, 0, 0], [0, 0, 0], [0, 0, 0]]).compute(ABC, categories={"bc": ("b", "c")})
    assert scores.category_iou == {"bc": None}
    assert scores.category_miou is None


def test_confusions_inside_a_category_count_as_correct() -> None:
    scores = confusion_of([[0, 5, 0], [7, 0, 0], [0, 0, 2]]).compute(ABC, categories={"ab": ("a", "b"), "c": ("c",)})
    assert scores.category_iou == {"ab": 1.0, "c": 1.0}
    assert scores.category_miou == 1.0
    assert scores.miou == pytest.approx(1 / 3, abs=1e-12)


def test_category_iou_of_a_hand_made_matrix() -> None:
    scores = confusion_of([[3, 1, 2], [2, 4, 0], [5, 1, 9]]).compute(ABC, categories={"ab": ("a", "b")})
    assert scores.category_iou == {"ab": 10 / (10 + 2 + 6)}


def test_without_categories_there_is_no_category_score(hand_made: ConfusionMatrix) -> None:
    scores = hand_made.compute(ABC)
    assert (scores.category_iou, scores.category_miou) == ({}, None)


def test_counts_above_2_to_the_31_are_exact() -> None:
    pixels = 3 * 2**40
    confusion = confusion_of([[pixels, 0], [pixels, 2 * pixels]])
    confusion.merge(confusion)
    scores = confusion.compute(["a", "b"])
    assert confusion.matrix[1, 1] == 12 * 2**40
    assert scores.iou_per_class == {"a": 1 / 2, "b": 2 / 3}
    assert scores.pixel_accuracy == 3 / 4


def test_a_split_without_a_labelled_pixel_is_refused() -> None:
    confusion = ConfusionMatrix(3)
    confusion.update(np.zeros((2, 4, 4), int), np.full((2, 4, 4), 255))
    with pytest.raises(DataError, match="no labelled pixel in the 2 images counted"):
        confusion.compute(ABC)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d"), ("a", "b", "b")])
def test_each_class_needs_a_name_of_its_own(hand_made: ConfusionMatrix, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="has 3 classes"):
        hand_made.compute(names)


def test_a_category_with_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="category 'flat' names the class 'roat'; did you mean 'road'"):
        confusion_of([[1]]).compute(["road"], categories={"flat": ("roat",)})


def test_json_holds_the_promised_keys(hand_made: ConfusionMatrix) -> None:
    hand_made.images = 2
    scores = dataclasses.replace(hand_made.compute(ABC), protocol={"flip": False}, boundary_f={"3": 0.5})
    document = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert document == {
        "miou": scores.miou,
        "iou_per_class": {"a": 3 / 6, "b": 4 / 7, "c": None},
        "pixel_accuracy": 7 / 10,
        "mean_accuracy": scores.mean_accuracy,
        "boundary_f": {"3": 0.5},
        "images": 2,
        "protocol": {"flip": False},
    }


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((GOLDEN / "metrics.json").read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module")
def golden_confusion() -> ConfusionMatrix:
    with np.load(GOLDEN / "metrics.npz") as maps:
        confusion = ConfusionMatrix(19)
        confusion.update(maps["pred_train_id"], maps["label_train_id"])
    return confusion


@pytest.fixture(scope="module")
def golden_scores(golden: dict[str, Any], golden_confusion: ConfusionMatrix) -> Scores:
    return golden_confusion.compute(golden["classes"], categories=CITYSCAPES_CATEGORIES)


def test_confusion_matrix_equals_the_reference(golden: dict[str, Any], golden_confusion: ConfusionMatrix) -> None:
    np.testing.assert_array_equal(golden_confusion.matrix, golden["confusion"])
    assert golden_confusion.images == 6


def test_scores_equal_mmsegmentation(golden: dict[str, Any], golden_scores: Scores) -> None:
    theirs = golden["mmsegmentation"]
    assert golden_scores.iou_per_class == approx_by_class(golden["classes"], theirs["IoU"])
    assert golden_scores.accuracy_per_class == approx_by_class(golden["classes"], theirs["Acc"])
    assert golden_scores.dice_per_class == approx_by_class(golden["classes"], theirs["Dice"])
    assert golden_scores.pixel_accuracy == pytest.approx(theirs["aAcc"], abs=1e-9)
    assert golden_scores.miou == pytest.approx(theirs["mIoU"], abs=1e-9)
    assert golden_scores.mean_accuracy == pytest.approx(theirs["mAcc"], abs=1e-9)
    assert golden_scores.mean_dice == pytest.approx(theirs["mDice"], abs=1e-9)


def test_scores_equal_cityscapesscripts(golden: dict[str, Any], golden_scores: Scores) -> None:
    theirs = golden["cityscapesscripts"]
    assert golden_scores.iou_per_class == approx_by_class(golden["classes"], list(theirs["classScores"].values()))
    assert golden_scores.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
    categories = theirs["categoryScores"]
    assert golden_scores.category_iou == approx_by_class(list(categories), list(categories.values()))
    assert golden_scores.category_miou == pytest.approx(theirs["averageScoreCategories"], abs=1e-9)


def test_cityscapes_categories_hold_each_of_the_19_classes_once(golden: dict[str, Any]) -> None:
    assert [name for members in CITYSCAPES_CATEGORIES.values() for name in members] == golden["classes"]


def approx_by_class(names: list[str], values: list[float | None]) -> dict[str, Any]:
    return {
        name: None if value is None else pytest.approx(value, abs=1e-9)
        for name, value in zip(names, values, strict=True)
    }
