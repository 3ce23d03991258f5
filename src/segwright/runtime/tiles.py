"""Where the windows of a sliding-window prediction lie."""

from typing import NamedTuple


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
    """Windows of one size that cover a picture, two thirds of a window apart, the last ones moved back inside.

    Args:
        size: (height, width) of the picture.
        window: (height, width); clipped to the picture.
    """
    height, width = (min(side, limit) for side, limit in zip(window, size, strict=True))
    tops, lefts = _starts(size[0], height), _starts(size[1], width)
    return [Box(top, left, height, width) for top in tops for left in lefts]


def _starts(side: int, window: int) -> list[int]:
    stride = max(1, round(window * 2 / 3))
    return [*range(0, side - window, stride), side - window]
