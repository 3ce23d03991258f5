"""One file per paper; this list is the table of contents."""

from segwright.models.fast_scnn import fast_scnn
from segwright.models.segmentation_model import (
    SegmentationModel,
    build_model,
    check_options,
    list_models,
    model_builder,
    register_model,
)
from segwright.models.weights import create_model, load_model_file, save_model

__all__ = [
    "SegmentationModel",
    "build_model",
    "check_options",
    "create_model",
    "fast_scnn",
    "list_models",
    "load_model_file",
    "model_builder",
    "register_model",
    "save_model",
]
