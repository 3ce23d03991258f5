"""Shadows on the ground: hard ones thrown by the sun and soft ones where things stand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segwright.data.synthetic.light import Light
from segwright.data.synthetic.stage import NEAR, Camera

GroundPoint = tuple[float, float]
"""(x, z) in metres."""


class Shadows:
    """Collects shadows, then darkens the ground once, so that two that overlap are no darker than one."""

    def __init__(self, height: int, width: int, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self._cast = Image.new("L", (width, height))
        self._contact = Image.new("L", (width, height))
        self._draw_cast, self._draw_contact = ImageDraw.Draw(self._cast), ImageDraw.Draw(self._contact)

    def box(self, x: tuple[float, float], z: tuple[float, float], height: float) -> None:
        """The sun's shadow of an upright box over the ground rectangle ``x`` by ``z``."""
        if not self.light.hour.shadow:
            return
        dx, dz = self.light.shadow_offset(height)
        foot = [(a, b) for a in x for b in z]
        self._fill(self._draw_cast, _hull([*foot, *((a + dx, b + dz) for a, b in foot)]))

    def crown(self, x: float, z: float, radius: float, heights: tuple[float, float]) -> None:
        """The sun's shadow of a round crown between two heights above (x, z), leaves at its rim."""
        if not self.light.hour.shadow:
            return
        steps = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        reach = radius * (1 + 0.16 * np.sin(5 * steps + x) + 0.10 * np.sin(11 * steps + z))
        rim = list(zip((reach * np.cos(steps)).tolist(), (reach * np.sin(steps)).tolist(), strict=True))
        for height in heights:
            dx, dz = self.light.shadow_offset(height)
            self._fill(self._draw_cast, [(x + dx + a, z + dz + b) for a, b in rim])

    def contact(self, x: tuple[float, float], z: tuple[float, float], strength: float) -> None:
        """The dark place under something that stands on the ground, ``strength`` in 0..1."""
        a, b = max(z[0], NEAR), max(z[1], NEAR)
        if b > a:
            corners = [(x[0], a), (x[1], a), (x[1], b), (x[0], b)]
            self._fill(self._draw_contact, corners, round(255 * strength))

    def darkening(self) -> NDArray[np.float32]:
        """(H, W) float32: the factor by which each ground pixel is darkened."""
        unit = self.camera.focal / 400
        cast = self._cast.filter(ImageFilter.GaussianBlur(0.9 * unit))
        contact = self._contact.filter(ImageFilter.GaussianBlur(2.2 * unit))
        sun = np.asarray(cast, np.float32) * (self.light.hour.shadow / 255)
        return (1 - sun) * (1 - np.asarray(contact, np.float32) * (0.75 / 255))

    def _fill(self, layer: ImageDraw.ImageDraw, outline: Sequence[GroundPoint], value: int = 255) -> None:
        points = [self.camera.project(x, 0.0, z) for x, z in _clip_near(outline)]
        if len(points) > 2:
            layer.polygon(points, fill=value)


def _clip_near(outline: Sequence[GroundPoint]) -> list[GroundPoint]:
    """The part of a polygon beyond NEAR (Sutherland-Hodgman, one edge)."""
    clipped: list[GroundPoint] = []
    for (x0, z0), (x1, z1) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if z0 >= NEAR:
            clipped.append((x0, z0))
        if (z0 >= NEAR) != (z1 >= NEAR):
            share = (NEAR - z0) / (z1 - z0)
            clipped.append((x0 + share * (x1 - x0), NEAR))
    return clipped


def _hull(points: Sequence[GroundPoint]) -> list[GroundPoint]:
    """Convex hull (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    chains: list[list[GroundPoint]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[GroundPoint] = []
        for point in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return chains[0] + chains[1]


def _turn(a: GroundPoint, b: GroundPoint, c: GroundPoint) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
