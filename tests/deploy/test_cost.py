"""Counts against torch's own counter and against layers counted by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from segwright.deploy.cost import Cost, Operation, count_cost
from segwright.errors import ConfigError
from segwright.info import ModelInfo
from segwright.models.segmentation_model import build_model


def info(name: str, **options: object) -> ModelInfo:
    return ModelInfo(name, options, ("a", "b", "c"), ((0, 0, 0),) * 3)


@pytest.mark.parametrize("name", ["fast_scnn", "bisenet", "danet", "icnet"])
def test_gmacs_are_torchs_own(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 3, {}).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model(torch.empty(1, 3, 96, 160))
    assert count_cost(info(name), (96, 160)).gmacs == counter.get_total_flops() / 2e9 > 0


def test_heads_that_only_train_are_no_parameters() -> None:
    model = build_model("fast_scnn", 3, {})
    dead = sum(parameter.numel() for parameter in model.aux_heads.parameters())
    assert dead > 0
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert count_cost(info("fast_scnn"), (64, 96)).params == everything - dead


def test_an_operation_reads_maps_and_weights_and_writes_its_output() -> None:
    first = count_cost(info("fast_scnn"), (64, 96)).operations[0]  # 3 -> 32 channels, 3x3, stride 2
    flops, weights = 2 * 32 * 3 * 9 * 32 * 48, 32 * 3 * 9
    assert first == Operation(flops, 3 * 64 * 96 + weights + 32 * 32 * 48)


def test_gmacs_are_half_of_the_operations() -> None:
    assert Cost(1, (Operation(2_000_000_000, 1), Operation(1_000_000_000, 1))).gmacs == 1.5


def test_a_network_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown model 'nosuch'"):
        count_cost(info("nosuch"), (64, 96))
