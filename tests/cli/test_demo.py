from pathlib import Path

import pytest

from segwright.cli import demo

from .conftest import Command


def test_demo_ends_with_pictures_and_can_be_called_again(
    segwright: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "COUNTS", {"train": 8, "val": 2, "test": 2})
    monkeypatch.setattr(demo, "SIZE", (64, 96))
    quick = {"data.crop_size": (64, 96), "train.batch_size": 2, "data.workers": 0}
    monkeypatch.setattr(demo, "SETTINGS", {**demo.SETTINGS, **quick})
    result = segwright("demo", "--out", tmp_path / "demo", "--minutes", 0.05)
    assert result.code == 0
    pictures = [Path(line.split()[-1]) for line in result.out.splitlines() if line.startswith("picture")]
    assert len(pictures) == 2
    assert all(picture.is_file() for picture in pictures)
    assert "test mIoU" in result.out
    assert "next: segwright evaluate" in result.err
    again = segwright("demo", "--out", tmp_path / "demo", "--minutes", 0.05)
    assert again.out == result.out
    assert "is there already" in again.err
