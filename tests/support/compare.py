"""How far two maps are apart, in units of the wanted map's own spread."""

from torch import Tensor


def distance(got: Tensor, wanted: Tensor) -> float:
    """Largest absolute difference over the standard deviation of ``wanted``; shapes must agree."""
    assert got.shape == wanted.shape
    difference = (got.detach().double() - wanted.detach().double()).abs().max()
    return float(difference / wanted.detach().double().std(correction=0).clamp(min=1e-12))
