"""Street scenes small enough to train on within a test."""

from pathlib import Path

import pytest

from segwright.data.synthetic import write_dataset


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures to train on and three to validate on, of 64x96."""
    return write_dataset(
        tmp_path_factory.mktemp("scenes") / "streets", counts={"train": 8, "val": 3}, size=(64, 96), seed=3
    )
