import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from segwright.analysis.bounds import Bound, Limits, Sample
from segwright.analysis.chart import check_chart_path
from segwright.analysis.limits_chart import write_limits_chart
from segwright.errors import ConfigError


def draw(
    path: Path, *, strides: tuple[int, ...] = (4, 8, 16), lengths: tuple[int, ...] = (32, 64), classes: int = 5
) -> None:
    names = [f"class {index}" for index in range(classes)]
    bounds = []
    for stride in strides:
        for upsampler, length in (
            ("nearest", None),
            ("bilinear", None),
            *(("dupsampling", length) for length in lengths),
        ):
            miou = 1 - stride / 50 + (length or 0) / 1000
            ious = {name: max(0.0, miou - index / 20) for index, name in enumerate(names)}
            bounds.append(Bound(stride, upsampler, length, miou, {**ious, "absent": None}, miou))
    write_limits_chart(Limits("yard", Sample("val", 3, 3), Sample("train", 5, 5), 0, tuple(bounds)), path)


def test_a_png_opens_and_has_something_on_it(tmp_path: Path) -> None:
    draw(tmp_path / "limits.PNG")
    with Image.open(tmp_path / "limits.PNG") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 400
        pixels = np.asarray(picture.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_an_svg_is_well_formed_and_the_same_each_time(tmp_path: Path) -> None:
    draw(tmp_path / "a.svg")
    draw(tmp_path / "b.svg")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "options", [{"strides": (8,), "lengths": ()}, {"lengths": (1, 2, 3, 4, 5, 6, 7)}, {"classes": 1}, {"classes": 30}]
)
def test_any_number_of_lines_and_classes_can_be_drawn(tmp_path: Path, options: dict[str, int]) -> None:
    draw(tmp_path / "limits.svg", **options)
    assert (tmp_path / "limits.svg").stat().st_size > 5000


def test_class_names_are_not_read_as_formulas(tmp_path: Path) -> None:
    bound = Bound(8, "bilinear", None, 0.5, {"$a_": 0.5, "$b^$": 0.4}, 0.5)
    write_limits_chart(Limits("$x", Sample("val", 1, 1), Sample("train", 1, 1), 0, (bound,)), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").is_file()


@pytest.mark.parametrize("name", ["limits.pdf", "limits", "limits.jpg"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"got '{tmp_path / name}'"):
        draw(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_or_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        check_chart_path(tmp_path / "folder.svg")
    with pytest.raises(ConfigError, match="does not exist"):
        check_chart_path(tmp_path / "none" / "limits.svg")


def test_the_style_of_other_charts_is_left_alone(tmp_path: Path) -> None:
    keys = [key for key in rcParams if key != "backend"]  # which is looked for when it is first read
    before = [rcParams[key] for key in keys]
    draw(tmp_path / "limits.png")
    assert [rcParams[key] for key in keys] == before
