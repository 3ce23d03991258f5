"""Where the scene happens: the camera, the street's measures, and what every drawing function is handed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from segwright.data.synthetic.canvas import RGB, Canvas, Point
from segwright.data.synthetic.light import Light

Place = tuple[float, float, float]
"""x metres right of the road's centre line, y metres up, z metres away."""

NEAR = 1.6
"""Nothing nearer than this (metres) is drawn."""

FAR = 150.0
"""Where the street ends (metres)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks down a street which may bend.

    Args:
        focal: in pixels.
        centre: column of the vanishing point.
        horizon: row of the horizon; whole, so that sky and ground meet between two rows.
        x: metres right of the centre line.
        elevation: metres above the ground.
        bend: the street's centre line lies at ``bend * z**2`` metres.
    """

    focal: float
    centre: float
    horizon: int
    x: float
    elevation: float
    bend: float

    def project(self, x: float, y: float, z: float) -> Point:
        """The pixel (column, row) of a place; ``z`` > 0."""
        scale = self.focal / z
        return self.centre + self.across(x, z) * scale, self.horizon + (self.elevation - y) * scale

    def across(self, x: float, z: float) -> float:
        """Metres right of the line of sight."""
        return x - self.x + self.bend * z * z

    def pixels(self, metres: float, z: float) -> float:
        return metres * self.focal / z


@dataclass(frozen=True)
class Street:
    """Measures and character of the street; lengths in metres.

    Args:
        half_road: from the centre line to the kerb.
        pavements: width left and right.
        character: "city", "suburb" or "park".
        greenery: 0..1, how many trees.
        season: "spring", "summer" or "autumn".
        crowd: 0..1, how many cars and people.
    """

    half_road: float
    pavements: tuple[float, float]
    character: str
    greenery: float
    season: str
    crowd: float

    def building_line(self, side: int) -> float:
        """The house fronts' x; ``side`` is -1 (left) or 1 (right)."""
        return side * (self.half_road + self.pavements[0 if side < 0 else 1])


@dataclass(frozen=True)
class Stage:
    """What every drawing function is handed."""

    canvas: Canvas
    camera: Camera
    light: Light
    street: Street
    rng: np.random.Generator

    def face(self, corners: Sequence[Place], colour: RGB, label: int, *, lit: float = 0.5, glow: bool = False) -> None:
        """Fill a flat polygon in space with a shaded colour (or an unshaded one if it glows)."""
        z = sum(corner[2] for corner in corners) / len(corners)
        shaded = self.light.shine(colour, z) if glow else self.light.shade(colour, z, lit)
        self.canvas.polygon([self.camera.project(*corner) for corner in corners], shaded, label, glow=glow)

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        return low + float(self.rng.random()) * (high - low)


Item = tuple[float, Callable[[], None]]
"""Depth by which the painter sorts, far to near, and the call that draws."""


def draw_camera(rng: np.random.Generator, height: int, width: int, street: Street) -> Camera:
    """A view down the street: from a lane, the middle, or a pavement; low or high."""
    elevation = float(rng.choice([1.4, 1.7, 2.3, 3.2], p=[0.35, 0.35, 0.2, 0.1])) * rng.uniform(0.9, 1.1)
    x = street.half_road * float(rng.choice([0.5, 0.0, 1.15, -1.1], p=[0.5, 0.25, 0.15, 0.1])) + rng.uniform(-0.4, 0.4)
    return Camera(
        focal=rng.uniform(0.72, 1.1) * (height * width) ** 0.5,
        centre=width * rng.uniform(0.34, 0.66),
        horizon=round(height * rng.uniform(0.40, 0.56)),
        x=x,
        elevation=elevation,
        bend=float(rng.choice([0.0, 1.0, -1.0], p=[0.4, 0.3, 0.3])) * rng.uniform(0.0004, 0.0024),
    )


def draw_street(rng: np.random.Generator) -> Street:
    """A wide or narrow street with a character of its own."""
    character = ("city", "suburb", "park")[int(rng.choice(3, p=[0.5, 0.3, 0.2]))]
    return Street(
        half_road=rng.uniform(3.0, 5.5),
        pavements=(rng.uniform(2.2, 4.5), rng.uniform(2.2, 4.5)),
        character=character,
        greenery=rng.uniform(0.15, 0.6) if character == "city" else rng.uniform(0.4, 1.0),
        season=("spring", "summer", "autumn")[int(rng.choice(3, p=[0.25, 0.5, 0.25]))],
        crowd=rng.uniform(0.25, 1.0),
    )
