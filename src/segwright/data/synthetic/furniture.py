"""Lamp posts, bollards, traffic signs and fences: the thin things."""

from math import cos, pi, sin

from segwright.data.synthetic.canvas import RGB, Point
from segwright.data.synthetic.classes import FENCE, POLE, SIGN
from segwright.data.synthetic.light import scale, vary
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import NEAR, Item, Stage

METALS: tuple[RGB, ...] = ((70, 76, 80), (52, 60, 58), (128, 132, 136), (96, 100, 104), (44, 58, 52))
RED: RGB = (196, 34, 36)
BLUE: RGB = (28, 84, 168)
INK: RGB = (30, 30, 34)
WHITE: RGB = (240, 240, 236)
YELLOW: RGB = (242, 196, 40)


def _pole(stage: Stage, x: float, z: float, height: float, metres: float, colour: RGB) -> Point:
    """An upright pole, at least one pixel wide; returns its tip."""
    foot, tip = stage.camera.project(x, 0.0, z), stage.camera.project(x, height, z)
    thick = max(1.0, stage.camera.pixels(metres, z))
    stage.canvas.stroke(foot, tip, (thick * 1.05, thick * 0.9), stage.light.shade(colour, z, 0.5), POLE)
    if thick > 2:
        turn = 0.22 if stage.light.sun[0] < 0 else -0.22
        start, end = (foot[0] + turn * thick, foot[1]), (tip[0] + turn * thick, tip[1])
        stage.canvas.stroke(start, end, (0.4 * thick, 0.35 * thick), stage.light.shade(scale(colour, 0.6), z), POLE)
    return tip


def put_lamp_post(stage: Stage, side: int, x: float, z: float, kind: str, metal: RGB, shadows: Shadows) -> Item:
    """A lamp post; ``kind`` is "arm" (over the road) or "lantern" (old town)."""
    height = 6.6 if kind == "arm" else 4.2
    shadows.box((x - 0.07, x + 0.07), (z, z + 0.1), height)
    shadows.contact((x - 0.25, x + 0.25), (z - 0.15, z + 0.2), 0.4)
    return z, lambda: _draw_lamp_post(stage, side, (x, z), height, kind, metal)


def _draw_lamp_post(stage: Stage, side: int, place: Point, height: float, kind: str, metal: RGB) -> None:
    (x, z), camera, canvas = place, stage.camera, stage.canvas
    tip = _pole(stage, x, z, height, 0.13, metal)
    shade = stage.light.shade(metal, z)
    thick = max(1.0, camera.pixels(0.09, z))
    foot = camera.project(x, 0.0, z)
    canvas.stroke(foot, camera.project(x, 0.9, z), (1.9 * thick, 1.7 * thick), shade, POLE)
    burns = stage.light.hour.night > 0.5
    glass = stage.light.shine((255, 226, 160), z) if burns else stage.light.shade((206, 206, 198), z)
    if kind == "arm":
        end = camera.project(x - side * 1.5, height + 0.25, z)
        canvas.stroke(tip, end, (thick, thick), shade, POLE)
        length = camera.pixels(0.38, z)
        flat = max(0.7, camera.pixels(0.09, z))
        canvas.ellipse(*end, (length, flat), shade, POLE)
        canvas.ellipse(end[0], end[1] + 0.4 * flat, (0.8 * length, 0.6 * flat), glass, POLE, glow=burns)
        return
    size = max(1.0, camera.pixels(0.24, z))
    u, v = tip
    lamp = [(u - 0.6 * size, v), (u + 0.6 * size, v), (u + size, v - 2 * size), (u - size, v - 2 * size)]
    canvas.polygon(lamp, glass, POLE, glow=burns)
    canvas.polygon([(u - 1.15 * size, v - 2 * size), (u + 1.15 * size, v - 2 * size), (u, v - 3 * size)], shade, POLE)


def put_bollard(stage: Stage, x: float, z: float, shadows: Shadows) -> Item:
    """A knee-high post at the kerb."""
    shadows.contact((x - 0.15, x + 0.15), (z - 0.1, z + 0.15), 0.4)
    shadows.box((x - 0.06, x + 0.06), (z, z + 0.1), 1.0)

    def draw() -> None:
        u, v = _pole(stage, x, z, 0.95, 0.11, (60, 62, 64))
        size = max(0.6, stage.camera.pixels(0.075, z))
        stage.canvas.ellipse(u, v, (size, size), stage.light.shade((206, 202, 196), z), POLE)

    return z, draw


def put_sign(stage: Stage, x: float, z: float, shadows: Shadows) -> Item:
    """One traffic sign or two on a thin pole."""
    kinds = ["limit", "no_entry", "give_way", "warning", "stop", "parking", "crossing", "direction", "priority"]
    upper, second = stage.pick(kinds), stage.pick(kinds) if stage.chance(0.35) else None
    height, size = stage.between(2.3, 3.0), stage.between(0.40, 0.54)
    shadows.box((x - 0.05, x + 0.05), (z, z + 0.1), height)
    shadows.contact((x - 0.2, x + 0.2), (z - 0.1, z + 0.15), 0.3)

    def draw() -> None:
        tip = _pole(stage, x, z, height + 0.3, 0.075, (140, 144, 148))
        radius = stage.camera.pixels(size, z)
        v = tip[1] + 0.6 * radius
        _plate(stage, upper, (tip[0], v), radius, z)
        if second is not None:
            _plate(stage, second, (tip[0], v + 2.0 * radius), 0.9 * radius, z)

    return z, draw


