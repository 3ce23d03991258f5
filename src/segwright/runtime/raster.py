"""Rasters opened by GDAL, through rasterio: what Pillow cannot read, or would cut."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from segwright.errors import MissingExtraError
from segwright.runtime.packages import import_silently

_DRIVERS = {b"\x89PNG": "PNG"}
"""First bytes of a file -> GDAL's driver; all others are TIFFs. Left to choose, GDAL would read kinds of files that
point to other files."""
_opening = threading.Lock()


def import_rasterio(what: str) -> ModuleType:
    """Rasterio, which is optional.

    Args:
        what: needs it, for the message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_silently("rasterio")
    except ModuleNotFoundError as reason:
        if reason.name != "rasterio":
            raise
        raise MissingExtraError(
            f"{what} needs rasterio, which is not installed", fix='pip install "segwright[geo]"'
        ) from reason


@contextmanager
def opened_raster(path: Path) -> Iterator[Any]:
    """A TIFF or a PNG as rasterio's dataset.

    Raises:
        MissingExtraError: rasterio is not installed.
        OSError: it cannot be opened; rasterio's errors are of this kind.
    """
    rasterio = import_rasterio(f"picture '{path}'")
    with path.open("rb") as file:
        driver = _DRIVERS.get(file.read(4), "GTiff")
    with unplaced_allowed(rasterio):
        dataset = rasterio.open(path.absolute(), driver=driver)
    with dataset:
        yield dataset


@contextmanager
def unplaced_allowed(rasterio: ModuleType) -> Iterator[None]:
    """No warning of rasters that are not georeferenced, as pictures are, as a rule."""
    # Filters of warnings belong to the whole process: one thread at a time may change them.
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield
