"""Convolutions that compute what ``nn.Conv2d`` computes in another way, for machines on which that is faster."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def degenerate_taps(rate: int, size: tuple[int, int], *, kernel_size: int = 3) -> dict[int, float]:
    """How many taps of a kernel with a rate fall on the map, by position (DeepLabv3, figure 4).

    With growing rate more and more taps read the padding's zeros; from the map's size on only the centre is left.

    Args:
        rate: distance between neighbouring taps, at least 1.
        size: (height, width) of the map.
        kernel_size: side of the kernel, odd.

    Returns:
        Number of taps on the map -> share of the positions with so many; the shares add up to 1.

    Example:
        >>> degenerate_taps(65, (65, 65))
        {1: 1.0}
    """
    per_side = [_taps_along(rate, side, kernel_size // 2) for side in size]
    shares: Counter[int] = Counter()
    for rows, row_count in per_side[0].items():
        for columns, column_count in per_side[1].items():
            shares[rows * columns] += row_count * column_count
    return {taps: count / (size[0] * size[1]) for taps, count in sorted(shares.items())}


def _taps_along(rate: int, side: int, reach: int) -> Counter[int]:
    """Along one side: number of taps on the map -> number of positions."""
    return Counter(
        sum(0 <= position + step * rate < side for step in range(-reach, reach + 1)) for position in range(side)
    )


class ShiftedConv2d(nn.Module):
    """A convolution with a rate as one 1x1 convolution per tap, each on a shifted window of the map.

    A window ends where the map ends: what a tap would read in the zero padding is not computed, and a tap all of whose
    window is padding is left out. The sums are float32 where the convolution computes in half precision.

    While a graph with free sizes is traced, the padded map is cut instead, and nothing is skipped: that form holds at
    every size without a condition.

    Args:
        conv: what it computes; see :meth:`can_replace`.

    Attributes:
        taps: (kernel rows * kernel columns, out_channels, in_channels), the weight, each tap in one piece.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        rows, columns = conv.kernel_size
        self.kernel_size, self.dilation = (rows, columns), (conv.dilation[0], conv.dilation[1])
        taps = conv.weight.detach().permute(2, 3, 0, 1).flatten(0, 1).clone(memory_format=torch.contiguous_format)
        self.taps = nn.Parameter(taps, conv.weight.requires_grad)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone(), conv.bias.requires_grad)

    @staticmethod
    def can_replace(conv: nn.Conv2d, *, min_rate: int = 1) -> bool:
        """Whether ``conv`` is dense, of stride 1, an odd kernel and "same" zero padding, with at least this rate."""
        same = tuple(rate * (side // 2) for rate, side in zip(conv.dilation, conv.kernel_size, strict=True))
        return (
            max(conv.dilation) >= min_rate
            and max(conv.kernel_size) > 1
            and all(side % 2 for side in conv.kernel_size)
            and max(conv.stride) == conv.groups == 1
            and conv.padding_mode == "zeros"
            and conv.padding in (same, "same")
        )

    @property
    def weight(self) -> Tensor:
        """(out_channels, in_channels, kernel rows, kernel columns), as the convolution has it."""
        return self.taps.view(*self.kernel_size, *self.taps.shape[1:]).permute(2, 3, 0, 1)

    def extra_repr(self) -> str:
        _, out_channels, in_channels = self.taps.shape
        return f"{in_channels}, {out_channels}, kernel_size={self.kernel_size}, dilation={self.dilation}"

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[-2:]
        if isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt):
            return self._on_padded(input)
        centre = len(self.taps) // 2
        first = pointwise(input, self._tap(centre), self.bias)
        total = first.to(torch.promote_types(first.dtype, torch.float32))
        is_traced = torch.compiler.is_compiling()
        for index, (down, across) in enumerate(self._shifts()):
            if index == centre or abs(down) >= height or abs(across) >= width:
                continue
            part = pointwise(input[..., _ahead(down, height), _ahead(across, width)], self._tap(index), None)
            if is_traced:  # a sum in place would become a slow scatter
                total = total + F.pad(part, (*_margins(across), *_margins(down)))
            else:
                total[..., _ahead(-down, height), _ahead(-across, width)] += part
        return total.to(first.dtype)

    def _on_padded(self, input: Tensor) -> Tensor:
        """The same for any size, the padding's zeros computed too."""
        height, width = input.shape[-2:]
        down, across = (rate * (side // 2) for rate, side in zip(self.dilation, self.kernel_size, strict=True))
        padded = F.pad(input, (across, across, down, down))
        parts = []
        for index, (row, column) in enumerate(self._shifts()):
            window = padded[..., down + row : down + row + height, across + column : across + column + width]
            parts.append(F.conv2d(window, self._tap(index), self.bias if index == 0 else None))
        first = parts[0]
        total = first.to(torch.promote_types(first.dtype, torch.float32))
        for part in parts[1:]:
            total = total + part
        return total.to(first.dtype)

    def _tap(self, index: int) -> Tensor:
        return self.taps[index][:, :, None, None]

    def _shifts(self) -> Iterator[tuple[int, int]]:
        """Rows down and columns across from a position to what each tap reads there."""
        rows, columns = self.kernel_size
        for row in range(-(rows // 2), rows // 2 + 1):
            for column in range(-(columns // 2), columns // 2 + 1):
                yield row * self.dilation[0], column * self.dilation[1]


def _ahead(shift: int, side: int) -> slice:
    """The positions that are on the map and that a tap with this shift reads."""
    return slice(max(shift, 0), side + min(shift, 0))


def _margins(shift: int) -> tuple[int, int]:
    """Positions before and behind those at which a tap with this shift reads the map."""
    return max(-shift, 0), max(shift, 0)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution that one thread computes with the same kernel as several; see :func:`pointwise`."""

    @staticmethod
    def can_replace(conv: nn.Conv2d) -> bool:
        """Whether ``conv`` is a dense 1x1 convolution of stride 1 without padding."""
        return max(conv.kernel_size) == max(conv.stride) == conv.groups == 1 and conv.padding in ((0, 0), "same")

    def forward(self, input: Tensor) -> Tensor:
        return pointwise(input, self.weight, self.bias)


def pointwise(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution, in oneDNN's kernel also where torch would take another.

    torch computes float32 1x1 convolutions of one picture as a plain matrix product when it has a single thread, and
    by oneDNN when it has several. On some processors (an AMD EPYC with AVX-512: 100 against 215 GFLOP/s) the product
    is less than half as fast.
    """
    if is_left_to_a_product(input):
        return torch.mkldnn_convolution(input, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return F.conv2d(input, weight, bias)


def is_left_to_a_product(input: Tensor) -> bool:
    """Whether torch would compute a 1x1 convolution of ``input`` as a plain matrix product, but need not."""
    if torch.compiler.is_compiling() or torch.get_num_threads() > 1 or input.device.type != "cpu":
        return False
    has_onednn = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]
    is_float32 = input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    # Below that size torch takes the plain product in any case.
    return has_onednn and is_float32 and input.numel() > 20480
