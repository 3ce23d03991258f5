"""Random textures that repeat without a seam."""

import numpy as np
from numpy.typing import NDArray

TILE = 256
"""Side of a noise tile, in samples; a power of two."""


def cloudy_noise(rng: np.random.Generator, roughness: float = 1.7) -> NDArray[np.float32]:
    """(TILE, TILE) float32, mean 0 and deviation 1: white noise, amplitudes falling as 1 / frequency**roughness."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency**roughness, (TILE, TILE)).astype(np.float32)
    noise /= noise.std()
    return noise


def sample(tile: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tile at real positions (in samples), between four neighbours; it repeats in both directions."""
    left, top = np.floor(x), np.floor(y)
    right_share, bottom_share = x - left, y - top
    x0, y0 = left.astype(np.int32) & (TILE - 1), top.astype(np.int32) & (TILE - 1)
    x1, y0, y1 = (x0 + 1) & (TILE - 1), y0 * TILE, ((y0 + 1) & (TILE - 1)) * TILE
    flat = tile.ravel()
    upper, lower = flat.take(y0 + x0), flat.take(y1 + x0)
    upper += (flat.take(y0 + x1) - upper) * right_share
    lower += (flat.take(y1 + x1) - lower) * right_share
    mixed: NDArray[np.float32] = upper + (lower - upper) * bottom_share
    return mixed


def smoothstep(low: float, high: float, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 below ``low``, 1 above ``high``, and a smooth rise between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    rise: NDArray[np.float32] = share * share * (3 - 2 * share)
    return rise
