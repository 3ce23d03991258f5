"""Houses along both sides of the street and across its end."""

from dataclasses import dataclass

from segwright.data.synthetic.canvas import RGB
from segwright.data.synthetic.classes import BUILDING
from segwright.data.synthetic.facade import Style, Wall, draw_facade, draw_style
from segwright.data.synthetic.light import scale, vary
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import FAR, NEAR, Item, Stage

ROOFS: tuple[RGB, ...] = ((150, 74, 54), (126, 62, 50), (84, 84, 92), (102, 92, 88), (168, 92, 62), (70, 80, 90))


@dataclass(frozen=True)
class House:
    """A box with a roof; lengths in metres.

    Args:
        side: -1 left, 1 right of the street.
        line: x of the front.
        z: near and far end.
        height: of the eaves.
        depth: away from the street.
        roof: "flat", "pitched" or "mansard".
        stands_free: no house adjoins at the near end.
    """

    side: int
    line: float
    z: tuple[float, float]
    height: float
    depth: float
    style: Style
    roof: str
    roof_colour: RGB
    stands_free: bool


def build_house(stage: Stage, side: int, z: tuple[float, float], shadows: Shadows, *, stands_free: bool) -> Item:
    """Choose a house for this lot, throw its shadow, and return the call that draws it."""
    style = draw_style(stage)
    floors = int(stage.between(2, 4) if stage.street.character == "suburb" else stage.between(3, 7))
    height = floors * style.storey + 0.6
    line = stage.street.building_line(side) + side * stage.between(0, 0.5)
    low = stage.street.character == "suburb"
    roof = stage.pick(["pitched", "pitched", "pitched", "flat"] if low else ["flat", "pitched", "mansard", "mansard"])
    tiles = vary(stage.rng, stage.pick(ROOFS), 0.12)
    house = House(side, line, z, height, stage.between(8, 12), style, roof, tiles, stands_free)
    shadows.box((line, line + side * house.depth), z, height)
    shadows.contact((line - side * 0.5, line), z, 0.35)
    return z[1], lambda: _draw_house(stage, house)


def _draw_house(stage: Stage, house: House) -> None:
    near, far = max(house.z[0], NEAR), house.z[1]
    if house.roof == "pitched":
        _pitched_roof(stage, house, near, far)
    if house.z[0] > NEAR:
        end = Wall(stage, (house.line, near), (float(house.side), 0.0), house.depth, stage.light.lit((0, 0, -1)))
        if house.stands_free:
            draw_facade(end, house.style, house.height, shop=False, bare=True)
        else:
            end.fill((0.0, house.depth), (0.0, house.height), house.style.wall)
    u0, u1 = (stage.camera.project(house.line, 0, z)[0] for z in (near, far))
    front_is_visible = (u0 - u1) * house.side > 0  # not so on the inside of a bend
    if front_is_visible:
        lit = stage.light.lit((-house.side, 0, 0))
        front = Wall(stage, (house.line, house.z[0]), (0.0, 1.0), far - house.z[0], lit)
        draw_facade(front, house.style, house.height, shop=house.style.shop, bare=False)
    if house.roof == "mansard":
        _mansard(stage, house, near, far, front_is_visible=front_is_visible)


def _pitched_roof(stage: Stage, house: House, near: float, far: float) -> None:
    """Gable, slope, tile courses and chimneys."""
    side, h = house.side, house.height
    eave, ridge = house.line - side * 0.35, house.line + side * house.depth / 2
    top = h + 0.55 * house.depth * 0.9
    lit = stage.light.lit((0, 0, -1))
    if house.z[0] > NEAR:
        outer = house.line + side * house.depth
        stage.face([(house.line, h, near), (outer, h, near), (ridge, top, near)], house.style.wall, BUILDING, lit=lit)
    slope = stage.light.lit((-0.65 * side, 0.76, 0.0))
    for z in (near + 0.25 * (far - near), near + 0.8 * (far - near)):
        _chimney(stage, ridge, top, z)
    corners = [(eave, h - 0.15, near), (eave, h - 0.15, far), (ridge, top, far), (ridge, top, near)]
    stage.face(corners, house.roof_colour, BUILDING, lit=slope)
    if stage.camera.pixels(0.6, near) < 4:
        return
    for step in range(1, 8):
        x, y = eave + (ridge - eave) * step / 8, h - 0.15 + (top - h + 0.15) * step / 8
        course = [(x, y, near), (x, y, far), (x, y + 0.09, far), (x, y + 0.09, near)]
        stage.face(course, scale(house.roof_colour, 0.82), BUILDING, lit=slope)


