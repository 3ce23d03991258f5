"""Which statistics a run's batch normalisations use."""

from typing import Any

import pytest
import torch
from torch import nn

from segwright.config import Config, make_config
from segwright.engine.launch import make_run_config
from segwright.engine.norms import arrange_norms
from segwright.errors import ConfigError
from segwright.layers.sharing import SharedBatchNorm2d, SharedDropout
from segwright.models import SegmentationModel, build_model


class Processes:
    """What is asked of Accelerate."""

    def __init__(self, number: int, device: str = "cpu") -> None:
        self.num_processes, self.process_index, self.device = number, 0, torch.device(device)


def settings(kind: str, weights: str | None = None) -> Config:
    return make_config({"train": {"batch_norm": kind}, "model": {"weights": weights}})


def network(name: str = "fast_scnn", **options: Any) -> SegmentationModel:
    return build_model(name, 3, options).train()


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def arranged(kind: str, processes: int, device: str = "cpu", weights: str | None = None) -> SegmentationModel:
    accelerator: Any = Processes(processes, device)
    return arrange_norms(settings(kind, weights), network(), accelerator)


@pytest.mark.parametrize(
    ("kind", "processes", "is_shared"),
    [("auto", 1, False), ("auto", 2, True), ("sync", 1, False), ("sync", 2, True), ("local", 2, False)],
)
def test_statistics_are_shared_where_that_is_asked_for_and_others_are_there(
    kind: str, processes: int, is_shared: bool
) -> None:
    model = arranged(kind, processes)
    assert {isinstance(norm, SharedBatchNorm2d) for norm in norms(model)} == {is_shared}
    assert any(isinstance(module, SharedDropout) for module in model.modules()) == (processes > 1)


def test_on_cuda_they_are_torchs_own() -> None:
    model = arranged("auto", 2, device="cuda")
    assert {type(norm) for norm in norms(model)} == {nn.SyncBatchNorm}
    assert model.state_dict().keys() == network().state_dict().keys()


def test_frozen_statistics_stay_and_the_parameters_learn() -> None:
    model = arranged("frozen", 1, weights="start.safetensors")
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    output = model(torch.randn(2, 3, 64, 64))
    torch.stack([logits.sum() for logits in (output.logits, *output.aux.values())]).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert all(norm.weight.grad is not None for norm in norms(model))


def test_with_imagenets_weights_the_trunks_statistics_are_frozen() -> None:
    model = network("fcn", backbone="resnet18")
    accelerator: Any = Processes(2)
    arrange_norms(settings("frozen", "imagenet"), model, accelerator)
    assert not any(norm.training for norm in norms(model.backbone))  # type: ignore[arg-type]
    others = set(norms(model)) - set(norms(model.backbone))  # type: ignore[arg-type]
    assert all(norm.training and isinstance(norm, SharedBatchNorm2d) for norm in others)
    assert others


def test_freezing_fresh_statistics_is_refused_before_any_file_is_read() -> None:
    with pytest.raises(ConfigError, match="fresh weights have no statistics") as caught:
        make_run_config("data", settings={"train.batch_norm": "frozen"})
    assert "--weights" in caught.value.fix
