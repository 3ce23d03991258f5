"""Where the windows of a sliding-window prediction lie, and how much each of them counts where they overlap."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_GRID = 32
"""Windows start at multiples of it where they are large enough: networks of stride 32 or less then see a part of the
picture on the same grid as the whole picture, and give the same logits."""


class Box(NamedTuple):
    """A window in a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def window_boxes(size: tuple[int, int], window: tuple[int, int]) -> list[Box]:
    """Windows of one size that cover a picture, row by row.

    They lie two thirds of a window apart, windows of 192 pixels or more the multiple of 32 below that; the last ones
    are moved back inside.

    Args:
        size: (height, width) of the picture.
        window: (height, width); clipped to the picture.
    """
    height, width = (min(side, limit) for side, limit in zip(window, size, strict=True))
    tops, lefts = window_starts(size[0], height), window_starts(size[1], width)
    return [Box(top, left, height, width) for top in tops for left in lefts]


def window_starts(side: int, window: int) -> list[int]:
    """First pixels, along one side, of windows that fit into it."""
    stride = max(1, round(window * 2 / 3))
    if stride >= 4 * _GRID:  # else too much of the step would be lost
        stride = stride // _GRID * _GRID
    return [*range(0, side - window, stride), side - window]


def window_weights(side: int, window: int) -> NDArray[np.float32]:
    """How much each window counts at each pixel along one side; the weights of a pixel sum to 1.

    A network knows least at its borders. A window counts fully inside, nothing in its outer twelfth, and rises
    linearly over the sixth between, so that one window fades into the next within their overlap of a third. The
    picture's own border is no border: nobody knows better there.

    Args:
        side: of the picture, in pixels.
        window: likewise, at most ``side``.

    Returns:
        (windows, side) float32, 0..1.
    """
    starts = np.array(window_starts(side, window), np.float32)[:, None]
    centres = np.arange(side, dtype=np.float32) + np.float32(0.5)
    before = np.where(starts > 0, centres - starts, np.inf)
    behind = np.where(starts + window < side, starts + window - centres, np.inf)
    is_inside = (centres > starts) & (centres < starts + window)
    rising = np.clip((np.minimum(before, behind) - window / 12) / (window / 6), 0, 1)
    weights = np.where(is_inside, rising, 0)
    shares: NDArray[np.float32] = (weights / weights.sum(0)).astype(np.float32)
    return shares
