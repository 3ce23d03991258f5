"""From stride to dilation: the conventions by which papers and re-implementations keep the resolution of a trunk."""

import math
from collections.abc import Sequence
from typing import Literal

from torch import nn

from segwright.errors import ConfigError

Dilation = Literal["plain", "contracted", "mmseg", "mmseg_kept"]
"""What the first block of a dilated stage does.

``plain``: all of the stage's convolutions use the stage's dilation (PSPNet, DeepLab). ``contracted``: the first block
uses half of it (EncNet, FastFCN, DANet, torchvision). ``mmseg``: contracted, the second convolution of a basic block is
not dilated, and a multi-grid replaces the stage's dilation. ``mmseg_kept``: as ``mmseg`` at output stride 32, where
nevertheless the last two stages have dilations 2 and 4 (FastFCN and PSPNet with strides 1, 2, 2, 2).
"""


def dilate(
    stages: Sequence[nn.Module],
    output_stride: int,
    convention: Dilation,
    multi_grid: Sequence[int] | None = None,
) -> None:
    """Set the dilations of a ResNet's stages, whose strides are right already.

    Args:
        stages: the four stages, each a sequence of blocks.
        output_stride: 8, 16 or 32.
        convention: of the first blocks.
        multi_grid: unit rates of the last stage's blocks (DeepLabv3, section 3.1.1); they multiply its dilation.
    """
    for number, stage in enumerate(stages):
        stride = 2 ** (number + 2)
        rate = max(1, stride // (8 if convention == "mmseg_kept" else output_stride))
        grid = multi_grid if number == len(stages) - 1 else None
        blocks = list(stage.children())
        for block, block_rate in zip(blocks, block_rates(len(blocks), rate, convention, grid), strict=True):
            _dilate_block(block, block_rate, second=convention in ("plain", "contracted"))


def block_rates(blocks: int, rate: int, convention: Dilation, multi_grid: Sequence[int] | None) -> list[int]:
    """The dilation of each block of a stage whose dilation is ``rate``.

    Example:
        >>> block_rates(3, 4, "contracted", None), block_rates(3, 4, "plain", (1, 2, 4))
        ([2, 4, 4], [4, 8, 16])
    """
    if multi_grid is not None:
        # Differs: mmsegmentation replaces the stage's dilation by the grid (models/utils/res_layer.py); the paper
        # multiplies the two. Its published d16-mg124 weights were trained that way.
        factor = 1 if convention.startswith("mmseg") else rate
        return [factor * multi_grid[index % len(multi_grid)] for index in range(blocks)]
    first = rate if convention == "plain" else max(1, rate // 2)
    return [first] + [rate] * (blocks - 1)


def _dilate_block(block: nn.Module, rate: int, *, second: bool) -> None:
    """Set the dilation of a block's convolutions of 3x3 and more; ``second``: of all, else of the first only."""
    spatial = [conv for conv in block.modules() if isinstance(conv, nn.Conv2d) and max(conv.kernel_size) > 1]
    for index, conv in enumerate(spatial):
        _dilate_conv(conv, rate if second or index == 0 else 1)


def _dilate_conv(conv: nn.Conv2d, rate: int) -> None:
    conv.dilation = (rate, rate)
    conv.padding = tuple(rate * (side - 1) // 2 for side in conv.kernel_size)


def level_the_dilation(stages: Sequence[nn.Module]) -> None:
    """Turn timm's contracted stages of any architecture into plain ones: every convolution as dilated as the most."""
    for stage in stages:
        convs = [conv for conv in stage.modules() if isinstance(conv, nn.Conv2d) and max(conv.kernel_size) > 1]
        rate = max((max(conv.dilation) for conv in convs), default=1)
        for conv in convs:
            if rate > 1 and max(conv.stride) == 1:
                _dilate_conv(conv, rate)


def check_multi_grid(multi_grid: Sequence[int] | None) -> None:
    """Raise ConfigError for unit rates that are none."""
    if multi_grid is not None and not (multi_grid and all(isinstance(rate, int) and rate >= 1 for rate in multi_grid)):
        raise ConfigError(f"multi_grid is {multi_grid!r}", fix="give whole numbers from 1 on, such as (1, 2, 4)")


def reduced(size: int, stride: int) -> int:
    """Cells that a map of a stride has for ``size`` pixels."""
    return math.ceil(size / stride)
