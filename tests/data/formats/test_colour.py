from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segwright.data.formats.tables import read_colours
from segwright.errors import DataError

from .conftest import SIZE, Converted

Run = Callable[..., Converted]
Write = Callable[..., Path]

TABLE = "name,r,g,b\nVoid,0,0,0\nroad surface,128,64,128\ncar,0,0,142\n"


@pytest.fixture
def colours(picture: Write, mask_file: Write) -> np.ndarray:
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[10:30], mask[30:] = (128, 64, 128), (0, 0, 142)
    picture("train/a.png")
    mask_file("train_labels/a_L.png", mask)
    return mask


def test_colours_are_looked_up_in_class_dict_and_void_is_ignored(
    colours: np.ndarray, converted: Run, tmp_path: Path
) -> None:
    (tmp_path / "source" / "class_dict.csv").write_text(TABLE)
    result = converted()
    assert result.data.classes == ("road surface", "car")
    assert result.data.palette == ((128, 64, 128), (0, 0, 142))
    assert (result.mask("a")[:10] == 255).all()
    assert (result.mask("a")[10:30] == 0).all()
    assert (result.mask("a")[30:] == 1).all()
    assert result.said("'Void' is ignored in loss and scores (--ignore none keeps it)")


def test_ignore_none_keeps_void(colours: np.ndarray, converted: Run, tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_text(TABLE)
    result = converted(palette=tmp_path / "table.txt", ignore=("none",))
    assert result.data.classes == ("Void", "road surface", "car")
    assert (result.mask("a")[:10] == 0).all()


def test_colours_without_a_table_are_refused(colours: np.ndarray, converted: Run) -> None:
    with pytest.raises(DataError, match="no table says what its colours mean; give --palette FILE"):
        converted()


def test_an_unknown_colour_is_named_with_the_nearest(
    colours: np.ndarray, mask_file: Write, converted: Run, tmp_path: Path
) -> None:
    (tmp_path / "source" / "class_dict.csv").write_text(TABLE)
    colours[0, :3] = (127, 64, 120)
    mask_file("train_labels/a_L.png", colours)
    with pytest.raises(DataError, match=r"127,64,120 \(3 px\); nearest is 'road surface' 128,64,128"):
        converted()


@pytest.mark.parametrize(
    "line",
    ["road,128,64,128", "128 64 128\troad", "road:128,64,128::", "0 128 64 128 road", "7, road, 128, 64, 128, 1"],
)
def test_tables_of_many_tools_are_read(tmp_path: Path, line: str) -> None:
    path = tmp_path / "table.txt"
    path.write_text(f"# comment\n{line}\nTraffic light,250,170,30\n")
    table = read_colours(path)
    assert table.names == ("road", "Traffic light")
    assert table.colours == ((128, 64, 128), (250, 170, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,r,g,b\nroad\n", "line 2 is no class with a colour"),
        ("a,1,2,3\na,4,5,6\n", "class name 'a' stands twice"),
        ("a,1,2,3\nb,1,2,3\n", r"colour \(1, 2, 3\) to two classes"),
        ("a,1,2,300\n", "line 1 is no class with a colour"),
        ("\n", "holds no class"),
    ],
)
def test_a_bad_table_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_colours(path)
