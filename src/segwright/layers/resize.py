"""The one way maps are resized inside networks: bilinear, to a stated size."""

from torch import Tensor
from torch.nn import functional as F


def resize(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Bilinear resize of (N, C, H, W) to (N, C, *size); the same tensor where the size is right already."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def resize_as(maps: Tensor, partner: Tensor, *, align_corners: bool = False) -> Tensor:
    """Bilinear resize to the actual height and width of ``partner``, so that any input size works."""
    return resize(maps, (partner.shape[-2], partner.shape[-1]), align_corners=align_corners)
