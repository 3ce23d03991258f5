"""Trees, hedges and distant woods."""

from math import cos, pi, sin

import numpy as np

from segwright.data.synthetic.canvas import RGB, Point
from segwright.data.synthetic.classes import TREE
from segwright.data.synthetic.light import mix, scale, vary
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import FAR, NEAR, Item, Stage

FOLIAGE: dict[str, tuple[RGB, ...]] = {
    "spring": ((126, 166, 72), (144, 176, 84), (112, 156, 78), (226, 172, 186), (236, 214, 208)),
    "summer": ((84, 124, 58), (70, 112, 54), (96, 130, 60), (82, 118, 72), (108, 136, 66)),
    "autumn": ((196, 140, 52), (184, 100, 46), (150, 128, 56), (206, 166, 66), (116, 122, 60)),
}
BARK: RGB = (92, 74, 60)

Lump = tuple[float, float, float]
"""Column, row and radius in pixels."""


def plant_tree(stage: Stage, x: float, z: float, height: float, shadows: Shadows) -> Item:
    """Choose a tree, throw its shadow, and return the call that draws it."""
    shape = stage.pick(["round", "round", "tall", "cone"]) if height > 4 else "round"
    spread = height * {"round": 0.34, "tall": 0.24, "cone": 0.2}[shape] * stage.between(0.85, 1.15)
    colour = vary(stage.rng, stage.pick(FOLIAGE[stage.street.season]), 0.1)
    if shape == "cone":
        colour = vary(stage.rng, (62, 96, 66), 0.1)
    shadows.crown(x, z, spread, (0.5 * height, 0.75 * height))
    shadows.box((x - 0.12, x + 0.12), (z, z + 0.1), 0.5 * height)
    shadows.contact((x - 0.5, x + 0.5), (z - 0.3, z + 0.4), 0.5)
    return z, lambda: _draw_tree(stage, (x, z), height, spread, colour, shape)


def _draw_tree(stage: Stage, place: Point, height: float, spread: float, colour: RGB, shape: str) -> None:
    (x, z), camera = place, stage.camera
    base = 0.14 * height if shape == "cone" else 0.36 * height
    foot, fork = camera.project(x, 0.0, z), camera.project(x + stage.between(-0.15, 0.15), base + 0.12 * height, z)
    bark = stage.light.shade(vary(stage.rng, BARK, 0.15), z, 0.4)
    thick = max(1.0, camera.pixels(0.035 * height + 0.06, z))
    stage.canvas.stroke(foot, fork, (thick * 1.25, thick * 0.8), bark, TREE)
    stage.canvas.stroke(
        (foot[0] + 0.22 * thick, foot[1]), (fork[0] + 0.2 * thick, fork[1]), (0.5 * thick, 0.3 * thick),
        scale(bark, 0.75), TREE,
    )  # fmt: skip
    for turn in (-1, 1):
        tip = camera.project(x + turn * 0.55 * spread, base + 0.3 * (height - base), z)
        stage.canvas.stroke(fork, tip, (0.55 * thick, 0.25 * thick), bark, TREE)
    middle = camera.project(x, (base + height) / 2, z)
    radii = camera.pixels(spread, z), camera.pixels((height - base) / 2, z)
    lumps = _cone(stage, middle, radii) if shape == "cone" else _crown(stage, middle, radii)
    draw_foliage(stage, lumps, colour, z)


def _crown(stage: Stage, middle: Point, radii: Point) -> list[Lump]:
    count = 7 if radii[0] < 8 else 14 if radii[0] < 22 else 22
    lumps = [(middle[0], middle[1], 0.62 * min(radii))]
    for index, (jitter, size, out) in enumerate(stage.rng.random((count, 3)).tolist()):
        angle = 2 * pi * (2 * index + jitter) / count  # twice around: an outer and an inner ring
        reach = 0.35 + 0.5 * out if index % 2 else 0.6 + 0.25 * out
        radius = min(radii) * (0.16 + 0.24 * size * (1.2 - 0.5 * out))
        lumps.append((middle[0] + reach * radii[0] * cos(angle), middle[1] + reach * radii[1] * sin(angle), radius))
    return lumps


def _cone(stage: Stage, middle: Point, radii: Point) -> list[Lump]:
    rows = 5 if radii[1] < 12 else 9
    lumps: list[Lump] = []
    for row in range(rows):
        share = (row + 0.5) / rows  # 0 at the top
        v = middle[1] - radii[1] + 2 * radii[1] * share
        for turn in (-0.55, 0.0, 0.55):
            radius = (0.12 + 0.42 * share) * radii[0]
            lumps.append((middle[0] + turn * share * radii[0] * stage.between(0.8, 1.2), v, radius))
    return lumps


def draw_foliage(stage: Stage, lumps: list[Lump], colour: RGB, z: float) -> None:
    """Lumps of leaves: dark ones below, lighter ones towards the sun, and single leaves over and around them."""
    light, canvas = stage.light, stage.canvas
    lumps = [lump for lump in lumps if -1.5 * lump[2] < lump[0] < canvas.width + 1.5 * lump[2]]
    if not lumps:
        return
    towards = 0.25 if light.sun[0] > 0 else -0.25
    dark = mix(scale(colour, 0.58), (38, 52, 62), 0.2)
    bright = mix(colour, (255, 240, 170), 0.14)
    for u, v, radius in lumps:
        canvas.ellipse(u, v, (radius, radius * 0.95), light.shade(dark, z, 0.1), TREE)
    for shift, size, share, lit in ((0.14, 0.84, 0.5, 0.35), (0.32, 0.6, 0.85, 0.6)):
        shaded = light.shade(mix(dark, colour, share), z, lit)
        for u, v, radius in lumps:
            at = u + towards * shift * 2 * radius, v - shift * radius
            canvas.ellipse(*at, (size * radius, size * 0.9 * radius), shaded, TREE)
    largest = max(radius for _, _, radius in lumps)
    count = int(min(56, max(2, 0.8 * largest)))
    tones = [light.shade(mix(dark, bright, step / 5), z, 0.15 + 0.17 * step) for step in range(6)]
    discs = np.array(lumps)
    share = discs[:, 2] ** 1.6 / (discs[:, 2] ** 1.6).sum()
    discs = discs.repeat(np.maximum(2, share * count * len(lumps)).astype(int), axis=0)  # more leaves on larger lumps
    angle, out, size, tone = stage.rng.random((4, len(discs)))
    reach = 1.1 * out**0.6
    du, dv = reach * np.cos(2 * np.pi * angle), reach * np.sin(2 * np.pi * angle)
    facing = np.clip(np.rint(2.6 - 2.0 * dv + 4 * towards * du + 2.2 * (tone - 0.5)), 0, 5).astype(int)
    leaf = np.maximum(0.5, min(largest, 26) * (0.06 + 0.09 * size))
    u, v = discs[:, 0] + du * discs[:, 2], discs[:, 1] + dv * discs[:, 2]
    for row in zip(u.tolist(), v.tolist(), leaf.tolist(), facing.tolist(), strict=True):
        canvas.ellipse(row[0], row[1], (row[2], 0.8 * row[2]), tones[row[3]], TREE)


def plant_hedge(stage: Stage, x: float, z: tuple[float, float], height: float) -> Item:
    """A hedge along the street."""
    colour = vary(stage.rng, stage.pick(FOLIAGE[stage.street.season][:3]), 0.1)

    def draw() -> None:
        near, depth = max(z[0], NEAR + 0.6), z[1]
        while depth > near:
            step = max(0.75, depth * 0.07)
            lumps: list[Lump] = []
            for up in (0.22, 0.5, 0.78):
                u, v = stage.camera.project(x + stage.between(-0.2, 0.2), up * height, depth - stage.between(0, step))
                lumps.append((u, v, stage.camera.pixels(stage.between(0.26, 0.4) * height, depth)))
            draw_foliage(stage, lumps, colour, depth)
            depth -= step

    return z[1], draw


def draw_woods(stage: Stage) -> None:
    """A band of distant trees on the horizon."""
    colour = FOLIAGE[stage.street.season][0]
    for depth, height in ((FAR * 3, 26.0), (FAR * 1.6, 11.0)):
        x = -1.4 * depth
        while x < 1.4 * depth:
            radius = height * stage.between(0.35, 0.6)
            u, v = stage.camera.project(x, 0.3 * height, depth)
            size = stage.camera.pixels(radius, depth)
            shade = stage.light.shade(vary(stage.rng, colour, 0.12), depth, 0.3)
            stage.canvas.ellipse(u, v - 0.2 * size, (1.3 * size, size), shade, TREE)
            x += radius * 1.1
        left = stage.camera.project(-1.5 * depth, 0.35 * height, depth)
        right = stage.camera.project(1.5 * depth, 0.0, depth)
        band = [left, (right[0], left[1]), right, (left[0], right[1])]
        stage.canvas.polygon(band, stage.light.shade(colour, depth, 0.25), TREE)
