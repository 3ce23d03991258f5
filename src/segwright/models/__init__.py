"""One file per paper; this list is the table of contents."""

from segwright.models.encoder_decoder import DECODERS, NECKS, Decoder, EncoderDecoder, Neck, encoder_decoder
from segwright.models.fast_scnn import fast_scnn
from segwright.models.pspnet import pspnet
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
    "DECODERS",
    "NECKS",
    "Decoder",
    "EncoderDecoder",
    "Neck",
    "SegmentationModel",
    "build_model",
    "check_options",
    "create_model",
    "encoder_decoder",
    "fast_scnn",
    "list_models",
    "load_model_file",
    "model_builder",
    "pspnet",
    "register_model",
    "save_model",
]
