from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segwright.data import load_data
from segwright.errors import DataError


def test_a_folder_and_its_data_yaml_are_the_same_data_set(write_data: Callable[..., Path]) -> None:
    root = write_data()
    assert load_data(root) == load_data(str(root / "data.yaml"))
    assert load_data(root).name == "data"
    assert load_data(root).understood == ()


def test_a_data_yaml_goes_before_the_layout(write_data: Callable[..., Path]) -> None:
    root = write_data(images="{split}/images", masks="{split}/masks")
    data = load_data(root)
    assert data.folders["train"].images == root / "images/train"


def test_a_folder_without_data_yaml_is_recognised(write_data: Callable[..., Path]) -> None:
    assert load_data(write_data(yaml="")).classes == ("class 0", "class 1", "class 2")


def test_a_folder_that_does_not_exist_is_answered_with_the_nearest(write_data: Callable[..., Path]) -> None:
    root = write_data(name="streets")
    with pytest.raises(DataError, match=r"does not exist; did you mean 'streets'\?"):
        load_data(root.parent / "street")


def test_a_tilde_is_the_home_folder(write_data: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_data()
    monkeypatch.setenv("HOME", str(root.parent))
    assert load_data("~/data") == load_data(root)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "in the format coco ("),
        ("data.yaml", "names: [car]\ntrain: images\n", "in the format yolo ("),
        ("a.xml", "<annotations></annotations>", "in the format cvat ("),
    ],
)
def test_another_format_is_named_with_the_command_that_brings_it(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    root = tmp_path / "my data"
    root.mkdir()
    (root / file).write_text(text)
    for source in (root, root / file):
        with pytest.raises(DataError) as caught:
            load_data(source)
        assert said in caught.value.message
        assert caught.value.fix == f"bring it: segwright data convert '{source}' --to NEW"


def test_pairs_in_a_layout_of_their_own_are_named_too(tmp_path: Path) -> None:
    for name, value in (("a.png", 90), ("a_mask.png", 1)):
        Image.new("L", (4, 3), value).save(tmp_path / name)
    with pytest.raises(DataError, match=r"in the format index \(masks with the indices 1\)"):
        load_data(tmp_path)


def test_an_archive_is_brought_first(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"data.zip' is an archive; bring it: segwright data convert"):
        load_data(tmp_path / "data.zip")


def test_a_data_yaml_with_a_fault_is_no_other_format(write_data: Callable[..., Path]) -> None:
    root = write_data(yaml="clases: [sky]\n")
    (root / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(DataError, match=r"unknown key 'clases'"):
        load_data(root)
