"""Where shapes are drawn: the picture and its labels at once, by the same geometry.

Both are kept at three times the size. The picture is the mean of each block of 3x3 (antialiased); the mask is the
block's middle, which is the label at the pixel's centre, so it stays hard-edged and exactly under the picture.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import hypot

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segwright.data.synthetic.classes import IGNORE_INDEX, SKY

RGB = tuple[float, float, float]
Point = tuple[float, float]

SUPERSAMPLE = 3
"""Odd, so that one sample lies on the pixel's centre."""

_GLOW = 64  # flag in the label layer: this shape shines
_UNLABELLED = 63  # stands for IGNORE_INDEX below the flag


class Canvas:
    """A picture of ``height`` x ``width`` pixels under construction; all coordinates are pixels from the upper left."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        size = (width * SUPERSAMPLE, height * SUPERSAMPLE)
        self._labels = Image.new("L", size, SKY)
        self._marks = ImageDraw.Draw(self._labels)
        self._use(Image.new("RGB", size))

    def _use(self, picture: Image.Image) -> None:
        self._picture = picture
        self._solid = ImageDraw.Draw(picture)
        self._blend = ImageDraw.Draw(picture, "RGBA")

    def polygon(self, points: Sequence[Point], colour: RGB, label: int, *, glow: bool = False) -> None:
        """Fill a polygon in the picture and in the mask; ``glow`` marks it as a source of light."""
        scaled = [(SUPERSAMPLE * u, SUPERSAMPLE * v) for u, v in points]
        self._solid.polygon(scaled, fill=_as_bytes(colour))
        self._marks.polygon(scaled, fill=_as_mark(label, glow))

    def ellipse(self, u: float, v: float, radii: Point, colour: RGB, label: int, *, glow: bool = False) -> None:
        """Fill an upright ellipse around (u, v) in the picture and in the mask."""
        box = [SUPERSAMPLE * side for side in (u - radii[0], v - radii[1], u + radii[0], v + radii[1])]
        self._solid.ellipse(box, fill=_as_bytes(colour))
        self._marks.ellipse(box, fill=_as_mark(label, glow))

    def stroke(
        self, start: Point, end: Point, widths: Point, colour: RGB, label: int, *, round_ends: bool = False
    ) -> None:
        """A line that is ``widths[0]`` wide at its start and ``widths[1]`` at its end."""
        (u0, v0), (u1, v1) = start, end
        length = hypot(u1 - u0, v1 - v0) or 1.0
        nu, nv = (v0 - v1) / length / 2, (u1 - u0) / length / 2
        a, b = widths
        quad = [
            (u0 + a * nu, v0 + a * nv),
            (u1 + b * nu, v1 + b * nv),
            (u1 - b * nu, v1 - b * nv),
            (u0 - a * nu, v0 - a * nv),
        ]
        self.polygon(quad, colour, label)
        if round_ends:
            self.ellipse(u0, v0, (a / 2, a / 2), colour, label)
            self.ellipse(u1, v1, (b / 2, b / 2), colour, label)

    def veil(self, points: Sequence[Point], colour: RGB, alpha: float) -> None:
        """Tint part of a shape that is drawn already; the mask stays."""
        scaled = [(SUPERSAMPLE * u, SUPERSAMPLE * v) for u, v in points]
        self._blend.polygon(scaled, fill=(*_as_bytes(colour), round(255 * alpha)))

    def picture(self) -> NDArray[np.float32]:
        """(H, W, 3) float32 in 0..255, antialiased."""
        return np.asarray(self._picture.reduce(SUPERSAMPLE), dtype=np.float32)

    def replace_picture(self, pixels: NDArray[np.float32]) -> None:
        """Go on from these (H, W, 3) pixels: where nothing more is drawn they come out unchanged."""
        image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
        self._use(image.resize(self._picture.size, Image.Resampling.NEAREST))

    def mask(self) -> NDArray[np.uint8]:
        """(H, W) uint8: the label at each pixel's centre."""
        labels = self._centres() & np.uint8(_GLOW - 1)
        labels[labels == _UNLABELLED] = IGNORE_INDEX
        return labels

    def glowing(self) -> NDArray[np.bool_]:
        """(H, W): True where the pixel's centre shines."""
        return self._centres() >= _GLOW

    def _centres(self) -> NDArray[np.uint8]:
        middle = SUPERSAMPLE // 2
        return np.array(self._labels)[middle::SUPERSAMPLE, middle::SUPERSAMPLE].copy()


def _as_mark(label: int, glow: bool) -> int:
    label = _UNLABELLED if label == IGNORE_INDEX else label
    return label | _GLOW if glow else label


@lru_cache(maxsize=4096)
def _as_bytes(colour: RGB) -> tuple[int, int, int]:
    r, g, b = colour
    return min(255, max(0, round(r))), min(255, max(0, round(g))), min(255, max(0, round(b)))
