"""Windows blended strip by strip against the same sums over the whole picture at once."""

import tracemalloc

import numpy as np
import pytest

from segwright.runtime import blend
from segwright.runtime.blend import Blended, blended_argmax
from segwright.runtime.decide import mean_argmax, resize
from segwright.runtime.tiles import Box, window_boxes, window_starts, window_weights

CLASSES = 3


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class Net:
    """Gives different scores for the same place in different windows, at a stride."""

    def __init__(self, stride: int) -> None:
        self.stride, self.seen = stride, []

    def __call__(self, box: Box) -> np.ndarray:
        self.seen.append(box)
        shape = (CLASSES, -(-box.height // self.stride), -(-box.width // self.stride))
        return np.random.default_rng(box.top * 1000 + box.left).standard_normal(shape).astype(np.float32)


def whole(net: Net, size: tuple[int, int], window: tuple[int, int], *, align_corners: bool) -> np.ndarray:
    """(C, H, W): every window at full size, times its weights, added up."""
    height, width = min(window[0], size[0]), min(window[1], size[1])
    rows, columns = window_weights(size[0], height), window_weights(size[1], width)
    tops, lefts = window_starts(size[0], height), window_starts(size[1], width)
    scores = np.zeros((CLASSES, *size), np.float64)
    for box in window_boxes(size, window):
        weights = rows[tops.index(box.top)][:, None] * columns[lefts.index(box.left)]
        logits = resize(net(box), (box.height, box.width), align_corners=align_corners)
        scores[:, *box.place] += logits * weights[box.place]
    return scores


CASES = [((40, 50), (16, 16)), ((40, 50), (16, 100)), ((100, 33), (64, 12)), ((7, 9), (3, 2)), ((5, 1), (1, 1))]


@pytest.mark.parametrize(("size", "window"), CASES)
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_rows_are_those_of_the_full_size_sum(
    size: tuple[int, int], window: tuple[int, int], stride: int, align_corners: bool, step: int
) -> None:
    blended = Blended(size, window, Net(stride), align_corners=align_corners)
    strips = [blended.rows(start, min(start + step, size[0])) for start in range(0, size[0], step)]
    expected = whole(Net(stride), size, window, align_corners=align_corners)
    assert np.abs(np.concatenate(strips, axis=1) - expected).max() < 1e-5


@pytest.mark.parametrize("strip_values", [1, 1000, 1 << 20])
def test_mask_and_confidence_do_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch, strip_values: int) -> None:
    monkeypatch.setattr(blend, "_STRIP_VALUES", strip_values)
    size, window = (40, 50), (16, 16)
    decision = blended_argmax([Blended(size, window, Net(4))], size, CLASSES, with_confidence=True)
    scores = whole(Net(4), size, window, align_corners=False)
    assert np.array_equal(decision.mask, scores.argmax(0))
    powers = np.exp(scores)
    assert decision.confidence is not None
    assert np.abs(decision.confidence - powers.max(0) / powers.sum(0)).max() < 1e-5


def test_views_of_other_sizes_are_averaged_as_whole_maps_are() -> None:
    size, window = (40, 50), (16, 16)
    sizes = [(30, 38), (40, 50), (60, 75)]
    maps = [whole(Net(4), view, window, align_corners=False).astype(np.float32) for view in sizes]
    coarse = noise(CLASSES, 5, 7)
    views = [Blended(view, window, Net(4)) for view in sizes]
    decision = blended_argmax([*views, coarse], size, CLASSES, with_confidence=True)
    expected = mean_argmax([*maps, coarse], size, with_confidence=True)
    assert np.mean(decision.mask != expected.mask) < 1e-3
    assert np.abs(decision.confidence - expected.confidence).max() < 1e-5


def test_every_window_is_predicted_once_and_in_order() -> None:
    net, size, window = Net(4), (70, 50), (16, 16)
    blended_argmax([Blended(size, window, net)], size, CLASSES)
    assert net.seen == window_boxes(size, window)


def test_window_is_forgotten_when_the_rows_are_past_it() -> None:
    blended = Blended((200, 20), (20, 20), Net(4))
    for row in range(200):
        blended.rows(row, row + 1)
        assert len(blended.kept) <= 2


def test_more_than_256_classes_give_16_bits() -> None:
    size = (8, 9)
    blended = Blended(size, (4, 4), lambda box: noise(300, box.height, box.width))
    assert blended_argmax([blended], size, 300).mask.dtype == np.uint16


def local(image: np.ndarray, reach: int) -> np.ndarray:
    """(3, H, W) -> (C, H, W): each pixel sees ``reach`` pixels in every direction, and zeros beyond the border."""
    kernel = noise(CLASSES, 3, 2 * reach + 1, 2 * reach + 1)
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    return np.einsum("chwij,kcij->khw", views, kernel).astype(np.float32)


@pytest.mark.parametrize("window", [(36, 36), (36, 1000), (48, 40)])
def test_a_network_that_sees_less_than_a_twelfth_of_a_window_gives_the_whole_pictures_mask(
    window: tuple[int, int],
) -> None:
    image, size = noise(3, 90, 110), (90, 110)
    expected = local(image, 3)
    blended = Blended(size, window, lambda box: local(image[:, *box.place], 3))
    scores = blended.rows(0, size[0])
    assert np.abs(scores - expected).max() < 1e-5
    mask = blended_argmax([Blended(size, window, blended.logits_of)], size, CLASSES).mask
    assert np.array_equal(mask, expected.argmax(0))


def test_plain_averaging_would_show_the_windows_borders() -> None:
    image, size, window = noise(3, 90, 110), (90, 110), (36, 36)
    sums, visits = np.zeros((CLASSES, *size)), np.zeros(size)
    for box in window_boxes(size, window):
        sums[:, *box.place] += local(image[:, *box.place], 3)
        visits[box.place] += 1
    assert np.abs(sums / visits - local(image, 3)).max() > 1


def test_memory_stays_far_below_the_scores_of_every_pixel() -> None:
    classes, size = 40, (512, 512)
    blended = Blended(size, (96, 96), lambda box: noise(classes, box.height // 8, box.width // 8))
    tracemalloc.start()
    blended_argmax([blended], size, classes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.4 * classes * size[0] * size[1] * 4


@pytest.mark.parametrize("columns", [(0, 50), (0, 17), (17, 18), (30, 50)])
def test_columns_of_a_mask_are_those_of_the_whole(columns: tuple[int, int]) -> None:
    size, half = (40, 50), (20, 25)
    views = [Blended(size, (16, 16), Net(4)), Blended(half, (16, 12), Net(2)), noise(CLASSES, 5, 7)]
    whole = blended_argmax(views, size, CLASSES, with_confidence=True)
    strips = list(blend.blended_strips(views, size, CLASSES, columns, with_confidence=True))
    assert [rows.start for rows, _ in strips[1:]] == [rows.stop for rows, _ in strips[:-1]]
    assert np.array_equal(np.concatenate([part.mask for _, part in strips]), whole.mask[:, slice(*columns)])
    assert whole.confidence is not None
    confidence = np.concatenate([part.confidence for _, part in strips])
    assert np.abs(confidence - whole.confidence[:, slice(*columns)]).max() < 1e-6


def test_windows_beside_the_wanted_columns_are_not_predicted() -> None:
    net = Net(4)
    view = Blended((16, 64), (16, 16), net).part((20, 30))
    view.rows(0, 16)
    assert view.windows == len(net.seen) < len(window_boxes((16, 64), (16, 16)))
    assert all(box.left < 30 and box.left + 16 > 20 for box in net.seen)
