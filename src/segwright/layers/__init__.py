"""Blocks that several papers share."""

from segwright.layers.conv import BatchNorm2d, ConvBN, ConvBNReLU, SeparableConv
from segwright.layers.head import FCNHead
from segwright.layers.pooling import PyramidPooling
from segwright.layers.resize import resize, resize_as

__all__ = [
    "BatchNorm2d",
    "ConvBN",
    "ConvBNReLU",
    "FCNHead",
    "PyramidPooling",
    "SeparableConv",
    "resize",
    "resize_as",
]
