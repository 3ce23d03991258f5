"""Pictures of any size, read in parts: GeoTIFF and other TIFFs, by rasterio (extra ``geo``)."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import DataError, SegmentationError
from segwright.runtime.bands import BandArray, as_bands
from segwright.runtime.raster import import_rasterio, opened_raster
from segwright.runtime.stored import stored_as
from segwright.runtime.tiles import Box

UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

RASTER_PIXELS = 1 << 26
"""64 megapixels: a larger TIFF is read in parts, and its mask written in parts."""

logger = logging.getLogger(__name__)

_SUFFIXES = (".tif", ".tiff")
_WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".wld")

_LEAST_CACHE, _MOST_CACHE = 64 << 20, 512 << 20
"""Bytes of decoded blocks that GDAL keeps; its own choice is a twentieth of the machine's memory."""

_LARGEST_BLOCK = 256 << 20
"""Bytes of a block, decoded: it is read whole or not at all."""

_PIXELS_PER_BYTE = 10_000
"""A file that declares more is damaged or made to fill the memory; deflate reaches 1000, an empty tile 16,000."""

_SEEN = {"gray", "undefined", "red", "green", "blue", "palette", "alpha"}
"""Colour interpretations that become RGB."""


def is_raster(path: Path) -> bool:
    """Whether a picture is a TIFF that is georeferenced, or too large to be read whole.

    Such a one is read in parts, and its mask becomes a TIFF in the same place on earth. Without rasterio georeferenced
    ones are pictures like others, with a warning.
    """
    if path.suffix.lower() not in _SUFFIXES:
        return False
    try:
        stored = stored_as(path)
    except DataError:  # told where it is read
        return False
    limit = RASTER_PIXELS if Image.MAX_IMAGE_PIXELS is None else min(RASTER_PIXELS, Image.MAX_IMAGE_PIXELS)
    if stored.size[0] * stored.size[1] > limit:
        return True
    is_placed = stored.is_placed or any(path.with_suffix(suffix).exists() for suffix in _WORLD_FILES)
    if is_placed and find_spec("rasterio") is None:
        logger.warning("georeferences are lost, '%s' has one: to keep it, pip install \"segwright[geo]\"", path)
        return False
    return is_placed


class Place(NamedTuple):
    """Where a raster lies, as rasterio has it; all empty where it is not georeferenced."""

    crs: Any
    transform: Any
    gcps: Any
    rpcs: Any


class RasterFacts(NamedTuple):
    """What rasters of one data set should have in common, and their size.

    Args:
        size: (height, width).
        bands: all of them, alpha included.
        dtype: of the values, ``uint8`` for example.
        crs: the coordinate reference system in words, ``EPSG:32632`` for example; None where there is none.
        pixel: (height, width) of a pixel in units of the CRS; None where it is not georeferenced.
        nodata: the value that means no data; None where there is none.
    """

    size: tuple[int, int]
    bands: int
    dtype: str
    crs: str | None
    pixel: tuple[float, float] | None
    nodata: float | None


