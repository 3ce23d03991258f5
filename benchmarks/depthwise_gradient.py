"""The weight gradient of depthwise convolutions in each precision and memory order, against float64.

On some CPUs the bf16, channels-last gradient of a *dilated* depthwise convolution reads memory that nobody wrote, and
training in bf16 ends in NaN; segwright.layers.conv.Conv2d computes those in float32. Freed memory is filled with NaN
between the calls to make such reads visible. Run: python benchmarks/depthwise_gradient.py
"""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

REPEATS, CHANNELS, SHAPE = 10, 128, (8, 128, 44, 60)


def poison_free_memory() -> None:
    blocks = [torch.full((2**power,), float("nan")) for power in range(10, 23)]
    del blocks


def weight_gradient(images: Tensor, weight: Tensor, gradient: Tensor, dilation: int) -> Tensor:
    leaf = weight.detach().requires_grad_()
    poison_free_memory()
    output = F.conv2d(images, leaf, padding=dilation, dilation=dilation, groups=CHANNELS)
    poison_free_memory()
    output.backward(gradient)
    assert leaf.grad is not None
    return leaf.grad


def worst_error(dilation: int, order: torch.memory_format, dtype: torch.dtype) -> float:
    """Largest relative error over all repeats; NaN where any is NaN."""
    errors = []
    for seed in range(REPEATS):
        torch.manual_seed(seed)
        images, weight, gradient = torch.randn(SHAPE), torch.randn(CHANNELS, 1, 3, 3), torch.randn(SHAPE)
        exact = weight_gradient(images.double(), weight.double(), gradient.double(), dilation)
        images, gradient = (tensor.to(dtype, memory_format=order) for tensor in (images, gradient))
        found = weight_gradient(images, weight.to(dtype), gradient, dilation).double()
        errors.append((found - exact).abs().max() / exact.abs().max())
    return float(torch.stack(errors).max())


def main() -> None:
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    orders = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
    for dtype, (name, order), dilation in product((torch.float32, torch.bfloat16), orders.items(), (1, 2, 4)):
        error = worst_error(dilation, order, dtype)
        verdict = "right" if error < 0.02 else "WRONG"
        print(f"{str(dtype).removeprefix('torch.'):<9} {name:<14} dilation {dilation}: error {error:8.1e}  {verdict}")


if __name__ == "__main__":
    main()
