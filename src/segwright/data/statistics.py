"""Mean and standard deviation of many pictures, per channel; the same whatever the order they are read in."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.info import UNITS
from segwright.runtime.bands import BandArray, read_picture
from segwright.runtime.stored import BandType, stored_as

_STRIP_VALUES = 1 << 20  # of a band, that are held in float64 at once


class Kind(NamedTuple):
    """Pictures that can be measured together: channels of one number and type."""

    bands: int
    dtype: BandType


@dataclass(frozen=True)
class PictureStatistics:
    """What is known of the pictures of one kind.

    Args:
        kind: their channels.
        images: number of pictures.
        pixels: of all of them; each counts the same, whatever the size of its picture.
        mean, std: per channel, of values divided by the type's unit (``segwright.info.UNITS``); the standard deviation
            is that of all pixels together.
        low, high: per channel, the smallest and the largest stored value.
    """

    kind: Kind
    images: int
    pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class BandMoments(NamedTuple):
    """Sum of a band's stored values, sum of their squares, the smallest and the largest.

    Of whole numbers the sums are exact. Of floating-point numbers they are fractions of two's powers, in which
    deviations within a strip of the picture were summed in float64.
    """

    total: int | Fraction
    squares: int | Fraction
    low: float
    high: float


class Moments(NamedTuple):
    """What the pixels of one picture hold."""

    kind: Kind
    pixels: int
    bands: tuple[BandMoments, ...]


class PictureSums:
    """Moments of pictures of one kind, added without rounding: the order cannot matter.

    Args:
        kind: of the pictures.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.images = self.pixels = 0
        self._bands = [_NOTHING] * kind.bands

    def add(self, moments: Moments) -> None:
        """Count one more picture."""
        self.images += 1
        self.pixels += moments.pixels
        self._bands = list(map(_join, self._bands, moments.bands))

    def statistics(self) -> PictureStatistics:
        """What the pictures so far have in all."""
        unit = Fraction(UNITS[self.kind.dtype])
        means = [Fraction(band.total) / self.pixels for band in self._bands]
        variances = [Fraction(b.squares) / self.pixels - m * m for b, m in zip(self._bands, means, strict=True)]
        return PictureStatistics(
            kind=self.kind,
            images=self.images,
            pixels=self.pixels,
            mean=tuple(float(mean / unit) for mean in means),
            # Deviations of floating-point numbers are rounded: those of a constant may come out just below 0.
            std=tuple(math.sqrt(max(0.0, float(variance / unit**2))) for variance in variances),
            low=tuple(band.low for band in self._bands),
            high=tuple(band.high for band in self._bands),
        )


_NOTHING = BandMoments(0, 0, math.inf, -math.inf)


def statistics_of(sums: Iterable[PictureSums]) -> list[PictureStatistics]:
    """The statistics of each kind, the most frequent one first."""
    return [part.statistics() for part in sorted(sums, key=lambda part: (-part.images, part.kind))]


def read_stored(path: Path) -> BandArray:
    """A picture as training reads it: 8-bit RGB where that loses nothing, else its bands as they are stored.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: it needs rasterio, which is not installed.
    """
    stored = stored_as(path)
    return read_picture(path, None if stored.fits_rgb else stored.bands)


def picture_moments(pixels: BandArray) -> Moments:
    """The moments of one picture (H, W, bands)."""
    dtype: BandType = pixels.dtype.name  # type: ignore[assignment]  # BandArray has no other
    measure = {"uint8": _of_bytes, "uint16": _of_words, "float32": _of_floats}[dtype]
    return Moments(Kind(pixels.shape[2], dtype), pixels.shape[0] * pixels.shape[1], tuple(measure(pixels)))


def _of_bytes(pixels: NDArray[Any]) -> Iterator[BandMoments]:
    """Through the counts of the 256 values, which Pillow makes faster than NumPy adds."""
    parts = [pixels] if pixels.shape[2] == 3 else [np.ascontiguousarray(band) for band in np.moveaxis(pixels, 2, 0)]
    counts = [Image.fromarray(part).histogram() for part in parts]
    values = np.arange(256)
    for histogram in np.array(counts, np.int64).reshape(-1, 256):
        present = np.flatnonzero(histogram)
        yield BandMoments(int(histogram @ values), int(histogram @ values**2), float(present[0]), float(present[-1]))


def _of_words(pixels: NDArray[Any]) -> Iterator[BandMoments]:
    for band in np.moveaxis(pixels, 2, 0):
        squares = np.square(band, dtype=np.uint32)
        total, squared = int(band.sum(dtype=np.uint64)), int(squares.sum(dtype=np.uint64))
        yield BandMoments(total, squared, float(band.min()), float(band.max()))


def _of_floats(pixels: NDArray[Any]) -> Iterator[BandMoments]:
    """Strip by strip about the strip's mean: squares of values far from zero would hide their deviations."""
    rows = max(1, _STRIP_VALUES // pixels.shape[1])
    for band in np.moveaxis(pixels, 2, 0):
        moments = _NOTHING
        for start in range(0, len(band), rows):
            values = band[start : start + rows].astype(np.float64)
            low, high, middle = float(values.min()), float(values.max()), float(values.mean())
            values -= middle
            centre, apart = Fraction(middle), Fraction(float(values.sum()))
            total = values.size * centre + apart
            squares = Fraction(float(np.square(values).sum())) + 2 * centre * apart + values.size * centre**2
            moments = _join(moments, BandMoments(total, squares, low, high))
        yield moments


def _join(one: BandMoments, other: BandMoments) -> BandMoments:
    return BandMoments(
        one.total + other.total,
        one.squares + other.squares,
        min(one.low, other.low),
        max(one.high, other.high),
    )
