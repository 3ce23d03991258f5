"""A good data set of eight pictures, and one into which faults are planted."""

from pathlib import Path

import pytest

from ..faults import Plot


@pytest.fixture
def plot(tmp_path: Path) -> Plot:
    """Pairs train_0 to train_4 and val_0 to val_2, without a fault."""
    plot = Plot(tmp_path / "data")
    for split, count in (("train", 5), ("val", 3)):
        plot.image("", split).mkdir(parents=True)
        plot.mask("", split).mkdir(parents=True)
        for index in range(count):
            plot.pair(f"{split}_{index}", split)
    plot.write_yaml()
    return plot
