"""How fast this machine computes and copies at best, and how fast a network could be on it.

A network cannot be faster than its arithmetic at the machine's peak, nor than reading and writing its maps and weights
at the memory's speed (Williams, Waterman, Patterson, "Roofline", 2009).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from segwright.deploy.cost import Cost
from segwright.inference.rewriting.convolutions import pointwise

BYTES = {"fp32": 4, "bf16": 2}
"""Of a number in each precision whose peak can be measured: torch has no large product of integers on the CPU."""

_SIDE = 1024
"""Of the square matrices: 2 GFLOP a product, so short that some of them are not interrupted on a busy machine."""
_COPIED = 1 << 28
"""Bytes of the copied tensor: more than any CPU's cache holds."""
_SECONDS = 0.3
"""How long each is repeated."""


@dataclass(frozen=True)
class Roofline:
    """What was measured on this machine with some threads.

    Args:
        precision: of the products.
        flops: additions and multiplications per second in the fastest of some large matrix products.
        bandwidth: bytes per second read and written by a large copy.
    """

    precision: str
    flops: float
    bandwidth: float

    def best(self, other: "Roofline") -> "Roofline":
        """The faster of two measurements, in each."""
        return Roofline(self.precision, max(self.flops, other.flops), max(self.bandwidth, other.bandwidth))

    def bound(self, cost: Cost) -> float:
        """Least seconds: each operation limited by arithmetic or memory, whichever is slower.

        It reads its maps and weights and writes its output once. Everything between the operations, such as
        activations, sums, pooling and resizing, is taken to cost nothing.
        """
        width = BYTES[self.precision]
        return sum(max(step.flops / self.flops, width * step.values / self.bandwidth) for step in cost.operations)


def measure_roofline(precision: str, threads: int, *, side: int = _SIDE, copied: int = _COPIED) -> Roofline:
    """The best of many products and copies: what the machine can do when nobody else is at it.

    The product is tried as such and as a 1x1 convolution of 256 and of 512 channels: torch leaves them to different
    libraries, of which the first may be four times as slow as the second (seen on an AMD EPYC).

    Args:
        precision: ``fp32`` or ``bf16``.
        threads: to compute with; torch's own number is set back at the end.
        side: of the square matrices.
        copied: bytes of the tensor that is copied.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            flops = max(work / _least_seconds(product) for work, product in _products(precision, side))
            source, target = (torch.ones(copied // 4) for _ in range(2))
            bandwidth = 2 * copied / _least_seconds(lambda: target.copy_(source))
    finally:
        torch.set_num_threads(before)
    return Roofline(precision, flops, bandwidth)


def _products(precision: str, side: int) -> Iterator[tuple[int, Callable[[], object]]]:
    """FLOPs and call of each product."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right, result = (torch.ones(side, side, dtype=dtype) for _ in range(3))
    yield 2 * side**3, lambda: torch.mm(left, right, out=result)
    for channels in (side // 4, side // 2):
        maps = torch.ones(1, channels, side // 16, side // 16, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.ones(channels, channels, 1, 1, dtype=dtype).to(memory_format=torch.channels_last)
        yield 2 * channels * channels * (side // 16) ** 2, partial(pointwise, maps, weight, None)


def _least_seconds(call: Callable[[], object]) -> float:
    call()  # libraries get ready
    least, end = math.inf, time.perf_counter() + _SECONDS
    while least == math.inf or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return max(1e-9, least)
