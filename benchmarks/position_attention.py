"""Position attention in its dense form, in torch's fused kernel and in chunks of queries: time and peak memory.

Queries and keys of 64 channels, values of 512, as in DANet, on the CPU. Each form's peak is that of a process of its
own, above what the inputs need. Forms that would need more than --limit are left out.
Run: python benchmarks/position_attention.py; a whole picture of 1024x2048 has --positions 32768
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from interleaved import interleaved
from memory import peak_megabytes
from torch import Tensor
from torch.nn import functional as F

from segwright.layers.attention import attend

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
KEY_WIDTH, WIDTH = 64, 512


def dense(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(queries @ keys.transpose(1, 2), dim=-1) @ values


def fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries[:, None], keys[:, None], values[:, None], scale=1.0)[:, 0]


def fused_padded(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Queries and keys of the values' width, without which the fused kernel falls back to the dense form."""
    padding = (0, WIDTH - KEY_WIDTH)
    return fused(F.pad(queries, padding), F.pad(keys, padding), values)


def fused_heads(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The values as eight heads of 64 channels that share queries and keys."""
    heads = values.unflatten(2, (-1, KEY_WIDTH)).transpose(1, 2)
    shared = (tensor[:, None].expand(-1, heads.shape[1], -1, -1) for tensor in (queries, keys))
    return F.scaled_dot_product_attention(*shared, heads, scale=1.0).transpose(1, 2).flatten(2)


FORMS: dict[str, Form] = {
    "dense": dense,
    "fused": fused,
    "fused, padded": fused_padded,
    "fused, 8 heads": fused_heads,
    "chunks (ours)": attend,
}
KEEPS_ALL_WEIGHTS = ("dense", "fused")


def inputs(positions: int, dtype: torch.dtype, *, training: bool) -> list[Tensor]:
    torch.manual_seed(0)
    scales = {KEY_WIDTH: 0.5, WIDTH: 1.0}
    shapes = [(1, positions, width) for width in (KEY_WIDTH, KEY_WIDTH, WIDTH)]
    tensors = [(scales[shape[2]] * torch.randn(shape)).to(dtype) for shape in shapes]
    return [tensor.requires_grad_(training) for tensor in tensors]


def once(form: Form, tensors: list[Tensor]) -> None:
    output = form(*tensors)
    if tensors[0].requires_grad:
        output.square().mean().backward()  # type: ignore[no-untyped-call]


def measured_alone(name: str, positions: int, dtype: str, mode: str) -> float:
    """Peak of one call in a process of its own, in MB above its start."""
    command = [sys.executable, __file__, "--alone", name, mode, "--positions", str(positions), "--dtype", dtype]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(name: str, mode: str, positions: int, dtype: torch.dtype) -> None:
    training = mode == "training"
    once(FORMS[name], inputs(256, dtype, training=training))  # what the libraries allocate once
    tensors = inputs(positions, dtype, training=training)
    before = peak_megabytes()
    once(FORMS[name], tensors)
    print(peak_megabytes() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=4000, help="MB")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    if options.alone:
        alone(*options.alone, options.positions[0], dtype)
        return
    for positions in options.positions:
        weights = 3 * dtype.itemsize * positions**2 / 2**20  # energies, weights and a gradient, in MB
        forms = {name: form for name, form in FORMS.items() if name not in KEEPS_ALL_WEIGHTS or weights < options.limit}
        for mode in ("evaluation", "training"):
            print(f"\n{positions} positions, {options.dtype}, {mode}")
            tensors = inputs(positions, dtype, training=mode == "training")
            interleaved({name: partial(once, form, tensors) for name, form in forms.items()}, rounds=options.rounds)
            for name in forms:
                print(f"{name:<14}  {measured_alone(name, positions, options.dtype, mode):9.0f} MB")


if __name__ == "__main__":
    main()
