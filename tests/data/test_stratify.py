import numpy as np
import pytest
from numpy.typing import NDArray

from segwright.data.stratify import stratify

IntArray = NDArray[np.int64]
SHARES = (0.8, 0.1, 0.1)


def draw(units: int, num_classes: int, seed: int = 0) -> tuple[IntArray, IntArray, IntArray]:
    """Units whose last class is in four of them, with pixels of very different number."""
    rng = np.random.default_rng(seed)
    has = rng.random((units, num_classes)) < np.linspace(0.9, 0.1, num_classes)
    has[:, -1] = np.arange(units) % (units // 4) == 1
    pixels = (has * rng.lognormal(8, 1, (units, num_classes))).astype(np.int64)
    return np.ones(units, np.int64), (pixels > 0).astype(np.int64), pixels


def shares_of(pixels: IntArray, split: IntArray, count: int = 3) -> NDArray[np.float64]:
    return np.array([pixels[split == k].sum(axis=0) for k in range(count)]) / pixels.sum(axis=0)


def test_each_split_has_its_share_of_pictures_and_of_each_class() -> None:
    images, masks, pixels = draw(200, 6)
    split = stratify(images, masks, pixels, SHARES)
    assert np.abs(np.bincount(split) / 200 - SHARES).max() <= 0.02
    far = np.abs(shares_of(pixels, split) - np.array(SHARES)[:, None])[:, :-1]
    by_chance = np.abs(shares_of(pixels, np.random.default_rng(0).choice(3, 200, p=SHARES)) - np.array(SHARES)[:, None])
    assert far.max() < 0.01
    assert by_chance[:, :-1].max() > 0.05


def test_a_class_in_as_many_units_as_splits_is_in_all_of_them() -> None:
    for seed in range(10):
        images, masks, pixels = draw(40, 5, seed)
        split = stratify(images, masks, pixels, SHARES)
        assert all((masks[split == k] > 0).any(axis=0).all() for k in range(3)), seed


def test_no_split_is_empty_even_where_units_have_no_class() -> None:
    none = np.zeros((3, 2), np.int64)
    assert sorted(stratify(np.ones(3, np.int64), none, none, SHARES).tolist()) == [0, 1, 2]


def test_large_units_count_as_many_pictures() -> None:
    images = np.array([50, 10, 10, 10, 10, 10], np.int64)
    split = stratify(images, images[:, None], 100 * images[:, None], (0.5, 0.5))
    assert np.bincount(split, images).tolist() == [50, 50]


@pytest.mark.parametrize("partners", [100_000_000, 5_000, 0])
def test_fewer_exchanges_keep_the_shares_near(monkeypatch: pytest.MonkeyPatch, partners: int) -> None:
    monkeypatch.setattr("segwright.data.stratify._MOST_TO_EXCHANGE", partners)
    images, masks, pixels = draw(100, 4)
    split = stratify(images, masks, pixels, (0.7, 0.3))
    assert np.abs(shares_of(pixels, split, 2) - np.array([[0.7], [0.3]]))[:, :-1].max() < 0.05


def test_the_same_units_are_shared_out_in_the_same_way() -> None:
    images, masks, pixels = draw(60, 4)
    first, again = stratify(images, masks, pixels, SHARES), stratify(images, masks, pixels, SHARES)
    assert first.tolist() == again.tolist()
