"""What a house shows to the street: masonry, windows, doors, shops, balconies and cornices."""

from dataclasses import dataclass

from segwright.data.synthetic.canvas import RGB, Point
from segwright.data.synthetic.classes import BUILDING
from segwright.data.synthetic.light import mix, scale, vary
from segwright.data.synthetic.stage import NEAR, Stage

WALLS: tuple[RGB, ...] = (
    (186, 122, 92), (160, 84, 66), (206, 178, 140), (222, 206, 172), (196, 190, 182), (176, 184, 190),
    (214, 160, 122), (226, 196, 128), (150, 164, 152), (128, 142, 160), (232, 226, 214), (176, 112, 108),
)  # fmt: skip
TRIMS: tuple[RGB, ...] = ((236, 232, 222), (214, 206, 190), (92, 84, 78), (244, 240, 236), (128, 112, 96))
ACCENTS: tuple[RGB, ...] = ((52, 92, 74), (138, 46, 44), (44, 70, 112), (196, 142, 54), (84, 60, 84), (60, 62, 66))
LAMPS: tuple[RGB, ...] = ((255, 214, 140), (255, 190, 104), (255, 232, 184), (240, 226, 200))


@dataclass(frozen=True)
class Style:
    """One house's taste; lengths in metres."""

    wall: RGB
    trim: RGB
    accent: RGB
    glass: RGB
    storey: float
    spacing: float  # between window axes
    window: tuple[float, float]  # width, height
    bricks: bool
    shop: bool
    balconies: bool
    shutters: bool
    lamps: bool  # it is dark enough to switch them on


def draw_style(stage: Stage) -> Style:
    """Colours and proportions of a house."""
    modern = stage.street.character == "city" and stage.chance(0.2)
    wall = vary(stage.rng, stage.pick(WALLS), 0.1)
    sky = mix(stage.light.hour.zenith, stage.light.hour.horizon, stage.between(0.2, 0.9))
    spacing = stage.between(2.1, 3.2)
    width = spacing * (0.8 if modern else stage.between(0.38, 0.55))
    return Style(
        wall=wall,
        trim=scale(wall, 0.7) if modern else vary(stage.rng, stage.pick(TRIMS), 0.06),
        accent=vary(stage.rng, stage.pick(ACCENTS), 0.15),
        glass=mix((44, 52, 62), scale(sky, 0.8), stage.between(0.15, 0.5)),
        storey=stage.between(2.8, 3.5),
        spacing=spacing,
        window=(width, stage.between(1.4, 1.9)),
        bricks=not modern and wall[0] > 1.25 * wall[2] and stage.chance(0.7),
        shop=stage.street.character == "city" and stage.chance(0.6),
        balconies=not modern and stage.chance(0.3),
        shutters=not modern and stage.street.character != "city" and stage.chance(0.5),
        lamps=stage.light.lights_are_on(stage.rng),
    )


@dataclass(frozen=True)
class Wall:
    """An upright wall; places on it are (metres along it, metres up).

    Args:
        origin: (x, z) of its start.
        direction: unit vector (x, z) along it.
        length: in metres.
        lit: how much sun it gets, 0..1.
    """

    stage: Stage
    origin: Point
    direction: Point
    length: float
    lit: float

    def depth(self, along: float) -> float:
        return self.origin[1] + self.direction[1] * along

    def pixels(self, metres: float, along: float) -> float:
        return self.stage.camera.pixels(metres, max(self.depth(along), NEAR))

    def is_in_view(self, along: float, margin: float) -> bool:
        """Whether a place on the wall, give or take ``margin`` metres, is between the picture's left and right edge."""
        camera, z = self.stage.camera, max(self.depth(along), NEAR)
        column, _ = camera.project(self.origin[0] + self.direction[0] * along, 0.0, z)
        return abs(column - self.stage.canvas.width / 2) < self.stage.canvas.width / 2 + camera.pixels(margin, z)

    def outline(self, along: tuple[float, float], up: tuple[float, float]) -> list[Point]:
        """The four pixels of a rectangle on the wall, cut off at NEAR; empty if nothing is left."""
        a, b = max(along[0], 0.0), min(along[1], self.length)
        if self.direction[1] > 0:
            a = max(a, NEAR - self.origin[1])
        if b <= a:
            return []
        corners = [(a, up[0]), (b, up[0]), (b, up[1]), (a, up[1])]
        (x, z), (dx, dz) = self.origin, self.direction
        return [self.stage.camera.project(x + dx * s, y, z + dz * s) for s, y in corners]

    def fill(
        self, along: tuple[float, float], up: tuple[float, float], colour: RGB, *, glow: bool = False, lit: float = 1.0
    ) -> None:
        """A rectangle on the wall; ``lit`` scales the wall's sun."""
        outline = self.outline(along, up)
        if outline:
            z = max(self.depth((along[0] + along[1]) / 2), NEAR)
            light = self.stage.light
            shaded = light.shine(colour, z) if glow else light.shade(colour, z, self.lit * lit)
            self.stage.canvas.polygon(outline, shaded, BUILDING, glow=glow)

    def veil(self, along: tuple[float, float], up: tuple[float, float], colour: RGB, alpha: float) -> None:
        outline = self.outline(along, up)
        if outline:
            self.stage.canvas.veil(outline, colour, alpha)


