"""People who walk along, towards us, away from us or across."""

from segwright.data.synthetic.canvas import RGB, Point
from segwright.data.synthetic.classes import PERSON
from segwright.data.synthetic.light import scale, vary
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import Item, Stage

SKINS: tuple[RGB, ...] = ((236, 198, 168), (214, 164, 128), (164, 114, 82), (112, 76, 56), (226, 182, 150))
HAIR: tuple[RGB, ...] = ((40, 32, 28), (84, 58, 40), (168, 126, 76), (120, 116, 112), (96, 44, 30))
CLOTHES: tuple[RGB, ...] = (
    (186, 48, 50), (42, 74, 128), (226, 218, 200), (58, 62, 68), (216, 164, 66), (76, 118, 92), (146, 82, 116),
    (128, 156, 186), (112, 86, 66), (232, 138, 96),
)  # fmt: skip
TROUSERS: tuple[RGB, ...] = ((44, 52, 76), (36, 36, 40), (108, 98, 82), (82, 92, 106), (66, 54, 50))


def put_person(stage: Stage, x: float, z: float, shadows: Shadows) -> Item:
    """Choose somebody, throw the shadow, and return the call that draws."""
    height = stage.between(1.55, 1.88) if stage.chance(0.88) else stage.between(1.0, 1.35)
    shadows.box((x - 0.16, x + 0.16), (z - 0.05, z + 0.1), 0.95 * height)
    shadows.contact((x - 0.32, x + 0.32), (z - 0.16, z + 0.2), 0.5)
    return z, lambda: _Walker(stage, x, z, height).draw()


