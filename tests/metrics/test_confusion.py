import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import ConfigError, DataError, ShapeError
from segwright.metrics import ConfusionMatrix
from tests.support.loops import TOOLS, loop_with

Maps = NDArray[np.integer]


@pytest.fixture(autouse=True, params=TOOLS)
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_with(request.param, monkeypatch, "count_pairs")


def random_maps(
    num_classes: int, ignore_index: int, seed: int, shape: tuple[int, ...] = (4, 9, 13)
) -> tuple[Maps, Maps]:
    """Predictions with some values outside the classes, masks with some ignored pixels."""
    rng = np.random.default_rng(seed)
    predictions, masks = rng.integers(-2, num_classes + 3, shape), rng.integers(0, num_classes, shape)
    masks[rng.random(shape) < 0.2] = ignore_index
    return predictions, masks


def slow_counts(predictions: Maps, masks: Maps, num_classes: int, ignore_index: int) -> Maps:
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for prediction, truth in zip(predictions.ravel(), masks.ravel(), strict=True):
        if truth != ignore_index:
            counts[truth, prediction if 0 <= prediction < num_classes else num_classes] += 1
    return counts


def counted(predictions: Maps, masks: Maps, num_classes: int = 5, ignore_index: int = 255) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes, ignore_index)
    confusion.update(predictions, masks)
    return confusion


@pytest.mark.parametrize(
    ("num_classes", "ignore_index"), [(1, 255), (5, 255), (5, 5), (5, -1), (255, 255), (256, 65535), (300, 65535)]
)
@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_a_loop_over_pixels(num_classes: int, ignore_index: int, seed: int) -> None:
    predictions, masks = random_maps(num_classes, ignore_index, seed)
    confusion = counted(predictions, masks, num_classes, ignore_index)
    assert confusion.counts.dtype == np.int64
    np.testing.assert_array_equal(confusion.counts, slow_counts(predictions, masks, num_classes, ignore_index))


def test_counts_of_a_picture_larger_than_one_chunk_equal_a_loop_over_pixels() -> None:
    predictions, masks = (maps.astype(np.uint8) for maps in random_maps(5, 255, seed=0, shape=(521, 509)))
    np.testing.assert_array_equal(counted(predictions, masks).counts, slow_counts(predictions, masks, 5, 255))


@pytest.mark.parametrize("length", [2, 7, 8, 9, 40, 1000])
def test_counts_of_long_runs_equal_a_loop_over_pixels(length: int) -> None:
    rng, shape = np.random.default_rng(length), (523, 509)  # more than one chunk, and no multiple of eight pixels
    predictions, masks = (
        rng.integers(0, 5, math.prod(shape) // length + 1, dtype=np.uint8).repeat(length)[shift:][
            : math.prod(shape) - 9
        ]
        for shift in (0, 1)
    )
    pixels = min(predictions.size, masks.size)
    predictions, masks = predictions[None, :pixels], masks[None, :pixels]
    masks[0, 100:900] = 255
    np.testing.assert_array_equal(counted(predictions, masks).counts, slow_counts(predictions, masks, 5, 255))


def test_no_pixel_counts_nothing() -> None:
    assert not counted(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8)).counts.any()


