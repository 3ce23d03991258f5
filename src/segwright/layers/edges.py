"""Image gradients: where a picture's colours change, as a map beside a network's features.

All take normalised images of any float type and compute in float32 or integers, under autocast too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_TAN_22_5 = 13573
"""tan(22.5 degrees) in 15 binary places, by which gradients are sorted into four directions in integers."""


class Picture(nn.Module):
    """Normalised images back to pictures of 0..255; the base of the gradients.

    Args:
        mean, std: by which images were normalised, RGB, of values 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def picture(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32 in 0..255, not rounded; of bands that are no RGB, their mean as a grey picture."""
        if images.shape[1] != self.mean.shape[0]:
            images = images.mean(dim=1, keepdim=True)
        return ((images.float() * self.std.float() + self.mean.float()) * 255).clamp(0, 255)


class NoGradient(nn.Module):
    """Zeros, for the network without image gradients."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros_like(images[:, :1])


class Sobel(Picture):
    """Magnitude of the Sobel gradient of the strongest channel, in 0..1.

    Shape:
        (N, 3, H, W) normalised -> (N, 1, H, W)
    """

    def forward(self, images: Tensor) -> Tensor:
        across, down = sobel(self.picture(images))
        steepest = (across.square() + down.square()).amax(dim=1, keepdim=True)
        strongest = 1020 * 2**0.5  # 4 * 255 along both axes
        # The tiny term keeps the root's slope finite where the picture is flat.
        return ((steepest + 1e-6).sqrt() / strongest).to(images.dtype)


class Canny(Picture):
    """Edges one pixel wide by Canny's method (3x3 Sobel, L1 magnitude), as OpenCV computes them; not differentiable.

    Args:
        low: magnitude above which a ridge is an edge if it hangs together with a strong one; 10 in Gated-SCNN.
        high: magnitude above which a ridge is a strong edge; 100 in Gated-SCNN.
        edge_value: of edges in the map, which is 0 elsewhere.
        wraps: read the normalised values themselves as bytes, as Gated-SCNN's released code does and its weights
            were trained; numbers below 0 wrap around, and little of the picture is left.
        mean, std: as :class:`Picture`.

    Shape:
        (N, 3, H, W) normalised -> (N, 1, H, W)
    """

    def __init__(
        self,
        low: int = 10,
        high: int = 100,
        *,
        edge_value: float = 1.0,
        wraps: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(mean, std)
        self.low, self.high, self.edge_value, self.wraps = low, high, edge_value, wraps

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        pixels = images.float().trunc().int().bitwise_and(255).float() if self.wraps else self.picture(images).round()
        across, down = (gradient.int() for gradient in sobel(pixels))
        across, down, magnitude = strongest_channel(across, down)
        candidates = is_ridge(across, down, magnitude) & (magnitude > self.low)
        edges = connected(candidates & (magnitude > self.high), candidates)
        return edges[:, None].to(images.dtype) * self.edge_value


def sobel(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """3x3 Sobel differences across and down, edges replicated; exact for whole numbers up to 255.

    Sums of slices, because a convolution would compute in bf16 under autocast.
    """
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]


def strongest_channel(across: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, H, W) each: the differences and the L1 magnitude of the channel where it is largest, the first of equals."""
    magnitude = across.abs() + down.abs()
    best, best_across, best_down = magnitude[:, 0], across[:, 0], down[:, 0]
    for channel in range(1, magnitude.shape[1]):
        is_more = magnitude[:, channel] > best
        best_across = torch.where(is_more, across[:, channel], best_across)
        best_down = torch.where(is_more, down[:, channel], best_down)
        best = torch.maximum(best, magnitude[:, channel])
    return best_across, best_down, best


def is_ridge(across: Tensor, down: Tensor, magnitude: Tensor) -> Tensor:
    """Whether a pixel's magnitude tops its two neighbours' along the gradient; of two equals the first wins.

    Args:
        across, down, magnitude: (N, H, W) int32.
    """
    height, width = magnitude.shape[-2:]
    padded = F.pad(magnitude, (1, 1, 1, 1))

    def shifted(rows: int, columns: int) -> Tensor:
        return padded[:, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    slope = across.abs() * _TAN_22_5
    steepness = down.abs() << 15
    is_level = steepness < slope
    is_upright = steepness > slope + (across.abs() << 16)
    is_falling = (across ^ down) >= 0  # the gradient points to the lower right or the upper left
    level = (magnitude > shifted(0, -1)) & (magnitude >= shifted(0, 1))
    upright = (magnitude > shifted(-1, 0)) & (magnitude >= shifted(1, 0))
    falling = (magnitude > shifted(-1, -1)) & (magnitude > shifted(1, 1))
    rising = (magnitude > shifted(-1, 1)) & (magnitude > shifted(1, -1))
    # Not torch.where, which ONNX Runtime lacks for booleans.
    slanted = (is_falling & falling) | (~is_falling & rising)
    others = (is_upright & upright) | (~is_upright & slanted)
    return (is_level & level) | (~is_level & others)


def connected(seeds: Tensor, candidates: Tensor) -> Tensor:
    """The candidates that hang together with a seed, over any of a pixel's eight neighbours.

    Args:
        seeds, candidates: (N, H, W) booleans; each seed is a candidate.
    """
    if seeds.is_meta:  # nothing to count: neither map has values
        return candidates
    if torch.compiler.is_compiling():
        return connected_in_a_graph(seeds, candidates)
    left, edges = F.pad(candidates & ~seeds, (1, 1, 1, 1)), F.pad(seeds, (1, 1, 1, 1))
    stride = edges.shape[-1]
    steps = torch.tensor(
        [-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1], device=edges.device
    )
    flat_left, flat_edges = left.view(-1), edges.view(-1)
    frontier = flat_edges.nonzero()
    while frontier.numel():  # only what was reached last has new neighbours
        near = (frontier.view(-1, 1) + steps).view(-1)
        frontier = torch.unique(near[flat_left[near]])
        flat_left[frontier], flat_edges[frontier] = False, True
    return edges[:, 1:-1, 1:-1]


def connected_in_a_graph(seeds: Tensor, candidates: Tensor) -> Tensor:
    """:func:`connected` with one loop over whole maps, which export can write down."""

    def goes_on(edges: Tensor, has_grown: Tensor) -> Tensor:
        return has_grown.clone()

    def grow(edges: Tensor, has_grown: Tensor) -> tuple[Tensor, Tensor]:
        grown = (F.max_pool2d(edges.float(), 3, stride=1, padding=1) > 0) & candidates
        return grown, (grown != edges).any()

    edges: Tensor = torch.while_loop(goes_on, grow, (seeds, seeds.any()))[0]  # type: ignore[no-untyped-call]
    return edges