def _chimney(stage: Stage, x: float, y: float, z: float) -> None:
    stage.face(
        [(x - 0.4, y - 0.8, z), (x + 0.4, y - 0.8, z), (x + 0.4, y + 1.0, z), (x - 0.4, y + 1.0, z)],
        (128, 76, 62), BUILDING, lit=stage.light.lit((0, 0, -1)),
    )  # fmt: skip
    stage.face(
        [(x - 0.5, y + 0.85, z), (x + 0.5, y + 0.85, z), (x + 0.5, y + 1.05, z), (x - 0.5, y + 1.05, z)],
        (84, 74, 70), BUILDING,
    )  # fmt: skip


def _mansard(stage: Stage, house: House, near: float, far: float, *, front_is_visible: bool) -> None:
    """A steep roof with a row of dormers."""
    side, h, rise, back = house.side, house.height, 2.6, 0.9
    x0, x1 = house.line, house.line + side * back
    lit = stage.light.lit((-0.94 * side, 0.34, 0.0))
    if house.z[0] > NEAR:
        outer = house.line + side * house.depth
        gable = [(x0, h, near), (outer, h, near), (outer - side * back, h + rise, near), (x1, h + rise, near)]
        stage.face(gable, scale(house.roof_colour, 0.8), BUILDING, lit=stage.light.lit((0, 0, -1)))
    if not front_is_visible:
        return
    slope = [(x0, h, near), (x0, h, far), (x1, h + rise, far), (x1, h + rise, near)]
    stage.face(slope, house.roof_colour, BUILDING, lit=lit)
    count = max(1, int((house.z[1] - house.z[0]) / house.style.spacing))
    for index in range(count):
        z = house.z[0] + (index + 0.5) * (house.z[1] - house.z[0]) / count
        if z - 0.6 < near or stage.camera.pixels(1.0, z) < 3:
            continue
        _dormer(stage, house, z, lit)


def _dormer(stage: Stage, house: House, z: float, lit: float) -> None:
    x, h = house.line + house.side * 0.1, house.height
    shines = house.style.lamps and stage.chance(0.3)
    glass: RGB = (255, 204, 128) if shines else (70, 80, 92)
    for half, low, high, colour, glow in (
        (0.6, 0.3, 2.1, house.style.trim, False), (0.42, 0.5, 1.8, glass, shines)
    ):  # fmt: skip
        quad = [(x, h + low, z - half), (x, h + low, z + half), (x, h + high, z + half), (x, h + high, z - half)]
        stage.face(quad, colour, BUILDING, lit=lit, glow=glow)


def draw_street_end(stage: Stage) -> None:
    """A row of houses across the far end of the street."""
    x = -70.0
    while x < 70:
        width = stage.between(8, 16)
        style = draw_style(stage)
        height = int(stage.between(2, 6)) * style.storey + 1
        wall = Wall(stage, (x, FAR), (1.0, 0.0), width, stage.light.lit((0, 0, -1)))
        if stage.chance(0.6):
            roof = [(x, height, FAR), (x + width, height, FAR), (x + width / 2, height + 4, FAR)]
            stage.face(roof, stage.pick(ROOFS), BUILDING)
        draw_facade(wall, style, height, shop=False, bare=False)
        x += width


def draw_skyline(stage: Stage) -> None:
    """Distant towers, pale with haze."""
    depth, x = FAR * 4, -700.0
    while x < 700:
        width, height = stage.between(15, 50), stage.between(12, 70) * stage.between(0.4, 1)
        tower = [(x, 0.0, depth), (x + width, 0.0, depth), (x + width, height, depth), (x, height, depth)]
        stage.face(tower, vary(stage.rng, (122, 122, 128), 0.12), BUILDING, lit=0.3)
        x += width * stage.between(0.7, 1.5)