def draw_facade(wall: Wall, style: Style, height: float, *, shop: bool, bare: bool) -> None:
    """The whole wall up to ``height``; a ``bare`` one (a house's end) has few windows."""
    whole = (0.0, wall.length)
    wall.fill(whole, (-0.05, height), style.wall)
    if style.bricks:
        _bricks(wall, style, height)
    floors = int((height - 0.3) / style.storey)
    count = max(1, int((wall.length - 0.6) / (style.spacing * (2.2 if bare else 1))))
    for floor in range(1 if shop else 0, floors):
        for index in range(count):
            along = (index + 0.5) * wall.length / count
            hidden = wall.depth(along) < NEAR + 0.4 or not wall.is_in_view(along, style.spacing)
            if hidden or (bare and wall.stage.chance(0.5)):
                continue
            door = floor == 0 and not bare and index == count // 2
            (_door if door else _window)(wall, style, along, floor * style.storey + 0.3)
        if floor and not bare and wall.pixels(0.16, wall.length / 2) > 0.5:
            wall.fill(whole, (floor * style.storey - 0.12, floor * style.storey), mix(style.trim, style.wall, 0.5))
    if shop:
        _shop(wall, style)
    if not bare:
        wall.fill(whole, (height - 0.45, height), style.trim)
        wall.veil(whole, (height - 0.75, height - 0.45), (20, 18, 26), 0.25)
    if wall.pixels(1.0, wall.length / 2) < 4:
        return
    wall.veil(whole, (-0.05, 0.45), (26, 24, 28), 0.3)
    wall.veil((0.0, 0.25), (0.0, height), (20, 18, 26), 0.15)
    for share in (0.12, 0.25):  # less sky reaches the foot of a wall
        wall.veil(whole, (-0.05, share * height), (24, 22, 32), 0.10)


def _bricks(wall: Wall, style: Style, height: float) -> None:
    """Courses of brick, and single bricks that are darker or paler, as far as they can be seen."""
    middle = max(wall.length / 2, NEAR - wall.origin[1])
    step = 0.24
    while wall.pixels(step, middle) < 3.5 and step < 0.4:
        step *= 2
    if wall.pixels(step, middle) < 2.5:
        return
    mortar = mix(style.wall, (214, 204, 190), 0.25)
    clear = min(0.4, 0.05 * wall.pixels(step, middle))
    for row in range(1, int(height / step)):
        wall.veil((0.0, wall.length), (row * step, row * step + 0.03), mortar, clear)
    count = int(min(60, wall.length * height * 0.6)) if wall.pixels(step, middle) > 4 else 0
    for along, up, tone in wall.stage.rng.random((count, 3)).tolist():
        a, y = along * wall.length, int(up * (height - step) / step) * step
        wall.veil((a, a + 0.4), (y + 0.03, y + step), scale(style.wall, 0.6 + 0.6 * tone), 0.22)


def _window(wall: Wall, style: Style, along: float, foot: float) -> None:
    stage = wall.stage
    (width, height), half = style.window, style.window[0] / 2
    sill = foot + 0.6
    size = wall.pixels(width, along)
    if size < 0.8:
        return
    shines = style.lamps and stage.chance(0.45)
    glass = vary(stage.rng, stage.pick(LAMPS), 0.08) if shines else vary(stage.rng, style.glass, 0.22)
    if size < 3.5:
        wall.fill((along - half, along + half), (sill, sill + height), glass, glow=shines)
        return
    if style.shutters:
        wall.fill((along - 1.75 * half, along + 1.75 * half), (sill, sill + height), style.accent)
    wall.fill((along - half - 0.1, along + half + 0.1), (sill - 0.12, sill + height + 0.12), style.trim)
    wall.fill((along - half, along + half), (sill, sill + height), glass, glow=shines)
    if not shines:
        wall.veil((along - half, along + half), (sill + 0.55 * height, sill + height), stage.light.hour.horizon, 0.16)
        wall.veil((along - half, along + half), (sill + height - 0.14, sill + height), (10, 12, 18), 0.5)
    if stage.chance(0.5):
        cloth = (244, 236, 220) if not shines else (255, 226, 170)
        for a, b in ((-half, -0.5 * half), (0.5 * half, half)):
            wall.veil((along + a, along + b), (sill, sill + height), cloth, 0.45)
    if size > 7:
        wall.fill((along - 0.04, along + 0.04), (sill, sill + height), style.trim)
        wall.fill((along - half, along + half), (sill + 0.62 * height, sill + 0.66 * height), style.trim)
        wall.fill((along - half - 0.18, along + half + 0.18), (sill - 0.2, sill - 0.08), scale(style.trim, 0.9))
        wall.veil((along - half - 0.18, along + half + 0.18), (sill - 0.32, sill - 0.2), (20, 18, 26), 0.3)
    if style.balconies and foot > 2 and size > 5:
        _balcony(wall, along, half + 0.3, foot)


