"""Cars: a side profile drawn out across the car's width, seen from behind or from the front."""

from dataclasses import dataclass
from math import cos, pi, sin

from segwright.data.synthetic.canvas import RGB, Point
from segwright.data.synthetic.classes import CAR
from segwright.data.synthetic.light import mix, scale, vary
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import Item, Place, Stage

PAINTS: tuple[RGB, ...] = (
    (178, 34, 38), (30, 62, 120), (226, 226, 224), (38, 40, 44), (142, 148, 154), (92, 98, 104), (64, 104, 92),
    (214, 170, 62), (120, 160, 186), (96, 42, 52), (206, 110, 50), (198, 190, 172),
)  # fmt: skip
GLASS: RGB = (40, 48, 56)
TYRE: RGB = (34, 34, 36)


@dataclass(frozen=True)
class Body:
    """A kind of car, in metres.

    Args:
        profile: (length from the rear, height) over the top, from the rear bumper's foot to the front bumper's.
        rear_glass: index of the profile's piece that is the rear window; the windscreen likewise.
        half_width: at the belt line; ``top_half_width`` at the roof.
        belt: height where the windows begin.
    """

    profile: tuple[Point, ...]
    rear_glass: int
    windscreen: int
    half_width: float
    top_half_width: float
    belt: float

    @property
    def length(self) -> float:
        return self.profile[-1][0]

    @property
    def roof(self) -> float:
        return max(y for _, y in self.profile)

    def half_width_at(self, y: float) -> float:
        share = max(0.0, (y - self.belt) / (self.roof - self.belt))
        return self.half_width + (self.top_half_width - self.half_width) * share


BODIES: tuple[Body, ...] = (
    Body(((0, .28), (0, .74), (.12, .94), (.75, 1.0), (1.3, 1.38), (1.6, 1.45), (2.6, 1.42), (3.4, .98), (4.25, .82),
          (4.42, .66), (4.42, .28)), 3, 6, .89, .62, .98),
    Body(((0, .28), (0, .78), (.06, .98), (.42, 1.42), (.8, 1.52), (2.2, 1.48), (3.05, 1.02), (3.8, .86), (3.95, .68),
          (3.95, .28)), 2, 5, .87, .64, .98),
    Body(((0, .34), (0, .9), (.05, 1.12), (.36, 1.62), (.7, 1.72), (2.6, 1.68), (3.35, 1.14), (4.3, 1.02), (4.5, .8),
          (4.5, .34)), 2, 5, .94, .72, 1.12),
    Body(((0, .32), (0, 1.18), (.06, 1.86), (.2, 2.06), (3.5, 2.02), (4.3, 1.2), (4.85, 1.02), (5.0, .74), (5.0, .32)),
         1, 4, .97, .82, 1.2),
)  # fmt: skip


def put_car(stage: Stage, x: float, z: float, shadows: Shadows, *, oncoming: bool) -> Item:
    """Choose a car whose near end is at ``z``, throw its shadow, and return the call that draws it."""
    body = stage.pick([*BODIES[:3], *BODIES])
    paint = vary(stage.rng, stage.pick(PAINTS), 0.08)
    lamps = stage.light.hour.night > 0.5
    half, far = body.half_width, z + body.length
    shadows.box((x - half, x + half), (z, far), 0.8 * body.roof)
    shadows.contact((x - half - 0.05, x + half + 0.05), (z - 0.05, far), 1.0)
    return z, _Car(stage, body, paint, x, z, oncoming, lamps).draw


