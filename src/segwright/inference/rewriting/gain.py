"""What a rewritten convolution gains on this machine, measured for a moment."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from torch import Tensor, nn

from segwright.inference.rewriting.convolutions import PointwiseConv2d, ShiftedConv2d, is_left_to_a_product

LEAST_GAIN = 1.05
"""A measured step has to be this much faster; less is within a shared machine's noise."""


def measure_gain(old: Callable[[], object], new: Callable[[], object], *, rounds: int = 3) -> float:
    """Time of ``old`` over that of ``new``: medians of calls in turn, after one of each that does not count."""
    times: dict[Callable[[], object], list[float]] = {old: [], new: []}
    for turn in range(rounds + 1):
        for call, spent in times.items():
            start = time.perf_counter()
            call()
            if turn:
                spent.append(time.perf_counter() - start)
    return median(times[old]) / median(times[new])


def gains_by_rate(
    maps: Mapping[nn.Conv2d, tuple[int, int]], precision: str, *, channels_last: bool
) -> dict[int, float]:
    """Smallest gain of :class:`ShiftedConv2d` over the convolutions of each rate, from the largest until one pays not.

    Args:
        maps: the convolutions, and (height, width) of the maps that they will read.
        precision: ``fp32``, or ``bf16`` by autocast.
        channels_last: memory order of the maps.
    """
    gains: dict[int, float] = {}
    measured: dict[tuple[object, ...], float] = {}
    for conv, size in sorted(maps.items(), key=lambda pair: -max(pair[0].dilation)):
        rate = max(conv.dilation)
        if any(gain < LEAST_GAIN for larger, gain in gains.items() if larger > rate):
            break
        shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.dilation, size)
        if shape not in measured:
            measured[shape] = _gain(conv, ShiftedConv2d(conv), size, precision, channels_last=channels_last)
        gains[rate] = min(measured[shape], gains.get(rate, measured[shape]))
    return gains


def gain_of_pointwise(
    maps: Mapping[nn.Conv2d, tuple[int, int]], precision: str, *, channels_last: bool
) -> float | None:
    """Gain of :class:`PointwiseConv2d` on the largest of the convolutions; ``None`` where it would change nothing."""
    work = {conv: conv.weight.numel() * height * width for conv, (height, width) in maps.items()}
    largest = max(work, key=lambda conv: work[conv], default=None)
    if largest is None or precision != "fp32":
        return None
    with torch.device("meta"):
        new = PointwiseConv2d(largest.in_channels, largest.out_channels, 1)
    new.weight, new.bias = largest.weight, largest.bias
    if not is_left_to_a_product(largest.weight.new_empty(1, largest.in_channels, *maps[largest])):
        return None
    return _gain(largest, new, maps[largest], precision, channels_last=channels_last)


def smallest_paying_rate(gains: Mapping[int, float]) -> int | None:
    """The rate from which on all measured rates gain; ``None`` if the largest does not."""
    paying = None
    for rate in sorted(gains, reverse=True):
        if gains[rate] < LEAST_GAIN:
            break
        paying = rate
    return paying


@torch.inference_mode()
def _gain(old: nn.Conv2d, new: nn.Module, size: tuple[int, int], precision: str, *, channels_last: bool) -> float:
    order = torch.channels_last if channels_last else torch.contiguous_format
    noise = torch.randn(1, old.in_channels, *size, generator=torch.Generator().manual_seed(0)).to(old.weight)
    noise = noise.to(torch.bfloat16 if precision == "bf16" else noise.dtype, memory_format=order)
    device = noise.device.type
    weight = old.weight.contiguous(memory_format=order)

    def call(compute: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            compute(noise)
        if device == "cuda":
            torch.cuda.synchronize()

    return measure_gain(lambda: call(lambda maps: old._conv_forward(maps, weight, old.bias)), lambda: call(new))