class _Walker:
    """A figure in units of its own height: ``at(0, 1)`` is the crown of the head, ``at(0, 0)`` between the feet."""

    def __init__(self, stage: Stage, x: float, z: float, height: float) -> None:
        self.stage, self.z = stage, z
        self.origin = stage.camera.project(x, 0.0, z)
        self.unit = stage.camera.pixels(height, z)
        self.sideways = stage.chance(0.55)
        self.heading = 1 if stage.chance(0.5) else -1
        self.stride = stage.between(0.05, 0.15) * (1 if self.sideways else 0.45)
        self.phase = 1 if stage.chance(0.5) else -1
        self.skin, self.hair = stage.pick(SKINS), vary(stage.rng, stage.pick(HAIR), 0.15)
        self.coat = vary(stage.rng, stage.pick(CLOTHES), 0.1)
        self.trousers = vary(stage.rng, stage.pick(TROUSERS), 0.12)
        self.away = stage.chance(0.5)

    def draw(self) -> None:
        skirt = self.stage.chance(0.25)
        long_coat = not skirt and self.stage.chance(0.3)
        width = 0.085 if self.sideways else 0.115
        for phase in (-self.phase, self.phase):
            self._leg(phase, near=phase == self.phase, bare=skirt)
        self._arm(-self.phase, width, near=False)
        if self.stage.chance(0.25) and not self.sideways and self.away:
            self._torso(width, skirt=skirt, long_coat=long_coat)
            bag = vary(self.stage.rng, self.stage.pick(CLOTHES), 0.1)
            self._shape([(-0.08, 0.6), (0.08, 0.6), (0.085, 0.78), (-0.085, 0.78)], bag)
        else:
            self._torso(width, skirt=skirt, long_coat=long_coat)
        self._arm(self.phase, width, near=True)
        self._head()
        if self.stage.chance(0.22):
            self._handbag(width)

    def at(self, across: float, up: float) -> Point:
        return self.origin[0] + across * self.unit * self.heading, self.origin[1] - up * self.unit

    def _shade(self, colour: RGB, lit: float = 0.55) -> RGB:
        return self.stage.light.shade(colour, self.z, lit)

    def _shape(self, points: list[Point], colour: RGB, lit: float = 0.55) -> None:
        self.stage.canvas.polygon([self.at(*point) for point in points], self._shade(colour, lit), PERSON)

    def _limb(self, joints: list[Point], widths: list[float], colour: RGB) -> None:
        pixels = [self.at(*joint) for joint in joints]
        sizes = [max(0.7, width * self.unit) for width in widths]
        for index in range(len(joints) - 1):
            start, end = pixels[index], pixels[index + 1]
            ends = sizes[index], sizes[index + 1]
            self.stage.canvas.stroke(start, end, ends, self._shade(colour), PERSON, round_ends=True)

    def _leg(self, phase: int, *, near: bool, bare: bool) -> None:
        reach = phase * self.stride
        lift = 0.02 if phase < 0 else 0.0
        hip = (0.0 if self.sideways else phase * 0.042, 0.5)
        shift = 0.0 if self.sideways else hip[0]
        foot = (shift + reach * 1.25, 0.035 + lift)
        knee = (shift + reach * 0.55 + (0.03 if self.sideways else 0.0), 0.27 + 0.5 * lift)
        colour = scale(self.skin if bare else self.trousers, 1.0 if near else 0.72)
        self._limb([hip, knee, foot], [0.088, 0.066, 0.048], colour)
        toe = (foot[0] + (0.075 if self.sideways else 0.012), 0.02 + 0.6 * lift)
        self._limb([(foot[0] - 0.01, 0.025 + lift), toe], [0.045, 0.035], (46, 38, 34))

    def _arm(self, phase: int, width: float, *, near: bool) -> None:
        shoulder = (0.0 if self.sideways else phase * width * 0.98, 0.79)
        swing = -phase * self.stride * 1.1 if self.sideways else phase * 0.025
        elbow = (shoulder[0] + swing * 0.6, 0.63)
        hand = (shoulder[0] + swing * 1.2 + (0.03 if self.sideways else 0.0), 0.49)
        self._limb([shoulder, elbow, hand], [0.056, 0.048, 0.038], scale(self.coat, 0.92 if near else 0.68))
        self.stage.canvas.ellipse(*self.at(*hand), (0.024 * self.unit,) * 2, self._shade(self.skin), PERSON)

    def _torso(self, width: float, *, skirt: bool, long_coat: bool) -> None:
        hem = 0.36 if long_coat else 0.47
        flare = 1.15 if long_coat else 0.9
        if skirt:
            cloth = vary(self.stage.rng, self.stage.pick(CLOTHES), 0.1)
            self._shape([(-width * 0.8, 0.54), (width * 0.8, 0.54), (width * 1.25, 0.33), (-width * 1.25, 0.33)], cloth)
        outline = [
            (-width * 0.45, 0.845), (width * 0.45, 0.845), (width, 0.80), (width * 0.86, 0.62), (width * flare, hem),
            (-width * flare, hem), (-width * 0.86, 0.62), (-width, 0.80),
        ]  # fmt: skip
        self._shape(outline, self.coat, 0.65)
        dark = -1 if self.stage.light.sun[0] * self.heading > 0 else 1
        shaded = [(0.35 * dark * width, 0.835), (dark * width, 0.80), (dark * width * 0.86, 0.62),
                  (dark * width * flare, hem), (dark * 0.4 * width, hem)]  # fmt: skip
        self._shape(shaded, scale(self.coat, 0.78), 0.4)

    def _head(self) -> None:
        canvas, unit = self.stage.canvas, self.unit
        self._limb([(0.0, 0.83), (0.004, 0.88)], [0.05, 0.05], scale(self.skin, 0.85))
        centre = 0.012 if self.sideways else 0.0
        canvas.ellipse(*self.at(centre, 0.928), (0.049 * unit, 0.062 * unit), self._shade(self.skin, 0.65), PERSON)
        back = -0.012 if self.sideways else 0.0
        if self.away and not self.sideways:
            canvas.ellipse(*self.at(0.0, 0.935), (0.054 * unit, 0.064 * unit), self._shade(self.hair), PERSON)
            return
        points = [(back - 0.055, 0.90), (back - 0.057, 0.95), (back - 0.03, 0.995), (back + 0.03, 0.998),
                  (back + 0.056, 0.965), (back + 0.03, 0.962), (back - 0.02, 0.95)]  # fmt: skip
        self._shape(points, self.hair)
        if self.stage.chance(0.4):  # long hair
            self._limb([(back - 0.035, 0.95), (back - 0.048, 0.85)], [0.045, 0.035], self.hair)
        if self.stage.chance(0.15):
            hat = vary(self.stage.rng, self.stage.pick(CLOTHES), 0.1)
            self._shape([(-0.075, 0.97), (0.08, 0.97), (0.045, 1.02), (-0.045, 1.02)], hat)

    def _handbag(self, width: float) -> None:
        across = width + 0.03
        bag = vary(self.stage.rng, self.stage.pick(CLOTHES), 0.12)
        self._limb([(across, 0.5), (across, 0.44)], [0.012, 0.012], scale(bag, 0.6))
        self._shape([(across - 0.05, 0.44), (across + 0.05, 0.44), (across + 0.06, 0.33), (across - 0.06, 0.33)], bag)
