"""Road with markings, kerbs and pavement, and their texture."""

import numpy as np
from numpy.typing import NDArray

from segwright.data.synthetic.canvas import RGB
from segwright.data.synthetic.classes import PAVEMENT, ROAD
from segwright.data.synthetic.light import Light, scale, vary
from segwright.data.synthetic.noise import sample
from segwright.data.synthetic.stage import FAR, NEAR, Camera, Stage

PAINT: RGB = (226, 224, 214)


def draw_ground(stage: Stage) -> None:
    """Pavement everywhere, the road over it, then paint and joints."""
    canvas, street = stage.canvas, stage.street
    stone = vary(stage.rng, stage.pick([(176, 170, 160), (160, 158, 156), (182, 164, 144), (168, 174, 176)]), 0.06)
    h, w, horizon = canvas.height, canvas.width, stage.camera.horizon
    canvas.polygon([(-2, horizon), (w + 2, horizon), (w + 2, h + 2), (-2, h + 2)], stone, PAVEMENT)
    _joints(stage, stone)
    asphalt = vary(stage.rng, stage.pick([(112, 112, 116), (126, 124, 124), (98, 100, 106), (134, 128, 122)]), 0.06)
    edge = street.half_road
    _strip(stage, (-edge - 0.34, edge + 0.34), (0.5, FAR * 6), scale(stone, 1.16), PAVEMENT)
    _strip(stage, (-edge - 0.14, edge + 0.14), (0.5, FAR * 6), scale(stone, 0.62), PAVEMENT)
    _strip(stage, (-edge, edge), (0.5, FAR * 6), asphalt, ROAD)
    _gutters(stage, asphalt)
    _repairs(stage, asphalt)
    _markings(stage)
    if stage.chance(0.4):
        _crossing(stage, stage.between(7, 28))
    _manholes(stage, asphalt)


def _strip(stage: Stage, x: tuple[float, float], z: tuple[float, float], colour: RGB, label: int) -> None:
    """A ground rectangle, cut in pieces where the street bends."""
    z0, z1 = max(z[0], 0.5), z[1]
    if z1 <= z0:
        return
    count = 2 if stage.camera.bend == 0 or z1 - z0 < 4 else 2 + round(7 * np.log(z1 / z0))
    depths = np.geomspace(z0, z1, count).tolist()
    left = [stage.camera.project(x[0], 0.0, depth) for depth in depths]
    right = [stage.camera.project(x[1], 0.0, depth) for depth in depths]
    stage.canvas.polygon(left + right[::-1], colour, label)


def _joints(stage: Stage, stone: RGB) -> None:
    """The pavement's slabs, as far as they can be seen."""
    slab, dark = stage.pick([0.5, 0.75, 1.0]), scale(stone, 0.84)
    far = stage.camera.pixels(slab, 1.0) * stage.camera.elevation / 12
    for side in (-1, 1):
        kerb, line = side * stage.street.half_road, stage.street.building_line(side)
        inner, outer = min(kerb, line), max(kerb, line)
        z = NEAR / 2
        while z < min(far, 26):
            _strip(stage, (inner, outer), (z, z + 0.025), dark, PAVEMENT)
            z += slab
        for x in np.arange(inner + slab, outer, slab).tolist():
            _strip(stage, (x, x + 0.02), (0.5, 22), dark, PAVEMENT)


def _gutters(stage: Stage, asphalt: RGB) -> None:
    edge = stage.street.half_road
    for x in (-edge, edge - 0.3):
        _strip(stage, (x, x + 0.3), (0.5, 60), scale(asphalt, 0.86), ROAD)


def _repairs(stage: Stage, asphalt: RGB) -> None:
    """Patches of newer or older asphalt."""
    edge = stage.street.half_road - 0.4
    for _ in range(int(stage.between(1, 7))):
        x, z = stage.between(-edge, edge - 1), stage.between(3, 40)
        size = stage.between(0.5, 2.2), stage.between(1, 6)
        _strip(stage, (x, min(x + size[0], edge)), (z, z + size[1]), scale(asphalt, stage.between(0.84, 1.12)), ROAD)


def _markings(stage: Stage) -> None:
    """A centre line, dashed or double, and sometimes lines for lanes and parking."""
    edge, worn = stage.street.half_road, scale(PAINT, stage.between(0.78, 1.0))
    dash, gap = stage.pick([(3.0, 3.0), (2.0, 4.0), (4.0, 6.0)])
    start = stage.between(-3, 3)
    if stage.chance(0.2):
        for x in (-0.16, 0.06):
            _strip(stage, (x, x + 0.1), (0.5, FAR), worn, ROAD)
    else:
        for z in np.arange(start, 90, dash + gap).tolist():
            _strip(stage, (-0.07, 0.07), (z, z + dash), worn, ROAD)
    if edge > 4.2 and stage.chance(0.6):
        for side in (-1, 1):
            x = side * (edge - 2.1)
            for z in np.arange(start, 60, 2.5).tolist():
                _strip(stage, (x - 0.05, x + 0.05), (z, z + 1.2), worn, ROAD)
    elif stage.chance(0.4):
        for side in (-1, 1):
            _strip(stage, (side * (edge - 0.5) - 0.05, side * (edge - 0.5) + 0.05), (0.5, FAR), worn, ROAD)


def _crossing(stage: Stage, z: float) -> None:
    """A zebra crossing and a stop line before it."""
    edge = stage.street.half_road
    for x in np.arange(-edge + 0.4, edge - 0.5, 1.0).tolist():
        _strip(stage, (x, x + 0.5), (z, z + 3.2), PAINT, ROAD)
    _strip(stage, (0.15, edge - 0.2), (z - 1.6, z - 1.2), PAINT, ROAD)


def _manholes(stage: Stage, asphalt: RGB) -> None:
    for _ in range(int(stage.between(0, 4))):
        x, z = stage.between(-0.7, 0.7) * stage.street.half_road, stage.between(4, 22)
        u, v = stage.camera.project(x, 0.0, z)
        radius = stage.camera.pixels(0.36, z)
        flat = radius * stage.camera.elevation / z
        stage.canvas.ellipse(u, v, (radius, flat), scale(asphalt, 0.66), ROAD)
        stage.canvas.ellipse(u, v, (0.8 * radius, 0.8 * flat), scale(asphalt, 0.84), ROAD)


def texture_ground(
    picture: NDArray[np.float32],
    camera: Camera,
    light: Light,
    darkening: NDArray[np.float32],
    noise: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Grain, stains, light, shadows and haze on everything below the horizon, in place."""
    ground = picture[camera.horizon :]
    height, width = ground.shape[:2]
    z = camera.focal * camera.elevation / (np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5))
    columns = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5 - camera.centre)
    x: NDArray[np.float32] = columns * (z / camera.focal)
    x += camera.x - camera.bend * z * z
    stains = sample(noise, x * 7, z * np.float32(2.6))
    wear = sample(noise, x * 30 + 90, z * 30)
    near = np.exp(-z / 14)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    tone = 1 + 0.045 * stains * np.exp(-z / 60) + 0.03 * wear * near + 0.04 * grain * near
    lit = light.lit((0.0, 1.0, 0.0))
    colour = np.array(light.hour.ambient, np.float32) + np.array(light.hour.sun, np.float32) * np.float32(lit)
    ground *= colour * (tone * darkening[camera.horizon :])[..., None]
    haze = (1 - np.exp(-z / light.haze_metres))[..., None]
    ground += (np.array(light.hour.haze, np.float32) - ground) * haze
