import numpy as np
import pytest

from segwright.analysis import moments
from segwright.analysis.moments import MomentProduct, observed_together, second_moment
from tests.analysis.maps import VOID, Masks, draw_maps, one_hot_patches, patches_of, windows_of


def pairwise_complete(masks: Masks, num_classes: int, ratio: int) -> np.ndarray:
    """Patch by patch and pair by pair of pixels."""
    pixels = ratio**2
    counts, sums = np.zeros((pixels, pixels)), np.zeros((num_classes, pixels, num_classes, pixels))
    for window in windows_of(masks, ratio):
        labels = window.ravel()
        for one in range(pixels):
            for other in range(pixels):
                if labels[one] != VOID and labels[other] != VOID:
                    counts[one, other] += 1
                    sums[labels[one], one, labels[other], other] += 1
    counts = np.maximum(counts, 1)
    return (sums / counts[:, None]).reshape(num_classes * pixels, num_classes * pixels)


@pytest.mark.parametrize(("num_classes", "ratio", "size"), [(1, 4, (16, 16)), (3, 4, (32, 48)), (7, 8, (64, 48))])
def test_equals_the_dense_second_moment(num_classes: int, ratio: int, size: tuple[int, int]) -> None:
    masks = draw_maps(12, num_classes, size, seed=0)
    vectors = one_hot_patches(masks, num_classes, ratio)
    np.testing.assert_allclose(
        second_moment(patches_of(masks, num_classes, ratio)), vectors.T @ vectors / len(vectors), atol=1e-7
    )


def test_order_is_class_then_row_then_column() -> None:
    masks = draw_maps(6, 3, (24, 12), seed=1)
    windows = windows_of(masks, 4)
    moment = second_moment(patches_of(masks, 3, 4))
    for index, row, column in np.ndindex(3, 4, 4):
        share = np.mean([window[row, column] == index for window in windows])
        assert moment[index * 16 + row * 4 + column].max() == pytest.approx(share)  # with itself, most often


def test_void_is_weighted_by_the_patches_in_which_both_pixels_have_a_class() -> None:
    masks = draw_maps(8, 3, (18, 27), seed=0, void=True)
    masks[0][:4, :4] = VOID
    np.testing.assert_allclose(second_moment(patches_of(masks, 3, 4)), pairwise_complete(masks, 3, 4), atol=1e-6)


def test_pixels_that_never_have_a_class_together_have_no_moment() -> None:
    masks = [np.array([[0, VOID]] * 2, np.uint8), np.array([[VOID, 1]] * 2, np.uint8)]
    patches = patches_of(masks, 2, 2)
    assert observed_together(patches).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(second_moment(patches), pairwise_complete(masks, 2, 2))


def test_small_chunks_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = patches_of(draw_maps(8, 5, (40, 48), seed=0, void=True), 5, 8)
    whole = second_moment(patches)
    monkeypatch.setattr(moments, "CHUNK_BYTES", 4 * 64 * 7)
    steps: list[tuple[int, int]] = []
    np.testing.assert_allclose(second_moment(patches, lambda *step: steps.append(step)), whole, atol=1e-7)
    assert len(steps) > 10
    assert steps[-1] == (len(steps), len(steps))


def test_sampled_patches_count_as_often_as_they_stand_for_others() -> None:
    masks = draw_maps(150, 3, (128, 128), seed=0)
    everything, sample = patches_of(masks, 3, 16), patches_of(masks, 3, 16, memory_mb=1)
    assert sample.weight > 1.5
    whole, part = second_moment(everything), second_moment(sample)
    np.testing.assert_allclose(np.trace(part), np.trace(whole), rtol=1e-5)
    assert np.abs(part - whole).max() < 0.02


def test_products_without_the_matrix_equal_those_with_it() -> None:
    patches = patches_of(draw_maps(12, 5, (64, 48), seed=0), 5, 8)
    vectors = np.random.default_rng(0).standard_normal((320, 9)).astype(np.float32)
    product = MomentProduct(patches, 4096, seed=0)
    np.testing.assert_allclose(product(vectors), second_moment(patches) @ vectors, atol=2e-5)
    assert product.trace == 64


def test_products_without_the_matrix_know_the_weights_of_void() -> None:
    masks = draw_maps(60, 3, (60, 90), seed=0, void=True)
    patches = patches_of(masks, 3, 8)
    identity = np.eye(192, dtype=np.float32)
    moment, product = second_moment(patches), MomentProduct(patches, 4096, seed=0)(identity)
    np.testing.assert_allclose(product.diagonal(), moment.diagonal(), rtol=1e-5)
    assert np.abs(product - moment).max() < 0.01
    unweighted = one_hot_patches(masks, 3, 8)
    assert np.abs(unweighted.T @ unweighted / len(unweighted) - moment).max() > 0.05


def test_steps_beyond_the_memory_are_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "CHUNK_BYTES", 4 * 64 * 50)
    patches = patches_of(draw_maps(60, 3, (128, 128), seed=0), 3, 8)
    identity = np.eye(192, dtype=np.float32)
    product = MomentProduct(patches, 0.1, seed=0)
    assert 0 < sum(8 * part.nnz for part in product._steps) < 0.2 * 2**20
    assert len(product._steps) < len(patches.mixed) / 50 / 1.5
    assert np.abs(product(identity) - second_moment(patches)).max() < 0.03


def test_patches_of_one_class_each_need_no_other() -> None:
    patches = patches_of([np.full((8, 8), index, np.uint8) for index in (0, 0, 2)], 3, 4)
    identity = np.eye(48, dtype=np.float32)
    expected = np.kron(np.diag([2 / 3, 0, 1 / 3]), np.ones((16, 16)))
    np.testing.assert_allclose(second_moment(patches), expected, atol=1e-6)
    np.testing.assert_allclose(MomentProduct(patches, 4096, seed=0)(identity), expected, atol=1e-6)
