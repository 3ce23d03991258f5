"""The sky: gradient, sun or moon, and clouds on a layer that runs to the horizon."""

import numpy as np
from numpy.typing import NDArray

from segwright.data.synthetic.light import Light, sun_height_in_pixels
from segwright.data.synthetic.noise import sample, smoothstep
from segwright.data.synthetic.stage import Camera

Pixels = NDArray[np.float32]


def paint_sky(width: int, camera: Camera, light: Light, noise: Pixels) -> Pixels:
    """(camera.horizon, width, 3) float32 in 0..255."""
    rows = np.arange(camera.horizon, dtype=np.float32)[:, None] + np.float32(0.5)
    columns = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5)
    descent = (rows / camera.horizon).astype(np.float32)  # 0 at the upper edge, 1 at the horizon
    zenith, horizon = (np.array(colour, np.float32) for colour in (light.hour.zenith, light.hour.horizon))
    sky = zenith + (horizon - zenith) * (descent**1.6)[..., None]
    sky = np.broadcast_to(sky, (camera.horizon, width, 3)).copy()
    glow = _sun(sky, rows, columns, camera, light)
    _clouds(sky, descent, columns, camera, light, noise, glow)
    return np.clip(sky, 0, 255)


def _sun(sky: Pixels, rows: Pixels, columns: Pixels, camera: Camera, light: Light) -> Pixels:
    """Paint the sun (a moon at night) into the sky; return its halo, 0..1."""
    x, _, z = light.sun
    moon = light.hour.night == 1.0
    if z <= 0.15 and not moon:
        return np.zeros(sky.shape[:2], np.float32)
    column = camera.centre + camera.focal * x / max(z, 0.4) * 0.8
    row = camera.horizon - (camera.horizon * 0.75 if moon else sun_height_in_pixels(light, camera.focal))
    distance = np.hypot(columns - column, rows - row) / camera.focal
    strength = 0.12 if moon else 0.25 + 0.75 * max(light.hour.sun[0], 0.3)
    halo: Pixels = (strength * np.exp(-distance / (0.1 if moon else 0.22))).astype(np.float32)
    overcast = light.clouds > 0.78
    disc = 1 - smoothstep(0.028, 0.034, distance) if not overcast else np.zeros_like(distance)
    warm = np.array((235, 238, 245) if moon else (255, 226, 170), np.float32)
    bright = np.array((246, 246, 236) if moon else (255, 247, 222), np.float32)
    sky += (warm - sky) * (0.85 * halo)[..., None]
    sky += (bright - sky) * disc[..., None]
    return halo


def _clouds(
    sky: Pixels, descent: Pixels, columns: Pixels, camera: Camera, light: Light, noise: Pixels, halo: Pixels
) -> None:
    distance = (1 / (1.12 - descent)).astype(np.float32)  # to the layer of clouds, in its own height
    x = (42 * distance * (columns - camera.centre) / camera.focal + 17).astype(np.float32)
    y = 46 * distance
    density = sample(noise, x, y)
    towards_sun = sample(noise, x + np.float32(3 if light.sun[0] >= 0 else -3), y - 3)
    threshold = 1.1 - 2.4 * light.clouds
    cover = smoothstep(threshold, threshold + 1.1, density) * (1 - 0.75 * descent**3)
    relief = np.clip(0.5 + 0.35 * (density - towards_sun), 0, 1)[..., None]
    hour = light.hour
    ambient = np.array(hour.ambient, np.float32)
    lit = np.clip(np.array((255, 252, 248), np.float32) * (ambient * 0.75 + 0.55 * np.array(hour.sun) + 0.12), 0, 255)
    dark = 0.5 * lit + 0.5 * np.array(hour.zenith, np.float32)
    if 0 < hour.night < 1 and hour.sun[0] > 0.12:  # the low sun colours the clouds from below
        lit = 0.4 * lit + 0.6 * np.array(hour.horizon, np.float32)
    cloud = dark + (lit - dark) * np.clip(relief + 0.5 * halo[..., None], 0, 1)
    sky += (cloud - sky) * (0.9 * cover)[..., None]