class Raster:
    """A TIFF whose parts are read when they are asked for. Used as a context.

    For RGB networks by the rules of ``read_image`` (8 bits; grey and palettes become RGB, alpha is left out), for
    networks of other bands by those of ``read_bands``, where pixels without data get ``fill``. Values are as stored:
    an orientation tag is not applied.

    Args:
        path: the file.
        bands: that the network reads as stored; None for RGB.
        fill: of each band, in units of the file.
        rows: that windows will have; so many of a raster that is stored in whole rows are kept decoded, up to 512 MB.

    Attributes:
        size: (height, width).
        has_gaps: whether pixels without data are marked, by a value, a mask or alpha.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: no TIFF, damaged, of other bands than the network's, or of a kind that is not read; names the file.
    """

    def __init__(
        self, path: Path, bands: int | None = None, fill: Sequence[float] | None = None, rows: int = 1024
    ) -> None:
        self.path, self.name, self.bands, self.fill = path, f"picture '{path}'", bands, fill
        rasterio = import_rasterio(self.name)
        with ExitStack() as stack, _reading(self.name, "header"):
            stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_LEAST_CACHE))
            self._file = stack.enter_context(opened_raster(path))
            self.size: tuple[int, int] = (self._file.height, self._file.width)
            self._refuse_storage()
            self._warn_of_storage()
            self._order_bands()
            self._keep_rows(rasterio, rows)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Raster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def place(self) -> Place:
        """Where it lies.

        Raises:
            DataError: its georeference is damaged.
        """
        with _reading(self.name, "georeference"):
            transform = None if self._file.transform.is_identity else self._file.transform
            gcps = self._file.gcps
            return Place(self._file.crs, transform, gcps if gcps[0] else None, self._file.rpcs)

    def read(self, box: Box) -> BandArray:
        """(h, w, bands) of a part.

        Raises:
            DataError: the file is truncated or damaged there, or a value is no number.
        """
        values = self._values(self._bands, box)
        pixels: NDArray[Any] = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        if self._table is not None:
            pixels = self._table[values[0]]
        if self.bands is None:
            return pixels
        valid = self.valid(box)
        if valid is not None and self.fill is not None:
            pixels[~valid] = np.array(self.fill).astype(pixels.dtype)
        return as_bands(pixels, self.bands, self.name)

    def valid(self, box: Box) -> BoolArray | None:
        """(h, w): which pixels of a part hold data; None where all do.

        Raises:
            DataError: the file is truncated or damaged there.
        """
        if self._gaps is None:
            return None
        if self._gaps == "alpha" and self._alpha is not None:
            valid: BoolArray = self._values([self._alpha], box)[0] > 0
        elif self._gaps == "nodata":
            values = self._values(self._bands, box)
            is_empty = np.isnan(values) if np.isnan(self._file.nodata) else values == self._file.nodata
            valid = ~is_empty.all(0)
        else:
            with _reading(self.name, _rows(box)):
                valid = self._file.read_masks(self._bands[0], window=part_of(box)) > 0
        return None if valid.all() else valid

    def _values(self, bands: Sequence[int], box: Box) -> NDArray[Any]:
        with _reading(self.name, _rows(box)):
            values: NDArray[Any] = self._file.read(list(bands), window=part_of(box))
        return values

    def _refuse_storage(self) -> None:
        """What would fill the memory, or be read as something else."""
        bytes_there, (height, width) = max(1, self.path.stat().st_size), self.size
        if height * width > max(_PIXELS_PER_BYTE * bytes_there, RASTER_PIXELS):
            raise DataError(
                f"{self.name} declares {width}x{height} px (width x height) in {bytes_there} bytes",
                fix="copy it again; it is damaged or empty",
            )
        block_height, block_width = self._file.block_shapes[0]
        if block_height * block_width * self._bytes_per_pixel() > _LARGEST_BLOCK:
            raise DataError(
                f"{self.name} is stored in blocks of {block_width}x{block_height} px (width x height), which cannot be "
                "read in parts",
                fix=f"make it tiled: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE {self.path} TILED.tif",
            )
        if "CMYK" in self._file.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE", ""):
            raise DataError(f"{self.name} stores CMYK, which is not read in parts", fix="convert to RGB")

    def _warn_of_storage(self) -> None:
        """What is passed over."""
        stored = stored_as(self.path)
        if stored.has_pages:
            logger.warning("%s has several pages; the first is read", self.name)
        if stored.orientation not in (0, 1):
            logger.warning("%s has orientation %d, which is not applied", self.name, stored.orientation)

    def _order_bands(self) -> None:
        """Which bands are read, what their values mean, and by what pixels without data are marked."""
        names = [band.name for band in self._file.colorinterp]
        self._alpha = names.index("alpha") + 1 if "alpha" in names else None
        self._bands = list(self._file.indexes) if self.bands else self._colours(names)
        is_table = len(self._bands) == 1 and self._file.dtypes[self._bands[0] - 1] == "uint8"
        self._table = self._grey_or_palette() if is_table else None
        flags = {flag.name for flag in self._file.mask_flag_enums[self._bands[0] - 1]}
        self._gaps = _gaps(flags, is_alpha_free=self._alpha is not None and self._alpha not in self._bands)
        self.has_gaps = self._gaps is not None

    def _bytes_per_pixel(self) -> int:
        """Of all bands, which most files store together."""
        return sum(np.dtype(dtype).itemsize for dtype in self._file.dtypes)

    def _colours(self, names: Sequence[str]) -> list[int]:
        """The numbers of one band of grey or palette, or of red, green and blue."""
        if {*self._file.dtypes} != {"uint8"}:
            raise DataError(
                f"{self.name} has more than 8 bits per channel ({self._file.dtypes[0]})",
                fix="convert to 8 bit (which range of values becomes 0..255 is yours to choose), or take a network "
                "that was trained on such pictures",
            )
        colours = [number for number, name in enumerate(names, start=1) if name != "alpha"]
        if not _SEEN.issuperset(names) or len(colours) not in (1, 3):
            raise DataError(
                f"{self.name} has {len(colours)} bands ({', '.join(names)}), and the network reads 3 (RGB)",
                fix="convert to RGB, or take a network that was trained on such pictures",
            )
        if sorted(names[number - 1] for number in colours) == ["blue", "green", "red"]:
            colours.sort(key=lambda number: ("red", "green", "blue").index(names[number - 1]))
        return colours

    def _grey_or_palette(self) -> UInt8Array:
        """(256, 3), or (256, 1) as stored: what each value of the only band means."""
        band = self._bands[0]
        if self._file.colorinterp[band - 1].name == "palette":
            colours = self._file.colormap(band)
            return np.array([colours.get(value, (0, 0, 0))[:3] for value in range(256)], np.uint8)
        bits = int(self._file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", 8))
        levels = np.minimum(np.arange(256), 2**bits - 1) * 255 // (2**bits - 1)
        if self._file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
            levels = 255 - levels
        return np.repeat(levels.astype(np.uint8)[:, None], 3 if self.bands is None else 1, axis=1)

    def _keep_rows(self, rasterio: Any, rows: int) -> None:
        """Room for a band of windows where every read decodes whole rows; else each window decodes them anew."""
        block_height, block_width = self._file.block_shapes[0]
        if block_width < self.size[1]:
            return
        room = (rows + 2 * block_height) * self.size[1] * self._bytes_per_pixel()
        rasterio.env.setenv(GDAL_CACHEMAX=min(max(room, _LEAST_CACHE), _MOST_CACHE))
        if room > _MOST_CACHE:
            logger.warning("%s is stored in rows, which are decoded several times; tiled, it is faster", self.name)


def raster_facts(path: Path) -> RasterFacts:
    """What a TIFF is, of any type and number of bands; nothing is decoded.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: not a TIFF that can be read.
    """
    with _reading(f"picture '{path}'", "header"), opened_raster(path) as file:
        crs, transform = file.crs, file.transform
        return RasterFacts(
            size=(file.height, file.width), bands=file.count, dtype=str(file.dtypes[0]),
            crs=crs.to_string() if crs else None,
            pixel=None if transform.is_identity else (file.res[0], file.res[1]), nodata=file.nodata,
        )  # fmt: skip


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Names the file and the part in whatever goes wrong while it is read."""
    try:
        yield
    except SegmentationError:
        raise
    except Exception as reason:  # of several families: OSError, GDAL's own, MemoryError
        text = " ".join(str(reason.__cause__ or reason).split())[:200]
        raise DataError(
            f"{name} cannot be read ({part}: {text})", fix="copy it again or save it anew as TIFF"
        ) from reason


def _gaps(flags: set[str], *, is_alpha_free: bool) -> Literal["alpha", "nodata", "mask"] | None:
    """By what pixels without data are marked; alpha that the network reads as a band marks nothing."""
    if "alpha" in flags:
        return "alpha" if is_alpha_free else None
    if "nodata" in flags:
        return "nodata"
    return "mask" if "per_dataset" in flags else None


def part_of(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    """A box as rasterio wants it: first and end of its rows and of its columns."""
    return (box.top, box.top + box.height), (box.left, box.left + box.width)


def _rows(box: Box) -> str:
    return f"rows {box.top} to {box.top + box.height - 1}"