@dataclass(frozen=True)
class _Car:
    stage: Stage
    body: Body
    paint: RGB
    x: float
    z: float
    oncoming: bool
    lamps: bool

    def draw(self) -> None:
        body, camera = self.body, self.stage.camera
        middle = camera.across(self.x, self.z + body.length / 2)
        side = 0 if abs(middle) < body.half_width else (-1 if middle > 0 else 1)
        self._wheels_from_behind()
        strips = [index for index in range(len(body.profile) - 1) if self._is_visible(index)]
        for index in sorted(strips, key=self._strip_depth, reverse=True):
            self._strip(index)
        if side:
            self._side(side)
        self._near_end()

    def place(self, across: float, along: float, up: float) -> Place:
        """``across``: metres right of the car's middle; ``along``: from its rear."""
        return self.x + across, up, self.z + (self.body.length - along if self.oncoming else along)

    def quad(
        self, across: Point, along: float, up: Point, colour: RGB, *, lit: float = 0.5, glow: bool = False
    ) -> None:
        """An upright rectangle across the car."""
        (a, b), (low, high) = across, up
        corners = [self.place(*c) for c in ((a, along, low), (b, along, low), (b, along, high), (a, along, high))]
        self.stage.face(corners, colour, CAR, lit=lit, glow=glow)

    def _strip_depth(self, index: int) -> float:
        (z0, _), (z1, _) = self.body.profile[index : index + 2]
        return self.place(0, (z0 + z1) / 2, 0)[2]

    def _is_visible(self, index: int) -> bool:
        (z0, y0), (z1, y1) = self.body.profile[index : index + 2]
        forward, up = -(y1 - y0), z1 - z0  # the outward normal
        if self.oncoming:
            forward = -forward
        _, y, z = self.place(0, z0, y0)
        return forward * -z + up * (self.stage.camera.elevation - y) > 0

    def _strip(self, index: int) -> None:
        (z0, y0), (z1, y1) = self.body.profile[index : index + 2]
        a, b = self.body.half_width_at(y0), self.body.half_width_at(y1)
        corners = [self.place(-a, z0, y0), self.place(a, z0, y0), self.place(b, z1, y1), self.place(-b, z1, y1)]
        up = (z1 - z0) / (((z1 - z0) ** 2 + (y1 - y0) ** 2) ** 0.5)
        lit = self.stage.light.lit((0.0, up, -((1 - up * up) ** 0.5)))
        self.stage.face(corners, scale(self.paint, 0.88 + 0.2 * up), CAR, lit=lit)
        if index not in (self.body.rear_glass, self.body.windscreen):
            return
        inset = [
            self.place(turn * self.body.half_width_at(y) * 0.88, z0 + share * (z1 - z0), y)
            for turn, share in ((-1, 0.12), (1, 0.12), (1, 0.88), (-1, 0.88))
            for y in (y0 + share * (y1 - y0),)
        ]
        sky = mix(self.stage.light.hour.zenith, self.stage.light.hour.horizon, 0.5)
        self.stage.face(inset, mix(GLASS, sky, 0.14 + 0.3 * up), CAR, lit=0.3)
        gleam = [inset[0], *(_between(inset[i], inset[j], 0.42) for i, j in ((0, 1), (3, 2))), inset[3]]
        outline = [self.stage.camera.project(*corner) for corner in gleam]
        self.stage.canvas.veil(outline, sky, 0.22)

    def _side(self, side: int) -> None:
        body = self.body
        lit = self.stage.light.lit((float(side), 0.0, 0.0))

        def face(points: tuple[Point, ...], colour: RGB, light: float = lit) -> None:
            corners = [self.place(side * body.half_width_at(y), z, y) for z, y in points]
            self.stage.face(corners, colour, CAR, lit=light)

        face(body.profile, scale(self.paint, 0.94))
        face(((0.05, 0.3), (body.length - 0.05, 0.3), (body.length - 0.05, 0.42), (0.05, 0.42)), scale(self.paint, 0.5))
        (rear_foot, rear_top), (front_top, front_foot) = (
            (body.profile[i][0], body.profile[i + 1][0]) for i in (body.rear_glass, body.windscreen)
        )
        top = body.roof - 0.12
        sky = mix(self.stage.light.hour.zenith, self.stage.light.hour.horizon, 0.6)
        glass = mix(GLASS, sky, 0.2)
        start = front_foot - 1.9 if body.roof > 2 else rear_foot + 0.22  # a van has no rear side windows
        upper = start + 0.1 if body.roof > 2 else rear_top + 0.18
        face(((start, body.belt + 0.03), (front_foot - 0.25, body.belt + 0.03), (front_top - 0.02, top), (upper, top)),
             glass, 0.3)  # fmt: skip
        pillar = (upper + front_top) / 2
        face(((pillar, body.belt), (pillar + 0.08, body.belt), (pillar + 0.08, top), (pillar, top)), self.paint)
        dark = scale(self.paint, 0.6)
        for z in (pillar - 0.35, pillar + 0.06):
            face(((z, 0.45), (z + 0.02, 0.45), (z + 0.02, body.belt), (z, body.belt)), dark)
        for z in (0.78, body.length - 0.82):
            self._wheel(side, z)

    def _wheel(self, side: int, along: float) -> None:
        across = side * (self.body.half_width + 0.01)
        steps = [2 * pi * index / 16 for index in range(16)]
        for radius, colour in ((0.40, (20, 20, 22)), (0.33, TYRE), (0.20, (150, 152, 156)), (0.07, (70, 72, 76))):
            foot = 0.33 if radius < 0.4 else 0.36  # the widest is the arch above the wheel
            ring = [self.place(across, along + radius * cos(s), max(0.0, foot + radius * sin(s))) for s in steps]
            if radius == 0.40:
                ring = [(x, max(0.28, y), z) for x, y, z in ring]
            self.stage.face(ring, colour, CAR, lit=0.4)

    def _wheels_from_behind(self) -> None:
        outer = self.body.half_width - 0.04
        for along in (self.body.length - 0.6, 0.6) if not self.oncoming else (0.6, self.body.length - 0.6):
            for a, b in ((-outer, -outer + 0.22), (outer - 0.22, outer)):
                self.quad((a, b), along, (0.0, 0.4), TYRE, lit=0.1)

    def _near_end(self) -> None:
        """Bumper, plate and lamps of the end that faces us."""
        body = self.body
        along = body.length if self.oncoming else 0.0
        low = body.profile[0][1]
        high = body.profile[-2][1] if self.oncoming else body.profile[1][1]
        half = body.half_width
        self.quad((-half, half), along, (low, low + 0.13), (44, 44, 48))
        lamp_rows = (high - 0.17, high - 0.02)
        colour: RGB = (240, 238, 226) if self.oncoming else (176, 22, 26)
        if self.lamps:
            colour = (255, 250, 226) if self.oncoming else (255, 52, 40)
        for turn in (-1, 1):
            a, b = sorted((turn * (half - 0.30), turn * (half - 0.03)))
            self.quad((a, b), along, lamp_rows, colour, lit=0.6, glow=self.lamps)
        if self.oncoming:
            self.quad((-0.45, 0.45), along, (high - 0.2, high - 0.06), (34, 34, 38))
            self.quad((-0.12, 0.12), along, (high - 0.16, high - 0.1), (190, 192, 196))
        self.quad((-0.26, 0.26), along, (low + 0.15, low + 0.26), (232, 230, 216))


def _between(first: Place, second: Place, share: float) -> Place:
    x, y, z = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return x, y, z
