"""Weights and images that are a pure function of their name, shape and seed.

Two programs that name their tensors alike have the same network without exchanging a file. x is a standard normal
float32 array of the tensor's shape, from numpy's Philox generator with the CRC-32 of the tensor's name as its key:

    num_batches_tracked          0
    running_var                  0.5 + 0.5 |x|, clipped to 0.5..1.5
    running_mean                 0.05 x
    two sides or more            x / sqrt(product of all sides but the first)
    one side, called weight      1 + 0.1 x
    one side, ends in "bias"     0.05 x
    anything else                0.5 + 0.1 x
"""

import hashlib
import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FloatArray = NDArray[np.float32]


def normal(key: int, shape: Sequence[int]) -> FloatArray:
    generator = np.random.Generator(np.random.Philox(key=key))
    return np.asarray(generator.standard_normal(tuple(shape), dtype=np.float32))


def filled(name: str, shape: Sequence[int]) -> NDArray[np.generic]:
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(tuple(shape), np.int64)
    x, f = normal(zlib.crc32(name.encode()), shape), np.float32
    if leaf == "running_var":
        return np.clip(f(0.5) + f(0.5) * np.abs(x), f(0.5), f(1.5))
    if leaf == "running_mean":
        return f(0.05) * x
    if len(shape) >= 2:
        return x * f(math.sqrt(1 / max(math.prod(shape[1:]), 1)))
    if len(shape) == 1 and leaf == "weight":
        return f(1) + f(0.1) * x
    return f(0.05) * x if len(shape) == 1 and leaf.endswith("bias") else np.asarray(f(0.5) + f(0.1) * x)


def filled_tensor(name: str, shape: Sequence[int]) -> Tensor:
    return torch.from_numpy(filled(name, shape))


def fill(model: nn.Module) -> None:
    """Give a network weights and running statistics of a sensible size."""
    model.load_state_dict({name: filled_tensor(name, tensor.shape) for name, tensor in model.state_dict().items()})


def images(seed: int, height: int, width: int, batch: int = 1) -> Tensor:
    return torch.from_numpy(normal(seed, (batch, 3, height, width)))


def sha256(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()).hexdigest()
