"""Attention over all positions of a map, in memory that grows with their number and not with its square."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax of all products of queries and keys, times the values, without ever holding all P * P weights.

    Rows of queries are taken in chunks. No softmax spans two of them, so the result is that of the dense form up to
    rounding. Energies and softmax are float32, or float64 if given so; only the product with the values is of lower
    precision where they are. torch's fused kernels are slower here on a CPU: ``benchmarks/position_attention.py``.

    Shape:
        queries (N, Q, K), keys (N, P, K), values (N, P, C) -> (N, Q, C)
    """
    with without_autocast(values.device):
        queries, keys = at_least_float32(queries), at_least_float32(keys)
        if torch.compiler.is_exporting():
            return attend_in_a_graph(queries, keys, values)
        rows = chunk_rows(values)
        if rows < queries.shape[1]:
            means: Tensor = ChunkedAttention.apply(queries, keys, values, rows)  # type: ignore[no-untyped-call]
            return means
        return attention_weights(queries, keys).to(values.dtype) @ values


def attend_in_a_graph(queries: Tensor, keys: Tensor, values: Tensor, chunks: int = 16) -> Tensor:
    """:func:`attend` in a fixed number of chunks, for a program whose sizes are known only when it runs."""
    count = queries.shape[1]
    # At least one row more, so that what holds of the padded rows while tracing holds at every size.
    padded = F.pad(queries, (0, 0, 0, chunks - count % chunks))
    means = [
        attention_weights(chunk, keys).to(values.dtype) @ values
        for chunk in padded.reshape(padded.shape[0], chunks, -1, padded.shape[2]).unbind(1)  # (N, Q / chunks, K)
    ]
    return torch.cat(means, dim=1)[:, :count]


def attention_weights(queries: Tensor, keys: Tensor) -> Tensor:
    """(N, Q, P): row j holds the share of each position in position j's mean; a row sums to 1."""
    return (queries @ keys.transpose(1, 2)).softmax(dim=-1)


def chunk_rows(values: Tensor) -> int:
    """Queries of a chunk: its weights stay in a CPU's cache, or fill an accelerator."""
    batch, positions, _ = values.shape
    return max(1, (2**22 if values.device.type == "cpu" else 2**26) // (batch * positions))


class ChunkedAttention(torch.autograd.Function):
    """:func:`attend` in chunks of ``rows`` queries, whose weights the backward pass computes again.

    Results are written into tensors made before: small ones kept among large ones given back would break up the heap,
    which then grows to the size of the dense form.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, rows: int) -> Tensor:
        means = values.new_empty(*queries.shape[:2], values.shape[2])
        for first in range(0, queries.shape[1], rows):
            chunk = slice(first, first + rows)
            means[:, chunk] = attention_weights(queries[:, chunk], keys).to(values.dtype) @ values
        ctx.rows = rows
        ctx.save_for_backward(queries, keys, values)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values = ctx.saved_tensors
        of_queries, of_keys = torch.empty_like(queries), torch.zeros_like(keys)
        of_values = torch.zeros_like(values, dtype=keys.dtype)  # many chunks add up here
        with without_autocast(values.device):
            for first in range(0, queries.shape[1], ctx.rows):
                chunk = slice(first, first + ctx.rows)
                weights, of_means = attention_weights(queries[:, chunk], keys), gradient[:, chunk]
                of_values += weights.to(values.dtype).transpose(1, 2) @ of_means
                # A softmax's gradient: the weights times what each one's gradient has above their row's weighted mean.
                of_energies = (of_means @ values.transpose(1, 2)).to(keys.dtype).mul_(weights)
                of_energies.addcmul_(weights, of_energies.sum(dim=-1, keepdim=True), value=-1)
                of_queries[:, chunk] = of_energies @ keys
                of_keys += of_energies.transpose(1, 2) @ queries[:, chunk]
        return of_queries, of_keys, of_values.to(values.dtype), None


def at_least_float32(tensor: Tensor) -> Tensor:
    """In float32, or in float64 if it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Where products keep the precision of their factors."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
