import errno
from pathlib import Path

import pytest

from segwright.data.writing import naming_os_errors, write_head
from segwright.errors import RunError
from segwright.runtime.folders import new_folder


@pytest.mark.parametrize("is_link", [False, True])
def test_a_name_that_is_too_long_is_told_as_it_would_lie_in_the_target(tmp_path: Path, is_link: bool) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.jpg").touch()
    target, name = tmp_path / "new", "x" * 256
    with pytest.raises(RunError) as caught, naming_os_errors(tmp_path / "source", target), new_folder(target) as folder:
        if is_link:
            (folder / name).symlink_to(tmp_path / "source/a.jpg")
        (folder / name).touch()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENAMETOOLONG
    assert caught.value.message == f"could not write '{target / name}': File name too long"
    assert caught.value.fix.startswith("shorten the name")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_head_may_name_a_folder_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: .\n")
    write_head(tmp_path / "data.yaml", ["shared out from bad\udcff"])
    assert (tmp_path / "data.yaml").read_text() == "# shared out from bad\\udcff\npath: .\n"