def _plate(stage: Stage, kind: str, at: Point, radius: float, z: float) -> None:
    """Draw a sign's face around ``at``."""

    def ring(colour: RGB, sides: int, size: float, turn: float = 0.0) -> None:
        steps = [2 * pi * index / sides + turn for index in range(sides)]
        points = [(at[0] + size * radius * sin(s), at[1] - size * radius * cos(s)) for s in steps]
        stage.canvas.polygon(points, stage.light.shade(colour, z, 0.6), SIGN)

    def bar(width: float, height: float, colour: RGB, du: float = 0.0, dv: float = 0.0) -> None:
        u, v, a, b = at[0] + du * radius, at[1] + dv * radius, width * radius, height * radius
        points = [(u - a, v - b), (u + a, v - b), (u + a, v + b), (u - a, v + b)]
        stage.canvas.polygon(points, stage.light.shade(colour, z, 0.6), SIGN)

    if kind == "direction":
        bar(1.7, 0.55, BLUE)
        bar(1.2, 0.1, WHITE, dv=-0.15)
        bar(0.8, 0.1, WHITE, du=-0.4, dv=0.2)
    elif kind in ("parking", "crossing"):
        bar(0.92, 0.92, WHITE)
        bar(0.84, 0.84, BLUE)
        if kind == "crossing":
            ring(WHITE, 3, 0.75)
            bar(0.1, 0.3, INK, dv=0.1)
        else:
            bar(0.1, 0.55, WHITE, du=-0.22)
            bar(0.3, 0.28, WHITE, du=0.1, dv=-0.28)
            bar(0.13, 0.12, BLUE, du=0.12, dv=-0.28)
    elif kind in ("give_way", "warning"):
        turn = pi if kind == "give_way" else 0.0
        ring(RED, 3, 1.2, turn)
        ring(WHITE, 3, 0.75, turn)
        if kind == "warning":
            bar(0.09, 0.24, INK)
    elif kind == "priority":
        ring(WHITE, 4, 1.1)
        ring(YELLOW, 4, 0.85)
    else:
        sides = 8 if kind == "stop" else 20
        ring(WHITE, sides, 1.0, pi / 8)
        ring(RED, sides, 0.94, pi / 8)
        if kind == "limit":
            ring(WHITE, sides, 0.68)
            for du in (-0.26, 0.26):
                bar(0.2, 0.34, INK, du=du)
                bar(0.09, 0.22, WHITE, du=du)
            bar(0.12, 0.09, WHITE, du=-0.34, dv=0.15)  # opens the left nought to a five
            bar(0.12, 0.07, WHITE, du=-0.18, dv=-0.16)
            bar(0.2, 0.06, INK, du=-0.26, dv=-0.03)
        else:
            bar(0.62, 0.17, WHITE)


FENCES: tuple[RGB, ...] = ((150, 112, 76), (232, 228, 218), (122, 92, 68), (92, 112, 96), (168, 140, 108))


def put_fence(stage: Stage, x: float, z: tuple[float, float], shadows: Shadows) -> Item:
    """A fence along the street: planks side by side, or pickets with gaps."""
    colour = vary(stage.rng, stage.pick(FENCES), 0.08)
    height, pickets = stage.between(1.1, 1.9), stage.chance(0.5)
    shadows.box((x - 0.03, x + 0.03), z, height)
    shadows.contact((x - 0.3, x + 0.3), z, 0.4)
    return z[1], lambda: _draw_fence(stage, x, z, height, colour, pickets=pickets)


def _draw_fence(stage: Stage, x: float, z: tuple[float, float], height: float, colour: RGB, *, pickets: bool) -> None:
    lit = stage.light.lit((-1.0 if x > 0 else 1.0, 0.0, 0.0))
    far, near = z[1], max(z[0], NEAR)
    step = 0.17
    while far > near:
        board = max(step, far * 0.02)  # distant boards run together
        low, gap = max(far - board, near), board > step or not pickets
        begin = low if gap else low + 0.05
        tone = scale(colour, stage.between(0.86, 1.08))
        top = height * (1 if board > step else stage.between(0.985, 1.015))
        tip = [(x, top, far), (x, top + (0.07 if pickets else 0.0), (begin + far) / 2), (x, top, begin)]
        stage.face([(x, 0.0, begin), (x, 0.0, far), *tip], tone, FENCE, lit=lit)
        far = low
    for y in (0.25 * height, 0.78 * height):
        rail = [(x, y, near), (x, y, z[1]), (x, y + 0.08, z[1]), (x, y + 0.08, near)]
        stage.face(rail, scale(colour, 0.8), FENCE, lit=lit)
