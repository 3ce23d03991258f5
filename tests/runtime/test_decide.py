"""The fused resize and argmax against torch's two steps, in NumPy and in compiled loops."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from segwright.errors import ShapeError
from segwright.runtime import mean_argmax, resize_argmax
from tests.support.loops import TOOLS, loop_with

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


@pytest.fixture(autouse=True, params=TOOLS)
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_with(request.param, monkeypatch, "mask", "wide_mask", "confidence", "probabilities")


def noisy(num_classes: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_classes, *size)).astype(np.float32)


def smooth(num_classes: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    seeds = torch.from_numpy(noisy(num_classes, (3, 4), seed))[None] * 3
    return F.interpolate(seeds, size=size, mode="bicubic")[0].numpy()


def torch_resize(logits: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    images = torch.from_numpy(np.array(logits))[None]
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
    assert np.array_equal(logits, before)


def laid_out(logits: np.ndarray, layout: str) -> np.ndarray:
    """The same scores, otherwise in memory."""
    if layout == "channels last":
        return np.ascontiguousarray(logits.transpose(1, 2, 0)).transpose(2, 0, 1)
    if layout == "mirrored":
        return np.ascontiguousarray(logits[..., ::-1])[..., ::-1]
    if layout == "read-only":
        logits.flags.writeable = False
    return logits


MAPS = st.fixed_dictionaries(
    {
        "num_classes": st.sampled_from([1, 2, 3, 6, 19, 258]),
        "coarse": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "fine": st.tuples(st.integers(1, 75), st.integers(1, 75)),
        "align_corners": st.booleans(),
        "layout": st.sampled_from(["channels first", "channels last", "mirrored", "read-only"]),
        "step": st.sampled_from([0, 1, 0.25]),  # scores in steps tie
        "seed": st.integers(0, 9),
    }
)


def drawn(case: dict[str, Any]) -> np.ndarray:
    logits = 3 * noisy(case["num_classes"], case["coarse"], case["seed"])
    return laid_out(
        np.round(logits / case["step"]) * np.float32(case["step"]) if case["step"] else logits, case["layout"]
    )


@given(MAPS)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_at_any_size_and_layout_the_chosen_class_has_torchs_largest_score(case: dict[str, Any]) -> None:
    logits = drawn(case)
    mask = resize_argmax(logits, case["fine"], align_corners=case["align_corners"]).mask
    scores = torch_resize(logits, case["fine"], case["align_corners"])
    chosen = np.take_along_axis(scores, mask[None].astype(np.intp), axis=0)[0]
    assert mask.shape == case["fine"]
    assert (scores.max(0) - chosen <= 2e-6 * np.abs(scores).max()).all()


@given(MAPS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_at_any_size_and_layout_the_confidence_is_torchs(case: dict[str, Any]) -> None:
    logits = drawn(case)
    confidence = resize_argmax(
        logits, case["fine"], align_corners=case["align_corners"], with_confidence=True
    ).confidence
    scores = torch.from_numpy(torch_resize(logits, case["fine"], case["align_corners"]))
    assert confidence is not None
    assert np.abs(confidence - scores.softmax(0).amax(0).numpy()).max() < 2e-6


@given(MAPS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_numpy_and_compiled_loops_give_the_same_mask_to_the_bit(case: dict[str, Any]) -> None:
    logits, masks = drawn(case), []
    for tool in TOOLS:
        with pytest.MonkeyPatch.context() as patch:
            loop_with(tool, patch, "mask", "wide_mask")
            masks.append(resize_argmax(logits, case["fine"], align_corners=case["align_corners"]).mask)
    assert np.array_equal(*masks)


@pytest.mark.parametrize("layout", ["channels last", "mirrored", "read-only"])
def test_mean_takes_any_layout(layout: str) -> None:
    maps = [noisy(5, (8, 10), 0), noisy(5, (6, 7), 1)]
    mask = mean_argmax([laid_out(logits, layout) for logits in maps], (31, 40)).mask
    assert np.array_equal(mask, mean_argmax(maps, (31, 40)).mask)


def test_scores_of_other_precision_are_taken_as_float32() -> None:
    logits = noisy(4, (6, 7))
    assert np.array_equal(resize_argmax(logits.astype(np.float64), (20, 30)).mask, resize_argmax(logits, (20, 30)).mask)


def test_scores_far_apart_give_a_confidence_of_one() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1] = 500
    confidence = resize_argmax(logits, (4, 4), with_confidence=True).confidence
    assert confidence is not None
    assert (confidence == 1).all()


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