def _balcony(wall: Wall, along: float, half: float, foot: float) -> None:
    """A slab and a railing in front of a window; sometimes with flowers."""
    iron: RGB = (46, 48, 52)
    wall.fill((along - half, along + half), (foot - 0.02, foot + 0.12), (176, 170, 160))
    wall.fill((along - half, along + half), (foot + 0.9, foot + 0.98), iron)
    bars = 7 if wall.pixels(half, along) > 8 else 3
    for index in range(bars + 1):
        a = along - half + 2 * half * index / bars
        wall.fill((a - 0.02, a + 0.02), (foot + 0.1, foot + 0.95), iron)


def _door(wall: Wall, style: Style, along: float, foot: float) -> None:
    low = foot - 0.3
    wall.fill((along - 0.75, along + 0.75), (low, low + 2.55), style.trim)
    wall.fill((along - 0.58, along + 0.58), (low, low + 2.4), style.accent)
    wall.fill((along - 0.45, along + 0.45), (low + 1.95, low + 2.3), style.glass)
    wall.veil((along - 0.03, along + 0.03), (low, low + 1.9), (0, 0, 0), 0.35)
    wall.fill((along - 0.85, along + 0.85), (low - 0.05, low + 0.15), (150, 146, 140))


def _shop(wall: Wall, style: Style) -> None:
    """A ground floor of shop windows under a signboard, with an awning over some."""
    stage, top = wall.stage, style.storey
    wall.fill((0.0, wall.length), (-0.05, top - 0.05), scale(style.accent, 0.8))
    count = max(1, int(wall.length / 3.4))
    bay = wall.length / count
    shines = style.lamps or stage.chance(0.12)
    for index in range(count):
        a, b = index * bay + 0.3, (index + 1) * bay - 0.3
        entrance = index == count // 2
        glass = vary(stage.rng, (244, 196, 130), 0.1) if shines else vary(stage.rng, style.glass, 0.2)
        wall.fill((a, b), (0.1 if entrance else 0.6, top - 0.85), glass, glow=shines)
        if not shines:
            wall.veil((a, (a + b) / 2), (0.6, top - 0.85), stage.light.hour.horizon, 0.18)
        for goods in stage.rng.random((4, 2)).tolist() if not entrance else []:
            at = a + goods[0] * (b - a - 0.3)
            wall.veil((at, at + 0.3), (0.6, 0.75 + 0.7 * goods[1]), stage.pick(ACCENTS), 0.6)
        if entrance:
            wall.fill(((a + b) / 2 - 0.05, (a + b) / 2 + 0.05), (0.1, top - 0.85), scale(style.accent, 0.6))
    wall.fill((0.0, wall.length), (top - 0.72, top - 0.15), style.accent)
    lettering = mix(style.accent, (250, 240, 214), 0.8)
    at, end = wall.length * 0.3, wall.length * stage.between(0.5, 0.75)
    while at < end and wall.pixels(0.2, at) > 1:
        wide = stage.between(0.12, 0.3)
        wall.fill((at, at + wide), (top - 0.58, top - 0.3), lettering)
        at += wide + 0.1
    if stage.chance(0.5):
        _awning(wall, style, top - 0.75)


def _awning(wall: Wall, style: Style, up: float) -> None:
    """Striped cloth that hangs a little out of the wall."""
    stripes = max(2, int(wall.length / 0.5))
    for index in range(stripes):
        a = index * wall.length / stripes
        colour: RGB = style.accent if index % 2 else (236, 230, 214)
        wall.fill((a, a + wall.length / stripes), (up - 0.45, up + 0.15), colour)
    wall.veil((0.0, wall.length), (up - 0.75, up - 0.45), (16, 14, 22), 0.4)
