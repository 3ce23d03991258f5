"""One street scene from one number: composition, painting from far to near, and the camera's own marks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segwright.data.synthetic.buildings import draw_skyline, draw_street_end
from segwright.data.synthetic.canvas import RGB, Canvas
from segwright.data.synthetic.cars import PAINTS
from segwright.data.synthetic.classes import BUILDING, IGNORE_INDEX, TREE
from segwright.data.synthetic.ground import draw_ground, texture_ground
from segwright.data.synthetic.layout import lay_out
from segwright.data.synthetic.light import Light, draw_light, scale, vary
from segwright.data.synthetic.noise import cloudy_noise
from segwright.data.synthetic.plants import draw_woods
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.sky import paint_sky
from segwright.data.synthetic.stage import Stage, draw_camera, draw_street
from segwright.errors import ConfigError, ShapeError

SMALLEST_SIDE = 32


def draw_scene(seed: int, size: tuple[int, int] = (360, 480)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a street scene and its mask.

    The same seed and size give the same bytes; another size of the same seed is another scene.

    Args:
        seed: 0 or above.
        size: (height, width) in pixels, both 32 or above.

    Returns:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) uint8, indices of ``CLASSES`` and 255 where our own car's bonnet is in the picture.

    Raises:
        ConfigError: a negative seed.
        ShapeError: a size too small to hold a street.
    """
    height, width = size
    if seed < 0:
        raise ConfigError(f"the seed of a scene is {seed}", fix="give a whole number of 0 or above")
    if min(size) < SMALLEST_SIDE:
        raise ShapeError(f"a street scene of {height}x{width} pixels", fix=f"give sides of {SMALLEST_SIDE} or above")
    rng = np.random.default_rng(np.random.SeedSequence([seed, height, width]))
    stage = _set_stage(rng, height, width)
    noise = cloudy_noise(rng)
    shadows = Shadows(height, width, stage.camera, stage.light)
    items = lay_out(stage, shadows)
    _paint_background(stage, shadows, noise)
    for _, draw in sorted(items, key=lambda item: item[0], reverse=True):
        draw()
    if stage.chance(0.2):
        _draw_bonnet(stage)
    return _develop(stage.canvas, stage.light, noise, rng), stage.canvas.mask()


def _set_stage(rng: np.random.Generator, height: int, width: int) -> Stage:
    street, light = draw_street(rng), draw_light(rng)
    return Stage(Canvas(height, width), draw_camera(rng, height, width, street), light, street, rng)


def _paint_background(stage: Stage, shadows: Shadows, noise: NDArray[np.float32]) -> None:
    """Ground and sky with their textures, then what closes the view."""
    canvas, camera, light = stage.canvas, stage.camera, stage.light
    draw_ground(stage)
    picture = canvas.picture()
    texture_ground(picture, camera, light, shadows.darkening(), noise, stage.rng)
    picture[: camera.horizon] = paint_sky(canvas.width, camera, light, noise)
    canvas.replace_picture(picture)
    straight = replace(stage, camera=replace(camera, bend=0.0))  # what is far away does not follow the bend
    if stage.chance(0.5):
        draw_skyline(straight)
    draw_woods(straight)
    if stage.chance(0.35):
        draw_street_end(straight)


def _draw_bonnet(stage: Stage) -> None:
    """The bonnet of the car we sit in: a shallow arch with a reflection of the sky."""
    canvas, rng = stage.canvas, stage.rng
    h, w = canvas.height, canvas.width
    rise, middle = h * rng.uniform(0.05, 0.09), w * rng.uniform(0.4, 0.6)
    paint: RGB = scale(vary(rng, stage.pick(PAINTS), 0.1), 0.6)
    for drop, tone in ((0.0, 1.0), (0.22, 1.25), (0.5, 0.85)):
        steps = np.linspace(-0.62, 0.62, 33)
        arch = [(middle + w * s, h - rise * (1 - drop) * (1 - (1.5 * s) ** 4)) for s in steps.tolist()]
        points = [*arch, (middle + 0.62 * w, h + 9.0), (middle - 0.62 * w, h + 9.0)]
        canvas.polygon(points, stage.light.shade(scale(paint, tone), 1.0, 0.6), IGNORE_INDEX)


def _develop(canvas: Canvas, light: Light, noise: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera adds: surfaces' grain, bloom around lamps, a vignette, a little blur and sensor noise."""
    picture = canvas.picture()
    mask = canvas.mask()
    h, w = mask.shape
    coarse = np.tile(noise, (h // noise.shape[0] + 1, w // noise.shape[1] + 1))[:h, :w]
    grain = rng.standard_normal((h, w), dtype=np.float32)
    rough = np.float32(0.035) * (mask == BUILDING) + np.float32(0.05) * (mask == TREE)
    across, down = np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32)
    vignette = 1 - rng.uniform(0.03, 0.1) * (across[None, :] ** 2 + down[:, None] ** 2)
    gain = vignette * (1 + rough * (0.6 * grain + 0.5 * coarse)) * rng.uniform(0.97, 1.1)
    picture *= gain.astype(np.float32)[..., None]
    glowing = canvas.glowing()
    if glowing.any():
        picture += _bloom(picture, glowing) * (1 - np.minimum(picture, 255) / 255)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    soft = np.array(image.filter(ImageFilter.BoxBlur(rng.uniform(0.1, 0.35))), np.float32)
    sensor = rng.uniform(1.2, 3.2) + 1.5 * light.hour.night
    for channel in range(3):  # one field of noise, shifted, looks like three
        soft[..., channel] += np.float32(sensor) * np.roll(grain, 7001 * channel + 3001)
    developed: NDArray[np.uint8] = np.clip(soft + 0.5, 0, 255).astype(np.uint8)
    return developed


def _bloom(picture: NDArray[np.float32], glowing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W, 3): the light of what shines, spread around it."""
    height, width = glowing.shape
    lights = Image.fromarray(np.where(glowing[..., None], np.minimum(picture, 255), 0).astype(np.uint8)).reduce(3)
    side = (lights.width * lights.height) ** 0.5
    narrow, wide = (lights.filter(ImageFilter.GaussianBlur(share * side)) for share in (0.008, 0.036))
    spread = Image.blend(narrow, wide, 0.64).resize((width, height))
    return np.float32(1.4) * np.asarray(spread, np.float32)
