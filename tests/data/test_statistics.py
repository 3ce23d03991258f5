from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segwright.data.statistics import Kind, PictureStatistics, PictureSums, picture_moments, read_stored, statistics_of
from segwright.errors import DataError

RNG = np.random.default_rng(0)


def measured(*pictures: NDArray[np.uint8 | np.uint16 | np.float32]) -> PictureStatistics:
    sums = PictureSums(picture_moments(pictures[0]).kind)
    for picture in pictures:
        sums.add(picture_moments(picture))
    return sums.statistics()


def expected(*pictures: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = np.concatenate([picture.reshape(-1, picture.shape[2]).astype(np.float64) for picture in pictures])
    return pixels.mean(axis=0), pixels.std(axis=0)


@pytest.mark.parametrize(
    ("dtype", "unit", "bands"),
    [("uint8", 255, 3), ("uint8", 255, 5), ("uint16", 65535, 1), ("uint16", 65535, 4), ("float32", 1, 2)],
)
def test_mean_and_std_are_those_of_all_pixels_together(dtype: str, unit: int, bands: int) -> None:
    sizes = ((7, 9), (40, 3), (1, 1))
    pictures = [(RNG.random((*size, bands)) * unit).astype(dtype) for size in sizes]
    found = measured(*pictures)
    mean, std = expected(*pictures)
    np.testing.assert_allclose(found.mean, mean / unit, rtol=1e-12)
    np.testing.assert_allclose(found.std, std / unit, rtol=1e-9)
    assert (found.images, found.pixels, found.kind) == (3, 63 + 120 + 1, Kind(bands, dtype))  # type: ignore[arg-type]
    assert found.low == tuple(min(float(picture[..., band].min()) for picture in pictures) for band in range(bands))
    assert found.high == tuple(max(float(picture[..., band].max()) for picture in pictures) for band in range(bands))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_order_of_the_pictures_changes_no_bit(dtype: str) -> None:
    pictures = [(RNG.random((5, 6, 3)) * 250 * 1.7**k % 251).astype(dtype) for k in range(20)]
    assert measured(*pictures) == measured(*pictures[::-1])


def test_values_far_from_zero_keep_their_deviation() -> None:
    picture = (1e6 + RNG.normal(size=(60, 70, 1))).astype(np.float32)
    mean, std = expected(picture)
    found = measured(picture)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(found.std, std, rtol=1e-9)


def test_strips_of_a_large_picture_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = RNG.normal(5.0, 0.1, size=(50, 8, 2)).astype(np.float32)
    whole = measured(picture)
    monkeypatch.setattr("segwright.data.statistics._STRIP_VALUES", 24)
    np.testing.assert_allclose(measured(picture).std, whole.std, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 200), ("uint16", 65535), ("float32", 0.1)])
def test_a_constant_picture_has_no_deviation(dtype: str, value: float) -> None:
    found = measured(np.full((9, 11, 3), value, dtype))
    np.testing.assert_allclose(found.std, 0, atol=1e-12)


def test_large_sums_do_not_overflow() -> None:
    picture = np.full((300, 300, 1), 65535, np.uint16)
    sums = PictureSums(Kind(1, "uint16"))
    moments = picture_moments(picture)
    for _ in range(60_000):  # the sum of squares passes 2**64
        sums.add(moments)
    assert sums.statistics().mean == (1.0,)
    assert sums.statistics().std == (0.0,)


def test_kinds_stand_apart_the_most_frequent_first() -> None:
    rgb, deep = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 1), np.uint16)
    sums = {}
    for picture in (deep, rgb, rgb):
        moments = picture_moments(picture)
        sums.setdefault(moments.kind, PictureSums(moments.kind)).add(moments)
    assert [(part.kind.bands, part.images) for part in statistics_of(sums.values())] == [(3, 2), (1, 1)]


def test_files_are_read_as_training_reads_them(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((4, 5), 700, np.uint16)).save(tmp_path / "deep.png")
    assert read_stored(tmp_path / "grey.png").shape == (4, 5, 3)
    deep = read_stored(tmp_path / "deep.png")
    assert (deep.shape, deep.dtype, int(deep[0, 0, 0])) == ((4, 5, 1), np.uint16, 700)
    with pytest.raises(DataError, match=r"none\.png"):
        read_stored(tmp_path / "none.png")
