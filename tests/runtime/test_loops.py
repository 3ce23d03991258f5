"""What numba compiles gives what the same lines give as plain Python."""

from collections.abc import Callable

import numpy as np
import pytest

from segwright.runtime import loops
from segwright.runtime.bilinear import Neighbours, neighbours
from segwright.runtime.compiled import compiled
from tests.support.loops import loop_with

Arguments = tuple[object, ...]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def side(coarse: int, fine: int) -> Arguments:
    places: Neighbours = neighbours(coarse, fine, align_corners=False)
    return places.first.astype(np.int32), places.second.astype(np.int32), places.weight


def scores(rng: np.random.Generator, size: tuple[int, int]) -> Arguments:
    logits = 4 * rng.normal(size=(5, 4, 6)).astype(np.float32)
    return logits.reshape(-1), (24, 6, 1), (5, 4, 6), side(4, size[0]), side(6, size[1])


def both(
    purpose: str, python: Callable[..., None], inputs: Arguments, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        loop_with("numba", patch, purpose)
        loop, expected = compiled(purpose, 0), out.copy()
        assert loop is not None
        loop(*inputs, out)
        python(*inputs, expected)
    return out, expected


@pytest.mark.parametrize("size", [(9, 13), (3, 5), (6, 300)])
def test_masks_are_those_of_plain_python(rng: np.random.Generator, size: tuple[int, int]) -> None:
    compiled_mask, mask = both("mask", loops.decide_mask, scores(rng, size), np.full(size, 255, np.uint8))
    assert np.array_equal(compiled_mask, mask)
    assert mask.max() < 5


@pytest.mark.parametrize("size", [(9, 13), (6, 300)])  # more than one block of pixels
def test_confidences_are_those_of_plain_python(rng: np.random.Generator, size: tuple[int, int]) -> None:
    inputs, out = scores(rng, size), np.zeros(size, np.float32)
    assert np.allclose(*both("confidence", loops.decide_confidence, inputs, out), rtol=0, atol=1e-6)


def test_probabilities_are_added_as_in_plain_python(rng: np.random.Generator) -> None:
    inputs, out = scores(rng, (5, 300)), np.ones((5, 5, 300), np.float32)
    sums, expected = both("probabilities", loops.add_probabilities, inputs, out)
    assert np.allclose(sums, expected, rtol=0, atol=1e-6)
    assert np.allclose(sums.sum(0), 5 + 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("run", [1, 3, 20])
def test_pairs_are_counted_one_by_one(rng: np.random.Generator, pixels: int, run: int) -> None:
    truth, predicted = (np.repeat(rng.integers(0, 256, pixels, dtype=np.uint8), run)[:pixels] for _ in range(2))
    counts, expected = both("count_pairs", loops.count_pairs, (truth, predicted), np.zeros((256, 256), np.int64))
    slow = np.zeros_like(counts)
    for pair in zip(truth, predicted, strict=True):
        slow[pair] += 1
    assert np.array_equal(counts, slow)
    assert np.array_equal(expected, slow)


def test_blend_is_that_of_plain_python(rng: np.random.Generator) -> None:
    image, mask = rng.integers(0, 256, (6, 21), dtype=np.uint8), rng.integers(0, 256, (6, 7), dtype=np.uint8)
    colours = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    inputs = image, mask, colours, np.float32(0.3)
    assert np.array_equal(*both("blend", loops.blend, inputs, np.zeros_like(image)))