def test_matrix_is_truth_by_prediction_and_outside_predictions_stand_in_the_last_column_of_counts() -> None:
    confusion = counted(np.array([[1, 2, 7, 0]]), np.array([[0, 0, 0, 1]]), num_classes=3)
    np.testing.assert_array_equal(confusion.matrix, [[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(confusion.counts[:, -1], [1, 0, 0])


NARROW = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


@pytest.mark.parametrize("dtype", NARROW)
def test_every_integer_dtype_gives_the_same_counts(dtype: type[np.integer]) -> None:
    predictions, masks = random_maps(5, 255, seed=1)
    predictions = predictions.clip(min=0)
    expected = counted(predictions, masks).counts
    np.testing.assert_array_equal(counted(predictions.astype(dtype), masks).counts, expected)
    np.testing.assert_array_equal(counted(predictions, masks.astype(dtype)).counts, expected)


def test_signed_bytes_work_with_more_classes_than_they_can_hold() -> None:
    confusion = counted(np.array([[-1, 100]], np.int8), np.array([[299, 299]]), 300, 65535)
    assert confusion.counts[299, 300] == confusion.counts[299, 100] == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_torch_tensors_count_as_numpy_arrays(dtype: torch.dtype) -> None:
    predictions, masks = random_maps(5, 255, seed=2)
    predictions = predictions.clip(min=0)
    confusion = ConfusionMatrix(5)
    confusion.update(torch.from_numpy(predictions).to(dtype), torch.from_numpy(masks))
    np.testing.assert_array_equal(confusion.counts, counted(predictions, masks).counts)


def test_memory_layout_does_not_matter() -> None:
    predictions, masks = (maps.astype(np.uint8) for maps in random_maps(5, 255, seed=3))
    expected = counted(predictions, masks).counts
    np.testing.assert_array_equal(counted(np.asfortranarray(predictions), masks).counts, expected)
    every_other = counted(predictions[..., ::2], masks[..., ::2]).counts
    np.testing.assert_array_equal(every_other, slow_counts(predictions[..., ::2], masks[..., ::2], 5, 255))


def test_order_and_batching_of_images_do_not_matter() -> None:
    predictions, masks = random_maps(5, 255, seed=4)
    one_by_one = ConfusionMatrix(5)
    for index in (2, 0, 3, 1):
        one_by_one.update(predictions[index], masks[index])
    batch = counted(predictions, masks)
    np.testing.assert_array_equal(one_by_one.counts, batch.counts)
    assert one_by_one.images == batch.images == 4


def test_images_are_the_product_of_the_leading_dimensions() -> None:
    assert counted(np.zeros((2, 3, 4, 5), int), np.zeros((2, 3, 4, 5), int)).images == 6
    assert counted(np.zeros((4, 5), int), np.zeros((4, 5), int)).images == 1


def test_ignored_pixels_change_nothing_whatever_is_predicted_there() -> None:
    predictions, masks = random_maps(5, 255, seed=5)
    others = np.where(masks == 255, (predictions + 1) % 5, predictions)
    assert (others != predictions).any()
    np.testing.assert_array_equal(counted(others, masks).counts, counted(predictions, masks).counts)


def test_merged_matrices_equal_the_matrix_of_all_images() -> None:
    predictions, masks = random_maps(5, 255, seed=6)
    first, second = counted(predictions[:1], masks[:1]), counted(predictions[1:], masks[1:])
    whole, total = counted(predictions, masks), first + second
    np.testing.assert_array_equal(total.counts, whole.counts)
    assert (total.images, first.images) == (4, 1)
    first.merge(second)
    np.testing.assert_array_equal(first.counts, whole.counts)
    assert first.images == 4


def test_matrices_of_different_class_counts_are_not_added() -> None:
    with pytest.raises(ConfigError, match="5 and 6 classes"):
        ConfusionMatrix(5).merge(ConfusionMatrix(6))


def sum_over(processes: list[ConfusionMatrix]) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """A reduce function that adds what every process would send, and the list of what it was given."""
    sent: list[Tensor] = []
    for process in processes:
        process.all_reduce(lambda tensor: sent.append(tensor.clone()) or tensor)  # type: ignore[func-returns-value]
    total, received = torch.stack(sent).sum(dim=0), []

    def reduce(tensor: Tensor) -> Tensor:
        received.append(tensor)
        return total

    return reduce, received


def test_all_reduce_gives_each_process_the_matrix_of_all_images() -> None:
    predictions, masks = random_maps(5, 255, seed=7)
    processes = [counted(predictions[:1], masks[:1]), counted(predictions[1:], masks[1:])]
    reduce, _ = sum_over(processes)
    for process in processes:
        process.all_reduce(reduce)
        np.testing.assert_array_equal(process.counts, counted(predictions, masks).counts)
        assert process.images == 4


def test_all_reduce_sends_one_int64_tensor() -> None:
    process = counted(*random_maps(5, 255, seed=8))
    reduce, received = sum_over([process])
    process.all_reduce(reduce)
    assert [tensor.dtype for tensor in received] == [torch.int64]


def test_counting_goes_on_after_all_reduce_without_touching_the_reduced_tensor() -> None:
    predictions, masks = random_maps(5, 255, seed=9)
    processes = [counted(predictions, masks), counted(predictions, masks)]
    reduce, _ = sum_over(processes)
    for process in processes:
        process.all_reduce(reduce)
    processes[0].update(predictions, masks)
    np.testing.assert_array_equal(processes[1].counts, 2 * counted(predictions, masks).counts)


@pytest.mark.parametrize(("value", "ignore_index"), [(34, 255), (5, 255), (255, 254), (-3, 255), (1000, 255)])
def test_mask_values_that_mean_nothing_are_named_and_nothing_is_counted(value: int, ignore_index: int) -> None:
    confusion = ConfusionMatrix(5, ignore_index)
    mask = np.array([[0, value, value, 4]])
    with pytest.raises(DataError, match=rf"value {value} \(2 px\); classes end at 4 and ignore is {ignore_index}"):
        confusion.update(np.zeros_like(mask), mask)
    assert not confusion.counts.any()
    assert confusion.images == 0


def test_the_most_frequent_of_several_unknown_mask_values_is_named() -> None:
    with pytest.raises(DataError, match=r"value 40 \(2 px\) and 1 other unknown values"):
        ConfusionMatrix(5).update(np.zeros((1, 3), int), np.array([[34, 40, 40]]))


@pytest.mark.parametrize("shapes", [((4, 5), (5, 4)), ((4, 5), (1, 4, 5)), ((5,), (5,))])
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError, match="the prediction has shape"):
        ConfusionMatrix(5).update(np.zeros(shapes[0], int), np.zeros(shapes[1], int))


def test_decimal_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="the prediction holds float32 values"):
        ConfusionMatrix(5).update(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(("num_classes", "ignore_index"), [(0, 255), (256, 255), (5, 0)])
def test_no_class_and_an_ignored_class_are_refused(num_classes: int, ignore_index: int) -> None:
    with pytest.raises(ConfigError):
        ConfusionMatrix(num_classes, ignore_index)
