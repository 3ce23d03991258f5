"""Pyramid pooling whose coarse maps are fused at their own size."""

import torch
from torch import Tensor, nn

from segwright.layers import PyramidPooling
from segwright.layers.pooling import average_pool


class CoarselyFusedPyramid(nn.Module):
    """Pyramid pooling that resizes its coarse maps after the fusing convolution instead of before.

    Resize and convolution are both linear. What the convolution makes of side x side cells that were resized to the
    whole map is the sum, over its taps, of the cells' products with the tap, resized and shifted. The products are then
    taken of a few cells instead of all positions, and resize and shift are two small matrices. In PSPNet, where the
    pooled maps are half of what a 3x3 convolution fuses, this is half of its multiplications and, at stride 8, a fifth
    of the network's.

    Args:
        pooling: what it computes, and whose parts it takes over; see :meth:`can_replace`.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, pooling: PyramidPooling) -> None:
        super().__init__()
        fusion = pooling.fusion[0]
        assert isinstance(fusion, nn.Conv2d)
        self.bins, self.branches, self.align_corners = pooling.bins, pooling.branches, pooling.align_corners
        self.kernel_size = fusion.kernel_size[0]
        width = (fusion.in_channels - _channels_read(pooling)) // len(self.bins)
        widths = [_channels_read(pooling), *[width] * len(self.bins)]
        direct, *coarse = torch.split(fusion.weight.detach(), widths, dim=1)
        shape = (direct.shape[1], direct.shape[0], self.kernel_size)
        self.direct = nn.Conv2d(*shape, padding=self.kernel_size // 2, bias=False)
        self.direct.weight, self.direct.bias = _fixed(direct), fusion.bias
        # (out_channels * taps, width, 1, 1): every tap of a coarse map's kernel as an output of its own
        self.taps = nn.ParameterList(
            _fixed(kernel.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]) for kernel in coarse
        )
        self.rest = pooling.fusion  # the normalisation, unless folded, and the activation
        self.rest[0] = nn.Identity()

    @staticmethod
    def can_replace(pooling: PyramidPooling) -> bool:
        """Whether the fusing convolution is wider than 1x1, for which nothing would be won, and plain."""
        conv = pooling.fusion[0]
        if not isinstance(conv, nn.Conv2d) or pooling.fusion._forward_hooks or conv._forward_hooks:
            return False
        side = conv.kernel_size[0]
        is_same = conv.kernel_size == (side, side) and conv.padding == (side // 2, side // 2) and side % 2 == 1
        return side > 1 and is_same and max(*conv.stride, *conv.dilation, conv.groups) == 1

    def forward(self, features: Tensor) -> Tensor:
        across, down = [], []
        for side, branch, taps in zip(self.bins, self.branches, self.taps, strict=True):
            cells = nn.functional.conv2d(branch(average_pool(features, side)), taps)
            height, width = (self._weights(features, dim, side) for dim in (-2, -1))
            across.append(self._by_tap(cells, side) @ width.T)  # (N, out_channels, kernel_size * side, W)
            down.append(height)
        coarse = torch.cat(down, dim=1) @ torch.cat(across, dim=2)
        fused: Tensor = self.rest(self.direct(features) + coarse)
        return fused

    def _by_tap(self, cells: Tensor, side: int) -> Tensor:
        """(N, out_channels * taps, side, side) -> (N, out_channels, kernel_size * side, kernel_size * side)."""
        kernel = self.kernel_size
        apart = cells.reshape(cells.shape[0], -1, kernel, kernel, side, side).permute(0, 1, 2, 4, 3, 5)
        return apart.reshape(cells.shape[0], -1, kernel * side, kernel * side)

    def _weights(self, features: Tensor, dim: int, side: int) -> Tensor:
        """(length, kernel_size * side): what each cell adds to each position through each tap of the kernel."""
        length, reach = features.shape[dim], self.kernel_size // 2
        steps = torch.arange(-reach, reach + 1, device=features.device)
        read = torch.arange(length, device=features.device)[:, None] + steps  # where a tap reads, for a position
        is_inside = (read >= 0) & (read < length)
        if self.align_corners:
            places = read * (side - 1) / torch.sym_max(length - 1, 1)  # type: ignore[no-untyped-call]
        else:
            places = (read + 0.5) * side / length - 0.5
        distances = places.clamp(0, side - 1)[:, :, None] - torch.arange(side, device=features.device)
        weights = (1 - distances.abs()).clamp(min=0) * is_inside[:, :, None]
        by_position: Tensor = weights.flatten(1).to(features.dtype)
        return by_position


def _channels_read(pooling: PyramidPooling) -> int:
    return next(part.in_channels for part in pooling.branches[0].modules() if isinstance(part, nn.Conv2d))


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
