"""Attention in chunks against its dense form: results, gradients, memory, precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segwright.layers import attention
from segwright.layers.attention import ChunkedAttention, attend
from tests.support.compare import distance


def projections(queries: int, positions: int, *, width: int = 24) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, queries, 8), (2, positions, 8), (2, positions, width)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def dense(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(queries @ keys.transpose(1, 2), dim=-1) @ values


def gradients(output: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    slope = torch.linspace(-1, 1, output.numel()).view_as(output)
    return torch.autograd.grad((output.float() * slope).sum(), inputs)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation's result had."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.numel = max(self.numel, *sizes, 0)
        return result


@contextmanager
def saved_for_backward() -> Iterator[dict[int, int]]:
    """Elements of the tensors that the backward pass will need, by address."""
    saved: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        saved[tensor.data_ptr()] = max(tensor.numel(), saved.get(tensor.data_ptr(), 0))
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        yield saved


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "chunk_rows", lambda values: 7)


@pytest.mark.parametrize("rows", [1, 7, 30, 31])
def test_chunks_and_their_gradients_equal_the_dense_form(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "chunk_rows", lambda values: rows)
    inputs = projections(31, 35)
    got, wanted = attend(*inputs), dense(*inputs)
    assert distance(got, wanted) < 1e-5
    for ours, theirs in zip(gradients(got, inputs), gradients(wanted, inputs), strict=True):
        assert distance(ours, theirs) < 1e-5


def test_gradient_of_chunks_is_the_numerical_one() -> None:
    inputs = [tensor.detach().double().requires_grad_() for tensor in projections(5, 6, width=3)]
    assert torch.autograd.gradcheck(lambda *tensors: ChunkedAttention.apply(*tensors, 2), inputs)


def test_weights_of_a_query_sum_to_one() -> None:
    queries, keys, _ = projections(30, 35)
    weights = attend(queries, keys, torch.eye(35).expand(2, 35, 35))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 30))
    assert weights.sum(dim=1).std() > 0.1  # the other axis does not


def test_no_step_of_training_holds_all_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    positions, rows = 512, 32
    monkeypatch.setattr(attention, "chunk_rows", lambda values: rows)
    inputs = projections(positions, positions)
    with saved_for_backward() as saved, LargestTensor() as largest:
        attend(*inputs).sum().backward()
    assert largest.numel == 2 * rows * positions  # of a batch of 2
    assert sum(saved.values()) < 2 * positions**2 / 4
    with saved_for_backward() as saved:
        dense(*inputs)
    assert sum(saved.values()) >= 2 * positions**2  # the measure sees what it is to see


def test_larger_maps_and_batches_get_smaller_chunks() -> None:
    assert attention.chunk_rows(torch.empty(1, 32768, 512, device="meta")) == 2048
    assert attention.chunk_rows(torch.empty(1, 32768, 2)) == 128
    assert attention.chunk_rows(torch.empty(4, 32768, 2)) == 32
    assert attention.chunk_rows(torch.empty(64, 2**18, 0)) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("small_chunks")
def test_energies_are_float32_under_autocast(dtype: torch.dtype) -> None:
    """Energies of some hundreds, whose rounding to bf16 would be an error of more than 1 in the exponent."""
    queries, keys, values = (tensor.detach().to(dtype) for tensor in projections(40, 35))
    queries, keys = 8 * queries, 8 * keys
    assert (queries.float() @ keys.float().mT).max() > 500
    with torch.autocast("cpu", torch.bfloat16):
        got = attend(queries, keys, values)
    assert got.dtype == dtype
    assert distance(got, dense(queries.double(), keys.double(), values.double())) < 0.02


def test_many_chunks_round_bf16_gradients_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [tensor.detach().bfloat16().requires_grad_() for tensor in projections(2000, 35)]
    exact = [tensor.detach().float().requires_grad_() for tensor in inputs]
    wanted = gradients(dense(*exact), exact)
    errors = []
    for rows in (2000, 1):
        monkeypatch.setattr(attention, "chunk_rows", lambda values, rows=rows: rows)
        got = gradients(attend(*inputs), inputs)
        assert all(tensor.dtype == torch.bfloat16 for tensor in got)
        errors.append([float((g - w).norm() / w.norm()) for g, w in zip(got, wanted, strict=True)])
    one, many = errors
    assert all(several < 1.2 * single < 0.02 for several, single in zip(many, one, strict=True)), errors


def test_float64_stays() -> None:
    assert attend(*(tensor.double() for tensor in projections(3, 4))).dtype == torch.float64


class Attend(nn.Module):
    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values)


def test_chunks_are_exported_and_gradients_do_not_matter() -> None:
    """Plain operations, no function of ours."""
    program = torch.export.export(Attend(), tuple(projections(31, 35)))
    names = [str(node.target) for node in program.graph.nodes]
    assert sum("softmax" in name for name in names) == 16
    assert not any("copy" in name or "empty" in name for name in names)  # nothing written in place
    inputs = [2 * tensor for tensor in projections(31, 35)]
    assert distance(program.module()(*inputs), dense(*inputs)) < 1e-5


def exported_at_free_sizes() -> Any:
    free = [{0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for _ in range(3)]
    return torch.export.export(Attend(), tuple(projections(31, 35)), dynamic_shapes=tuple(free)).module()


def test_exported_program_takes_another_batch() -> None:
    inputs = [torch.cat([tensor, tensor]) for tensor in projections(31, 35)]
    assert distance(exported_at_free_sizes()(*inputs), dense(*inputs)) < 1e-5


@pytest.mark.parametrize(("queries", "positions"), [(16, 16), (17, 40), (100, 99)])
def test_exported_program_takes_other_sizes(queries: int, positions: int) -> None:
    inputs = projections(queries, positions)
    assert distance(exported_at_free_sizes()(*inputs), dense(*inputs)) < 1e-5


def test_exported_program_never_holds_all_weights() -> None:
    program, inputs = exported_at_free_sizes(), projections(320, 320)
    with torch.no_grad(), LargestTensor() as seen:
        program(*inputs)
    assert seen.numel < inputs[0].shape[0] * 320 * 320 / 4
