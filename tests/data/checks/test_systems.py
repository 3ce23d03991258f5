"""Georeferenced pictures of a set lie in one coordinate system."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import check_data
from tests.support.extras import needs
from tests.support.rasters import placed, write_tiff

from ..faults import Plot

needs("rasterio")


def place(plot: Plot, stem: str, split: str, system: str | None = None) -> Path:
    """Make a pair's picture a TIFF that says where it lies."""
    drawn = plot.image(f"{stem}.png", split)
    where = placed() | ({} if system is None else {"crs": system})
    path = write_tiff(drawn.with_suffix(".tif"), np.array(Image.open(drawn)), **where)
    drawn.unlink()
    return path


def place_all(plot: Plot) -> None:
    for split, count in (("train", 5), ("val", 3)):
        for index in range(count):
            if plot.image(f"{split}_{index}.png", split).exists():
                place(plot, f"{split}_{index}", split)


def test_pictures_of_another_coordinate_system_than_most_are_an_error(plot: Plot) -> None:
    odd = place(plot, "val_1", "val", "EPSG:32633")
    place_all(plot)
    (problem,) = check_data(plot.root).problems
    assert (problem.code, problem.severity, problem.file, problem.count) == ("mixed-crs", "error", str(odd), 1)
    assert "1 picture of val lies in EPSG:32633, where most lie in EPSG:32632" in problem.message
    assert "gdalwarp" in problem.fix


def test_one_coordinate_system_is_no_problem(plot: Plot) -> None:
    place_all(plot)
    assert check_data(plot.root).problems == ()


def test_without_rasterio_nobody_looks(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    place(plot, "val_1", "val", "EPSG:32633")
    place_all(plot)
    monkeypatch.setattr("segwright.data.checks.pictures.has_rasterio", lambda: False)
    assert check_data(plot.root).ok
