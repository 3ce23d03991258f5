"""The hour of the day: the sky's colours, the sun, the haze, and what they do to a surface."""

from dataclasses import dataclass
from math import cos, exp, pi, radians, sin, tan

import numpy as np

from segwright.data.synthetic.canvas import RGB


@dataclass(frozen=True)
class Hour:
    """What one kind of hour allows; pairs are ranges to draw from."""

    zenith: RGB
    horizon: RGB
    haze: RGB
    ambient: RGB
    sun: RGB
    elevation: tuple[float, float]  # degrees above the horizon
    shadow: float
    night: float
    haze_metres: tuple[float, float]
    clouds: tuple[float, float]


HOURS: dict[str, Hour] = {
    "noon": Hour((62, 122, 196), (186, 213, 236), (196, 214, 230), (0.70, 0.75, 0.82), (0.50, 0.45, 0.36),
                 (38, 60), 0.36, 0.0, (220, 420), (0.1, 0.6)),
    "afternoon": Hour((84, 138, 200), (226, 222, 208), (220, 216, 206), (0.70, 0.71, 0.75), (0.54, 0.45, 0.30),
                      (22, 36), 0.36, 0.0, (180, 360), (0.15, 0.65)),
    "overcast": Hour((148, 158, 170), (206, 209, 212), (198, 203, 207), (0.92, 0.94, 0.96), (0.10, 0.10, 0.09),
                     (40, 60), 0.10, 0.12, (110, 240), (0.8, 1.0)),
    "mist": Hour((176, 190, 204), (226, 226, 222), (216, 219, 219), (0.74, 0.76, 0.78), (0.26, 0.23, 0.18),
                 (16, 30), 0.22, 0.1, (60, 100), (0.3, 0.8)),
    "golden": Hour((92, 128, 184), (255, 206, 142), (244, 200, 150), (0.66, 0.61, 0.63), (0.66, 0.46, 0.24),
                   (9, 17), 0.40, 0.2, (120, 240), (0.2, 0.7)),
    "dusk": Hour((48, 54, 104), (246, 148, 112), (190, 128, 124), (0.45, 0.42, 0.53), (0.16, 0.09, 0.05),
                 (3, 6), 0.0, 0.7, (130, 260), (0.2, 0.7)),
    "blue": Hour((20, 32, 74), (104, 124, 172), (86, 102, 144), (0.34, 0.38, 0.51), (0.0, 0.0, 0.0),
                 (3, 6), 0.0, 1.0, (130, 260), (0.1, 0.6)),
}  # fmt: skip
_WEIGHTS = (0.22, 0.22, 0.13, 0.08, 0.16, 0.11, 0.08)


@dataclass(frozen=True)
class Light:
    """The light of one scene.

    Args:
        hour: colours and strengths.
        sun: unit vector to the sun: x to the right, y up, z away from the viewer.
        haze_metres: distance after which 63 % of a colour is haze.
        clouds: share of cloud in the sky, 0..1.
    """

    hour: Hour
    sun: tuple[float, float, float]
    haze_metres: float
    clouds: float

    def shade(self, colour: RGB, z: float, lit: float = 0.5) -> RGB:
        """A surface's colour at depth ``z`` metres, ``lit`` (0..1) by the sun."""
        haze = self.haze_at(z)
        r, g, b = (
            c * (ambient + sun * lit) * (1 - haze) + far * haze
            for c, ambient, sun, far in zip(colour, self.hour.ambient, self.hour.sun, self.hour.haze, strict=True)
        )
        return r, g, b

    def shine(self, colour: RGB, z: float) -> RGB:
        """A light source's colour at depth ``z`` metres: only the haze dims it."""
        return mix(colour, self.hour.haze, 0.6 * self.haze_at(z))

    def haze_at(self, z: float) -> float:
        return 1 - exp(-z / self.haze_metres)

    def lit(self, normal: tuple[float, float, float]) -> float:
        """How much sun (0..1) a surface with this unit normal gets."""
        return max(0.0, sum(n * s for n, s in zip(normal, self.sun, strict=True)))

    def shadow_offset(self, height: float) -> tuple[float, float]:
        """Where on the ground, in metres (x, z) from its foot, the tip of something this high throws its shadow."""
        x, y, z = self.sun
        reach = min(height / max(y, 0.05), 30.0)
        return -x * reach, -z * reach

    def lights_are_on(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.hour.night)


def draw_light(rng: np.random.Generator) -> Light:
    """An hour, a place for the sun and some weather."""
    name = list(HOURS)[int(rng.choice(len(_WEIGHTS), p=_WEIGHTS))]
    hour = HOURS[name]
    elevation = radians(rng.uniform(*hour.elevation))
    ahead = name in ("golden", "dusk") and rng.random() < 0.6
    azimuth = rng.uniform(-0.45, 0.45) if ahead else rng.uniform(-pi, pi)
    level = cos(elevation)
    sun = (sin(azimuth) * level, sin(elevation), cos(azimuth) * level)
    return Light(hour, sun, rng.uniform(*hour.haze_metres), rng.uniform(*hour.clouds))


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """``first`` with ``share`` (0..1) of ``second``."""
    r, g, b = (a + (c - a) * share for a, c in zip(first, second, strict=True))
    return r, g, b


def scale(colour: RGB, factor: float) -> RGB:
    """The colour, brighter or darker."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def vary(rng: np.random.Generator, colour: RGB, amount: float) -> RGB:
    """The colour, brighter or darker and shifted a little; ``amount`` 0.1 is about 10 %."""
    factor = 1 + rng.uniform(-amount, amount)
    r, g, b = (c * factor * (1 + 0.4 * shift) for c, shift in zip(colour, rng.uniform(-amount, amount, 3), strict=True))
    return float(r), float(g), float(b)


def sun_height_in_pixels(light: Light, focal: float) -> float:
    """How far above the horizon the sun stands in the picture."""
    x, y, z = light.sun
    return focal * tan(min(1.2, y / max((x * x + z * z) ** 0.5, 1e-3)))
