"""Masks of any size, written in parts as GeoTIFF, by rasterio (extra ``geo``)."""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from segwright.errors import RunError, SegmentationError
from segwright.info import Colour
from segwright.runtime.files import replacing
from segwright.runtime.raster import import_rasterio, opened_raster, unplaced_allowed
from segwright.runtime.tiles import Box
from segwright.runtime.windowed import Place, part_of

BLOCK = 512
"""Height and width of the blocks."""


class RasterWriter:
    """A TIFF of one band, written a row of blocks at a time. Used as a context.

    Deflate-compressed in blocks of 512x512. The file is there when the context ends well, whole; otherwise what was
    there before.

    Args:
        path: the file; its folder must exist.
        size: (height, width).
        dtype: ``uint8`` or ``uint16``.
        place: where it lies.
        nodata: the value that means no data.
        colours: of the values from 0 on; None for grey.
        names: of the values from 0 on.

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        dtype: str,
        place: Place,
        *,
        nodata: int,
        colours: Sequence[Colour] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        rasterio = import_rasterio(f"picture '{path}'")
        self.path = path
        self._sums: list[tuple[Box, int]] = []
        profile = {
            "driver": "GTiff", "height": size[0], "width": size[1], "count": 1, "dtype": dtype, "nodata": nodata,
            "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1,
            "BIGTIFF": "IF_SAFER", "crs": place.crs, "transform": place.transform,
        }  # fmt: skip
        with ExitStack() as stack, _writing(path):
            self._temporary = stack.enter_context(replacing(path, durable=False))
            stack.push(self._check)
            # What a TIFF cannot hold would go into a file of another name beside it.
            stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO"))
            with unplaced_allowed(rasterio):
                self._file = stack.enter_context(rasterio.open(self._temporary.absolute(), "w", **profile))
            if place.gcps:
                self._file.gcps = place.gcps
            if place.rpcs:
                self._file.rpcs = place.rpcs
            if colours is not None:
                self._file.write_colormap(1, {value: (*colour, 255) for value, colour in enumerate(colours)})
            if names:
                self._file.update_tags(1, CLASSES=json.dumps(dict(enumerate(names))))
            self._stack = stack.pop_all()

    def __enter__(self) -> "RasterWriter":
        return self

    def write(self, top: int, left: int, values: NDArray[np.uint8 | np.uint16]) -> None:
        """Write a part; ``top`` and ``left`` should be multiples of :data:`BLOCK`, which is written once then.

        Raises:
            RunError: the file cannot be written.
        """
        box = Box(top, left, *values.shape)
        self._sums.append((box, zlib.crc32(values.tobytes())))
        with _writing(self.path):
            self._file.write(values, 1, window=part_of(box))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _writing(self.path):
            self._stack.__exit__(kind, error, trace)

    def _check(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read it back: GDAL keeps silent about a disk that is full when the file is closed."""
        if error is None:
            with _writing(self.path), opened_raster(self._temporary) as file:
                for box, checksum in self._sums:
                    if zlib.crc32(file.read(1, window=part_of(box)).tobytes()) != checksum:
                        raise OSError("what was written reads differently")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except SegmentationError:
        raise
    except Exception as reason:  # OSError, and GDAL's own
        text = " ".join(str(reason.__cause__ or reason).split())[:200]
        raise RunError(f"could not write {path}: {text}", fix="free space, or write to another disk") from reason
