"""From a path to a data set: by its data.yaml, or by its layout."""

from pathlib import Path

from segwright.data.dataset import SegmentationData, read_data_yaml
from segwright.data.layouts import recognise
from segwright.errors import DataError, did_you_mean


def load_data(source: str | Path) -> SegmentationData:
    """Read a data.yaml, a folder that has one, or a folder whose layout is recognised.

    Args:
        source: path of the file or the folder.

    Raises:
        DataError: nothing there, nothing recognised, or a data.yaml that does not make sense.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return read_data_yaml(path)
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise DataError(
            f"data set '{source}' does not exist{did_you_mean(path.name, siblings)}",
            fix="give a folder of pictures and masks, or a data.yaml",
        )
    if (path / "data.yaml").is_file():
        return read_data_yaml(path / "data.yaml")
    return recognise(path)
