from pathlib import Path

import pytest

from segwright.analysis.out_file import check_out_file
from segwright.errors import ConfigError

from .pairs import mask_of, write_pairs


def test_a_new_file_in_a_folder_that_exists_is_fine(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)]})
    check_out_file(tmp_path / "page.HTML", (".html",), data)
    check_out_file(tmp_path / "data" / "page.html", (".html",), data)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("page.pdf", r"page\.pdf' does not end in \.html or \.htm.*write --out .*page\.html"),
        ("page", r"does not end in"),
        (".", r"is a folder"),
        ("none/page.html", r"none' of --out does not exist"),
        ("data/images/train/page.html", r"lies in .*images/train', among the files of train"),
        ("data/masks/train/page.html", r"lies in .*masks/train'"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, name: str, says: str) -> None:
    data = write_pairs(tmp_path / "data", {"train": [mask_of(0)]})
    with pytest.raises(ConfigError, match=says):
        check_out_file(tmp_path / name, (".html", ".htm"), data)
