"""Trained networks by file, run folder or id."""

from pathlib import Path

from segwright.errors import WeightsError, did_you_mean
from segwright.models import SegmentationModel
from segwright.models.weights import load_model_file, model_file_of
from segwright.zoo.catalog import catalog


def load_model(path_or_id: str | Path) -> SegmentationModel:
    """A trained network, in evaluation mode; its ``info`` says what the model file says.

    Args:
        path_or_id: a model file (``.safetensors``), a run folder that holds one, or an id of the catalog.

    Raises:
        WeightsError: nothing of that name, a file that cannot be used, or an entry without published weights.
    """
    if Path(path_or_id).exists():
        return load_model_file(model_file_of(path_or_id))
    name = Path(path_or_id).as_posix()
    ids = [entry.id for entry in catalog()]
    if name in ids:
        raise WeightsError(
            f"'{name}' is an architecture without published weights to load",
            fix=f"segwright.zoo.create('{name}') builds it with fresh weights",
        )
    raise WeightsError(
        f"'{name}' is neither a model file, nor a run folder, nor an id of the catalog{did_you_mean(name, ids)}",
        fix="give a model.safetensors, a folder that segwright train wrote, or an id of segwright.zoo.catalog()",
    )
