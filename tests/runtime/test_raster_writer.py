import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwright.errors import RunError
from segwright.runtime.raster import unplaced_allowed
from segwright.runtime.raster_writer import BLOCK, RasterWriter
from segwright.runtime.windowed import Place, Raster
from tests.support.extras import needs
from tests.support.rasters import pattern, placed, write_tiff

needs("rasterio")

NOWHERE = Place(None, None, None, None)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    import rasterio

    with rasterio.open(path) as file:
        yield file


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_parts_become_the_whole(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 40, (BLOCK + 30, 2 * BLOCK + 7)).astype(dtype)
    with RasterWriter(
        tmp_path / "a.tif", values.shape, dtype, Place(**placed(), gcps=None, rpcs=None), nodata=255
    ) as writer:
        for left, right in ((0, BLOCK), (BLOCK, values.shape[1])):
            for top in (0, BLOCK):
                writer.write(top, left, values[top : top + BLOCK, left:right])
    with opened(tmp_path / "a.tif") as file:
        assert np.array_equal(file.read(1), values)
        assert (file.dtypes, file.nodata, file.count) == ((dtype,), 255, 1)
        assert file.block_shapes == [(BLOCK, BLOCK)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_and_names_are_in_the_file(tmp_path: Path, dtype: str) -> None:
    with RasterWriter(
        tmp_path / "a.tif", (20, 30), dtype, Place(**placed(), gcps=None, rpcs=None), nodata=255,
        colours=[(1, 2, 3), (250, 0, 9)], names=("sky", "road"),
    ) as writer:  # fmt: skip
        writer.write(0, 0, np.ones((20, 30), dtype))
    with opened(tmp_path / "a.tif") as file:
        assert [file.colormap(1)[value] for value in (0, 1)] == [(1, 2, 3, 255), (250, 0, 9, 255)]
        assert json.loads(file.tags(1)["CLASSES"]) == {"0": "sky", "1": "road"}


def test_georeference_is_kept(tmp_path: Path) -> None:
    import rasterio
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS

    image = pattern(20, 30)
    paths = [write_tiff(tmp_path / "placed.tif", image, **placed()), write_tiff(tmp_path / "points.tif", image)]
    points = [
        GroundControlPoint(row, column, 11 + column / 1e5, 46 - row / 1e5) for row, column in ((0, 0), (0, 29), (19, 3))
    ]
    with unplaced_allowed(rasterio), rasterio.open(paths[1], "r+") as file:
        file.gcps = points, CRS.from_epsg(4326)
    for path in paths:
        with (
            Raster(path) as raster,
            RasterWriter(tmp_path / "out.tif", (20, 30), "uint8", raster.place, nodata=255) as writer,
        ):
            writer.write(0, 0, np.zeros((20, 30), np.uint8))
        with opened(path) as given, opened(tmp_path / "out.tif") as written:
            assert (written.crs, written.transform) == (given.crs, given.transform)
            assert [point.asdict() | {"id": None} for point in written.gcps[0]] == [
                point.asdict() | {"id": None} for point in given.gcps[0]
            ]
            assert written.gcps[1] == given.gcps[1]


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("former")
    with (
        pytest.raises(KeyboardInterrupt),
        RasterWriter(tmp_path / "a.tif", (20, 30), "uint8", NOWHERE, nodata=255) as writer,
    ):
        writer.write(0, 0, np.zeros((20, 30), np.uint8))
        raise KeyboardInterrupt
    assert [path.read_text() for path in tmp_path.iterdir()] == ["former"]


@pytest.mark.parametrize("side", [100, 2 * BLOCK])
def test_a_full_disk_is_told_and_leaves_the_former_file(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.tif").write_text("former")
    noise = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with (
            pytest.raises(RunError, match=r"could not write .*a\.tif"),
            RasterWriter(tmp_path / "a.tif", noise.shape, "uint8", NOWHERE, nodata=255) as writer,
        ):
            writer.write(0, 0, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["former"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"could not write .*a\.tif"):
        RasterWriter(tmp_path / "none" / "a.tif", (20, 30), "uint8", NOWHERE, nodata=255)
