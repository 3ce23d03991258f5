"""Trunks: timm as the library of backbones."""

from segwright.backbones.backbone import (
    ALIASES,
    Backbone,
    OutputStride,
    create_backbone,
    load_imagenet,
    pad_to_multiple,
)
from segwright.backbones.dilation import Dilation

__all__ = ["ALIASES", "Backbone", "Dilation", "OutputStride", "create_backbone", "load_imagenet", "pad_to_multiple"]
