"""One file per paper; this list is the table of contents."""

from segwright.models.bisenet import bisenet
from segwright.models.danet import danet
from segwright.models.deeplabv3 import at_output_stride, deeplabv3
from segwright.models.deeplabv3plus import deeplabv3plus
from segwright.models.dupsampling import dupsampling
from segwright.models.encnet import encnet
from segwright.models.encoder_decoder import DECODERS, NECKS, Decoder, EncoderDecoder, Neck, encoder_decoder
from segwright.models.fast_scnn import fast_scnn
from segwright.models.fastfcn import fastfcn
from segwright.models.fcn import fcn
from segwright.models.gated_scnn import gated_scnn
from segwright.models.icnet import icnet
from segwright.models.pspnet import pspnet
from segwright.models.segmentation_model import (
    SegmentationModel,
    build_model,
    check_options,
    list_models,
    model_builder,
    register_model,
)
from segwright.models.transfer import create_model
from segwright.models.weights import load_model_file, save_model

__all__ = [
    "DECODERS",
    "NECKS",
    "Decoder",
    "EncoderDecoder",
    "Neck",
    "SegmentationModel",
    "at_output_stride",
    "bisenet",
    "build_model",
    "check_options",
    "create_model",
    "danet",
    "deeplabv3",
    "deeplabv3plus",
    "dupsampling",
    "encnet",
    "encoder_decoder",
    "fast_scnn",
    "fastfcn",
    "fcn",
    "gated_scnn",
    "icnet",
    "list_models",
    "load_model_file",
    "model_builder",
    "pspnet",
    "register_model",
    "save_model",
]
