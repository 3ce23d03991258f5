"""Processes that share a batch, played by threads, against one that has it alone."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from segwright.backbones.timm_norm import BatchNormAct
from segwright.layers.sharing import (
    SharedBatchNorm2d,
    Sharing,
    batch_count,
    batch_draw,
    batch_share,
    batch_sum,
    batch_values,
    share_batch,
    sharing_batch,
)
from tests.support.sharing import in_processes

PICTURES = 4


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    """Far from zero, where sums of squares would lose the variance."""
    torch.manual_seed(3)
    return (torch.randn(PICTURES, 5, 6, 7, dtype=torch.float64) * 2 + 50).to(dtype)


def steps(norm: nn.Module, batch: Tensor, sharing: Sharing | None) -> list[Tensor]:
    """Output, gradients and running statistics after one step of a normalisation on its part of the batch."""
    torch.manual_seed(4)
    wanted = torch.randn(PICTURES, 5, 6, 7, dtype=torch.float64).to(batch)
    rows = slice(None)
    part = nn.Sequential(copy.deepcopy(norm))
    if sharing is not None:
        share_batch(part, sharing, norms=True)
        rows = sharing.rows(PICTURES // sharing.world_size)
    own = batch[rows].clone().requires_grad_()
    output = part(own)
    (output * wanted[rows]).sum().backward()
    layer = part[0]
    grads = [own.grad, layer.weight.grad, layer.bias.grad]
    return [output.detach(), *grads, layer.running_mean, layer.running_var, layer.num_batches_tracked]


def randomised(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    torch.manual_seed(5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(5), nn.BatchNorm2d(5, momentum=None), BatchNormAct(5)])
def test_normalisation_and_its_gradient_are_those_of_the_whole_batch(norm: nn.BatchNorm2d, world_size: int) -> None:
    norm = randomised(norm).double()
    alone = steps(norm, images(), None)
    shared = in_processes(world_size, lambda sharing: steps(norm, images(), sharing))
    for place, expected in enumerate(alone):
        found = [step[place] for step in shared]
        if place in (0, 1):  # of the pictures
            found = [torch.cat(found)]
        elif place in (2, 3):  # of the parameters: the sum over the processes
            found = [torch.stack(found).sum(0)]
        for tensor in found:
            torch.testing.assert_close(tensor, expected, rtol=1e-11, atol=1e-11)


def test_normalisation_in_bf16_keeps_its_statistics_in_float32() -> None:
    norm, batch = randomised(nn.BatchNorm2d(5)), images(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    alone = steps(norm, batch, None)
    shared = in_processes(2, lambda sharing: steps(norm, batch, sharing))
    for step in shared:
        torch.testing.assert_close(step[4:6], alone[4:6], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat([step[0] for step in shared]), alone[0], rtol=1e-2, atol=1e-2)


def test_one_value_per_process_and_channel_is_enough() -> None:
    def normed(sharing: Sharing) -> Tensor:
        part = nn.Sequential(nn.BatchNorm2d(1))
        share_batch(part, sharing, norms=True)
        output: Tensor = part(torch.tensor([[[[float(sharing.rank)]]]]))
        return output.detach()

    torch.testing.assert_close(
        torch.cat(in_processes(2, normed)).flatten(), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0
    )


def test_evaluation_and_keys_are_those_of_the_plain_network() -> None:
    plain = nn.Sequential(randomised(nn.BatchNorm2d(5)), nn.Dropout(0.5)).double()
    shared = copy.deepcopy(plain)
    share_batch(shared, Sharing(0, 2, lambda tensor: tensor), norms=True)
    assert shared.state_dict().keys() == plain.state_dict().keys()
    assert isinstance(shared[0], SharedBatchNorm2d)
    assert torch.equal(shared.eval()(images()), plain.eval()(images()))
    share_batch(plain, Sharing(0, 2, lambda tensor: tensor), norms=False)
    assert not isinstance(plain[0], SharedBatchNorm2d)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_dropout_draws_what_one_process_would(
    kind: Callable[[float], nn.Module], memory_format: torch.memory_format
) -> None:
    batch = images(torch.float32).contiguous(memory_format=memory_format)
    torch.manual_seed(6)
    expected, after = kind(0.3)(batch), torch.get_rng_state()
    parts = []
    for rank in range(2):
        part, sharing = nn.Sequential(kind(0.3)), Sharing(rank, 2, lambda tensor: tensor)
        share_batch(part, sharing, norms=True)
        torch.manual_seed(6)
        parts.append(part(batch[sharing.rows(2)]))
        assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(torch.cat(parts), expected)
    assert (expected == 0).any()


def test_mean_of_the_processes_quotients_is_the_quotient_of_the_sums() -> None:
    sums, amounts = torch.tensor([6.0, 1.0]), torch.tensor([3, 0])

    def quotient(sharing: Sharing) -> Tensor:
        with sharing_batch(sharing):
            return sums[sharing.rank] / batch_share(amounts[sharing.rank], least=1)

    assert float(torch.stack(in_processes(2, quotient)).mean()) == pytest.approx(7 / 3)
    assert float(batch_share(torch.tensor(0), least=1)) == 1


def test_mean_gradient_of_a_sum_over_the_processes_is_that_of_one_process() -> None:
    values = torch.tensor([2.0, 5.0], dtype=torch.float64)

    def gradient(sharing: Sharing) -> tuple[float, float]:
        own = values[sharing.rank].clone().requires_grad_()
        with sharing_batch(sharing):
            loss = batch_sum(own).square()
        loss.backward()
        assert own.grad is not None
        return float(loss.detach()), float(own.grad) / sharing.world_size

    assert in_processes(2, gradient) == [(49.0, 14.0)] * 2


def test_values_counts_and_draws_of_unequal_processes_come_together() -> None:
    def collected(sharing: Sharing) -> tuple[list[float], int]:
        with sharing_batch(sharing):
            return batch_values(torch.arange(3.0 * sharing.rank)).tolist(), batch_count(sharing.rank + 1)

    assert in_processes(2, collected) == [([0.0, 1.0, 2.0], 3)] * 2
    rows = []
    for sharing in (None, Sharing(0, 2, lambda tensor: tensor), Sharing(1, 2, lambda tensor: tensor)):
        torch.manual_seed(7)
        with sharing_batch(sharing):
            rows.append(batch_draw(torch.empty(4 if sharing is None else 2, 3), lambda drawn: drawn.exponential_()))
    assert torch.equal(torch.cat(rows[1:]), rows[0])
