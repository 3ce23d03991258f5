from collections.abc import Callable
from pathlib import Path

import pytest

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
