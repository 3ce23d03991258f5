"""The fused resize and argmax against torch's two steps."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segwright.errors import ShapeError
from segwright.runtime import mean_argmax, resize_argmax
from segwright.runtime.decide import resize

SIZES = [
    ((16, 32), (128, 256)),
    ((13, 17), (101, 135)),
    ((12, 15), (90, 120)),
    ((7, 9), (53, 31)),
    ((40, 50), (13, 21)),  # smaller than the logits
    ((9, 11), (9, 11)),
    ((9, 11), (9, 40)),
    ((1, 1), (5, 8)),
    ((5, 1), (3, 50)),
    ((6, 7), (1, 1)),
]


def noisy(num_classes: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_classes, *size)).astype(np.float32)


def smooth(num_classes: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    seeds = torch.from_numpy(noisy(num_classes, (3, 4), seed))[None] * 3
    return F.interpolate(seeds, size=size, mode="bicubic")[0].numpy()


def torch_resize(logits: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    images = torch.from_numpy(np.ascontiguousarray(logits))[None]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=align_corners)[0].numpy()


def assert_same_decision(mask: np.ndarray, scores: np.ndarray) -> None:
    """At most one pixel in ten thousand differs, and only where two classes tie but for rounding."""
    expected = scores.argmax(0)
    wrong = mask != expected
    assert mask.shape == expected.shape
    assert wrong.mean() <= 1e-4
    rows, columns = np.nonzero(wrong)
    gap = scores[expected[wrong], rows, columns] - scores[mask[wrong], rows, columns]
    assert (gap < 1e-4).all()


@pytest.mark.parametrize("kind", [noisy, smooth])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), SIZES)
def test_mask_equals_argmax_of_torchs_resize(kind, coarse, fine, align_corners) -> None:  # type: ignore[no-untyped-def]
    logits = kind(19, coarse)
    mask = resize_argmax(logits, fine, align_corners=align_corners).mask
    assert mask.dtype == np.uint8
    assert_same_decision(mask, torch_resize(logits, fine, align_corners))


@pytest.mark.parametrize("align_corners", [False, True])
def test_large_mask_of_several_strips_equals_torch(align_corners: bool) -> None:
    logits = smooth(19, (65, 97)) + 0.05 * noisy(19, (65, 97))
    mask = resize_argmax(logits, (511, 769), align_corners=align_corners).mask
    assert_same_decision(mask, torch_resize(logits, (511, 769), align_corners))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), SIZES)
def test_resize_equals_torch(coarse: tuple[int, int], fine: tuple[int, int], align_corners: bool) -> None:
    logits = noisy(3, coarse)
    resized = resize(logits, fine, align_corners=align_corners)
    assert np.abs(resized - torch_resize(logits, fine, align_corners)).max() < 1e-5


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("coarse", "fine"), SIZES)
def test_confidence_is_the_largest_softmax(coarse: tuple[int, int], fine: tuple[int, int], align_corners: bool) -> None:
    logits = 5 * noisy(6, coarse)
    mask, confidence = resize_argmax(logits, fine, align_corners=align_corners, with_confidence=True)
    expected = torch.from_numpy(torch_resize(logits, fine, align_corners)).softmax(0).amax(0).numpy()
    assert confidence is not None
    assert confidence.dtype == np.float32
    assert np.abs(confidence - expected).max() < 1e-5
    assert np.array_equal(mask, resize_argmax(logits, fine, align_corners=align_corners).mask)


def test_mean_of_probabilities_equals_torch() -> None:
    maps = [noisy(5, (8, 10), 0), 3 * noisy(5, (6, 7), 1), noisy(5, (16, 21), 2)]
    mask, confidence = mean_argmax(maps, (61, 80), with_confidence=True)
    resized = [torch.from_numpy(torch_resize(logits, (61, 80), False)).softmax(0) for logits in maps]
    probabilities = torch.stack(resized).mean(0).numpy()
    assert_same_decision(mask, probabilities)
    assert confidence is not None
    assert np.abs(confidence - probabilities.max(0)).max() < 1e-6


def test_inputs_stay_as_they_were() -> None:
    logits = noisy(4, (6, 7))
    before = logits.copy()
    resize_argmax(logits, (12, 14))
    resize_argmax(logits, (6, 7), with_confidence=True)
    mean_argmax([logits, logits], (6, 7), with_confidence=True)
    resize(logits, (6, 20))
    assert np.array_equal(logits, before)


def test_mirrored_views_are_taken() -> None:
    logits = noisy(4, (6, 7))
    assert np.array_equal(
        resize_argmax(logits[..., ::-1], (12, 14)).mask, resize_argmax(logits, (12, 14)).mask[:, ::-1]
    )


def test_tie_goes_to_the_first_class() -> None:
    assert (resize_argmax(np.zeros((3, 4, 4), np.float32), (8, 8)).mask == 0).all()


def test_one_class_is_class_0_with_certainty() -> None:
    mask, confidence = resize_argmax(noisy(1, (4, 4)), (9, 9), with_confidence=True)
    assert (mask == 0).all()
    assert confidence is not None
    assert (confidence == 1).all()


def test_above_256_classes_the_mask_is_uint16() -> None:
    logits = np.zeros((300, 2, 2), np.float32)
    logits[299] = 1
    mask = resize_argmax(logits, (4, 4)).mask
    assert mask.dtype == np.uint16
    assert (mask == 299).all()


def test_scores_of_all_pixels_are_never_held() -> None:
    logits, size = noisy(19, (64, 128)), (512, 1024)
    tracemalloc.start()
    resize_argmax(logits, size, with_confidence=True)
    mean_argmax([logits, logits], size)
    resize_argmax(logits, size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 19 * 512 * 1024 * 4


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (4, 4), (3, 0, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="logits must be"):
        resize_argmax(np.zeros(shape, np.float32), (8, 8))
