import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segwright.analysis.label_codes import LabelCodes
from segwright.analysis.upsamplers import Averager, Coder

VOID = 255


def random_map(seed: int, size: tuple[int, int], *, classes: int = 4, void: bool = True) -> NDArray[np.uint8]:
    """Boxes of the classes over each other, some of them void."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    values = [*range(classes), *([VOID] if void else [])]
    for _ in range(12):
        top, left = (rng.integers(0, side) for side in size)
        height, width = (rng.integers(1, max(2, side // 2)) for side in size)
        mask[top : top + height, left : left + width] = rng.choice(values)
    return mask


def overlaps(side: int, cells: int) -> NDArray[np.float64]:
    """(cells, side) how much of each pixel lies in each of the equal cells."""
    ends = np.linspace(0, side, cells + 1)
    low, high = np.arange(side), np.arange(1, side + 1)
    return np.clip(np.minimum(high, ends[1:, None]) - np.maximum(low, ends[:-1, None]), 0, None)


def slow_scores(mask: NDArray[np.uint8], stride: int, classes: int) -> NDArray[np.float64]:
    """(C, H, W) averaged over valid pixels and resized by torch."""
    rows, columns = (overlaps(side, -(-side // stride)) for side in mask.shape)
    areas = np.stack([rows @ (mask == index) @ columns.T for index in range(classes)])
    shares = torch.from_numpy(areas / np.maximum(areas.sum(0), 1e-12))
    return torch.nn.functional.interpolate(shares[None], mask.shape, mode="bilinear", align_corners=False)[0].numpy()


def identity(classes: int, ratio: int) -> LabelCodes:
    values = classes * ratio**2
    names = tuple(f"class {index}" for index in range(classes))
    return LabelCodes(torch.eye(values), torch.eye(values), ratio, names, "exact", 0, 1.0, 1, torch.ones(values))


def random_codes(classes: int, ratio: int, length: int) -> LabelCodes:
    values = classes * ratio**2
    basis = torch.linalg.qr(torch.randn(values, length, generator=torch.Generator().manual_seed(0)))[0]
    names = tuple(f"class {index}" for index in range(classes))
    return LabelCodes(basis.T.contiguous(), basis, ratio, names, "exact", 0, 1.0, 1, torch.ones(length))


def test_nearest_gives_each_window_its_most_frequent_class() -> None:
    mask = np.array([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2], [2, 2, 0, 0, 1]], np.uint8)
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [2, 2, 0, 0, 1]]
    assert Averager(mask, 3).nearest(2).tolist() == expected


def test_void_does_not_vote() -> None:
    mask = np.array([[VOID, VOID], [VOID, 1]], np.uint8)
    assert Averager(mask, 2).nearest(2).tolist() == [[1, 1], [1, 1]]
    assert Averager(mask, 2).bilinear(2).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (7, 90), (45, 5), (1, 1)])
@pytest.mark.parametrize("stride", [2, 4, 8, 64])
def test_bilinear_is_area_average_and_resize(size: tuple[int, int], stride: int) -> None:
    for seed in range(4):
        mask = random_map(seed, size)
        prediction, scores = Averager(mask, 4).bilinear(stride), slow_scores(mask, stride, 4)
        assert prediction.shape == mask.shape
        of_prediction = np.take_along_axis(scores, prediction[None].astype(int), 0)[0]
        is_valid = mask != VOID
        assert (of_prediction >= scores.max(0) - 1e-5)[is_valid].all()  # the largest, or as good as equal to it


def test_a_void_cell_leaves_its_neighbours_alone() -> None:
    mask = np.full((8, 16), 3, np.uint8)
    mask[:, 8:] = VOID
    assert (Averager(mask, 5).bilinear(8)[:, :8] == 3).all()


def test_a_mask_of_void_only_has_predictions_of_its_size() -> None:
    averager = Averager(np.full((5, 7), VOID, np.uint8), 3)
    assert averager.nearest(4).shape == averager.bilinear(4).shape == (5, 7)


def test_one_class_comes_back_whole() -> None:
    mask = np.full((13, 21), 2, np.uint8)
    averager = Averager(mask, 3)
    for stride in (2, 8, 32):
        assert (averager.nearest(stride) == mask).all()
        assert (averager.bilinear(stride) == mask).all()


def test_a_line_thinner_than_half_a_cell_is_lost_and_a_straight_border_is_not() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 10] = 1
    assert not Averager(mask, 2).bilinear(8).any()
    half = np.zeros((32, 32), np.uint8)
    half[:, 16:] = 1
    assert (Averager(half, 2).bilinear(8) == half).mean() > 0.95


def test_hundreds_of_classes_come_back_by_their_own_numbers() -> None:
    mask = np.full((8, 8), 298, np.uint16)
    mask[:, 4:] = 65535
    mask[4:] = 299
    assert Averager(mask, 300).nearest(4)[::4, 0].tolist() == [298, 299]
    assert Averager(mask, 300).bilinear(4)[[0, -1], 0].tolist() == [298, 299]


@pytest.mark.parametrize("size", [(16, 24), (13, 21), (3, 2)])
def test_as_many_codes_as_values_bring_labels_back_whole(size: tuple[int, int]) -> None:
    mask = random_map(1, size)
    (prediction,) = Coder(identity(4, 4), [64])(mask)
    assert (prediction == mask)[mask != VOID].all()


@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
def test_codes_are_those_of_the_layer(size: tuple[int, int]) -> None:
    mask, codes, lengths = random_map(2, size), random_codes(4, 4, 40), (8, 20, 40)
    masks = torch.from_numpy(mask.astype(np.int64))[None]
    for length, prediction in zip(lengths, Coder(codes, lengths)(mask), strict=True):
        shorter = codes.shortened(length)
        scores = shorter.decode(shorter.encode(masks, VOID), size)[0].numpy()
        of_prediction = np.take_along_axis(scores, prediction[None].astype(int), 0)[0]
        np.testing.assert_allclose(of_prediction, scores.max(0), atol=1e-5)


def test_patches_are_decoded_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, codes = random_map(3, (40, 40)), random_codes(4, 4, 20)
    whole = list(Coder(codes, (10, 20))(mask))
    monkeypatch.setattr("segwright.analysis.upsamplers._MOST_SCORES", 200)
    for prediction, expected in zip(Coder(codes, (10, 20))(mask), whole, strict=True):
        assert (prediction == expected).all()
