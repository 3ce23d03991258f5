"""Pyramid pooling: averages over a coarse grid of regions, brought back to every position."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.layers.conv import ConvBNReLU
from segwright.layers.resize import resize_as


class PyramidPooling(nn.Module):
    """Pyramid pooling module (PSPNet, section 3.2).

    Each bin averages the map over bin x bin regions, a 1x1 convolution makes ``width`` channels of it, and all are
    resized, concatenated with the map and fused.

    Args:
        in_channels: channels of the map.
        out_channels: channels after fusion.
        bins: sides of the grids; 1, 2, 3, 6 in the paper.
        width: channels of each bin; ``None`` for ``in_channels / len(bins)``, as in the paper.
        fusion_kernel: side of the fusing convolution.
        first_bin_norm: False for a bias instead of a normalisation on the bin of one cell, which some published
            weights have.
        align_corners: of the resize; True only where published weights need it.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        width: int | None = None,
        fusion_kernel: int = 1,
        first_bin_norm: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        width = max(1, in_channels // len(bins)) if width is None else width
        self.bins, self.align_corners = tuple(bins), align_corners
        self.branches = nn.ModuleList(ConvBNReLU(in_channels, width) for _ in bins)
        if not first_bin_norm:
            self.branches[0] = nn.Sequential(nn.Conv2d(in_channels, width, kernel_size=1), nn.ReLU(inplace=True))
        self.fusion = ConvBNReLU(in_channels + width * len(bins), out_channels, fusion_kernel)

    def forward(self, features: Tensor) -> Tensor:
        maps = [features]
        for side, branch in zip(self.bins, self.branches, strict=True):
            pooled = branch(average_pool(features, side))  # (N, width, side, side)
            maps.append(resize_as(pooled, features, align_corners=self.align_corners))
        fused: Tensor = self.fusion(torch.cat(maps, dim=1))
        return fused


def average_pool(features: Tensor, side: int) -> Tensor:
    """Averages over side x side regions that cover the map, as ``adaptive_avg_pool2d``.

    A program to be exported gets them as :func:`average_windows` does.

    Shape:
        (N, C, H, W) -> (N, C, side, side)
    """
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(features, side)
    cells = torch.arange(side, device=features.device)
    rows, columns = (
        window_weights(cells * length // side, ((cells + 1) * length + side - 1) // side, length, features.dtype)
        for length in features.shape[-2:]
    )
    return rows @ features @ columns.T


def average_windows(features: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Averages over windows, as ``avg_pool2d``.

    No exchange format has pooling whose kernel follows the size of the map. A program to be exported gets two products
    with matrices, which it makes from the size.

    Args:
        features: (N, C, H, W).
        rows, columns: height and vertical stride of the windows, and width and horizontal stride.
    """
    if not torch.compiler.is_exporting():
        return F.avg_pool2d(features, (rows[0], columns[0]), (rows[1], columns[1]))
    weights = []
    for length, (kernel, stride) in zip(features.shape[-2:], (rows, columns), strict=True):
        starts = torch.arange((length - kernel) // stride + 1, device=features.device) * stride
        weights.append(window_weights(starts, starts + kernel, length, features.dtype))
    return weights[0] @ features @ weights[1].T


def window_weights(starts: Tensor, stops: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """(windows, length): row i averages the positions from ``starts[i]`` to before ``stops[i]``."""
    positions = torch.arange(length, device=starts.device)
    is_inside = (positions >= starts[:, None]) & (positions < stops[:, None])
    return is_inside.to(dtype) / (stops - starts)[:, None].to(dtype)
