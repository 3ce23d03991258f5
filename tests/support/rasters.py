"""TIFFs written by rasterio."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segwright.runtime.raster import import_rasterio, unplaced_allowed


def placed() -> dict[str, Any]:
    """A place in the north of Italy, 20 cm a pixel."""
    from affine import Affine

    return {"crs": "EPSG:32632", "transform": Affine(0.2, 0, 500_000, 0, -0.2, 5_000_000)}


def pattern(height: int, width: int, bands: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """(H, W, bands): smooth blobs over the type's whole range."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, bands), dtype=np.uint8)
    layers = [
        Image.fromarray(coarse[..., band]).resize((width, height), Image.Resampling.BICUBIC) for band in range(bands)
    ]
    image = np.stack([np.asarray(layer) for layer in layers], axis=-1)
    return image if dtype == "uint8" else (image.astype(np.float64) * 257).astype(dtype)


def write_tiff(path: Path, image: np.ndarray, *, mask: np.ndarray | None = None, **profile: Any) -> Path:
    """(H, W, bands) as TIFF; ``mask`` (H, W) tells where there is data."""
    rasterio = import_rasterio("a test")
    height, width, bands = image.shape
    shape = {"height": height, "width": width, "count": bands, "dtype": image.dtype.name}
    with (
        unplaced_allowed(rasterio),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file,
    ):
        file.write(np.moveaxis(image, -1, 0))
        if mask is not None:
            file.write_mask(mask)
    return path
