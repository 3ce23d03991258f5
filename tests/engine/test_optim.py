import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from segwright.config import TrainSettings
from segwright.engine.optim import (
    WeightAverage,
    build_optimizer,
    decay_kind,
    learning_rate,
    parameter_groups,
    set_learning_rate,
)
from segwright.layers import BatchNorm2d
from segwright.models import create_model

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "lr.json").read_text())


def names_in(model: nn.Module, group: dict[str, object]) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = group["params"]
    assert isinstance(parameters, list)
    return {names[id(parameter)] for parameter in parameters}


@pytest.mark.parametrize(
    ("module", "name", "kind"),
    [
        (nn.Conv2d(8, 8, 3), "weight", "weight"),
        (nn.Conv2d(8, 8, 3), "bias", "bias"),
        (nn.Conv2d(8, 8, 3, groups=8), "weight", "depthwise"),
        (nn.Conv2d(8, 16, 3, groups=8), "weight", "depthwise"),
        (nn.Conv2d(8, 8, 3, groups=8), "bias", "bias"),
        (nn.Conv2d(8, 8, 3, groups=2), "weight", "weight"),
        (nn.Conv2d(1, 8, 3), "weight", "weight"),
        (nn.Linear(8, 8), "weight", "weight"),
        (nn.Linear(8, 8), "bias", "bias"),
        (BatchNorm2d(8), "weight", "norm"),
        (BatchNorm2d(8), "bias", "norm"),
        (nn.GroupNorm(2, 8), "weight", "norm"),
        (nn.LayerNorm(8), "bias", "norm"),
    ],
)
def test_kind_of_a_parameter(module: nn.Module, name: str, kind: str) -> None:
    assert decay_kind(module, name) == kind


def test_depthwise_weights_of_fast_scnn_do_not_decay_and_all_others_do() -> None:
    model = create_model("fast_scnn", num_classes=19)
    decayed, free = parameter_groups(model, 4e-5, TrainSettings().no_decay)
    assert (decayed["weight_decay"], free["weight_decay"]) == (4e-5, 0.0)
    depthwise = {
        f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    }
    assert len(depthwise) == 2 + 9 + 1 + 2
    assert names_in(model, free) == depthwise
    assert names_in(model, decayed) == dict(model.named_parameters()).keys() - depthwise


def test_norms_and_biases_do_not_decay_where_that_is_asked_for() -> None:
    model = create_model("fast_scnn", num_classes=19)
    _, free = parameter_groups(model, 0.01, ("norm", "bias"))
    sides = {name: parameter.ndim for name, parameter in model.named_parameters()}
    assert names_in(model, free) == {name for name, ndim in sides.items() if ndim == 1}


def test_group_without_parameters_is_left_out() -> None:
    (group,) = parameter_groups(nn.Linear(2, 2), 0.01, ())
    assert group["weight_decay"] == 0.01


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW)])
def test_optimizer_has_the_settings(name: str, kind: type) -> None:
    settings = TrainSettings(optimizer=name, lr=0.02, momentum=0.8, weight_decay=0.03)
    optimizer = build_optimizer(create_model("fast_scnn", num_classes=2), settings)
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.03, 0.0]
    assert all(group["lr"] == 0.02 for group in optimizer.param_groups)
    assert all(group.get("momentum", group.get("betas")) in (0.8, (0.8, 0.999)) for group in optimizer.param_groups)


def test_head_has_its_own_rate_and_the_trunk_the_run_s() -> None:
    model = create_model("fcn", num_classes=2, backbone="resnet18")
    optimizer = build_optimizer(model, TrainSettings(no_decay=("norm", "bias"), head_lr_factor=10))
    set_learning_rate(optimizer, 0.5)
    names = {
        rate: set[str]().union(*(names_in(model, group) for group in optimizer.param_groups if group["lr"] == rate))
        for rate in (0.5, 5.0)
    }
    trunk = {name for name, _ in model.named_parameters() if name.startswith("backbone.")}
    assert names[0.5] == trunk
    assert names[5.0] == dict(model.named_parameters()).keys() - trunk
    assert [group["weight_decay"] for group in optimizer.param_groups] == [4e-5, 0.0, 4e-5, 0.0]


def test_network_without_a_trunk_is_all_head() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2), TrainSettings(head_lr_factor=3))
    set_learning_rate(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [3.0]


def test_poly_schedule_equals_torch_s() -> None:
    settings = TrainSettings(lr=0.01, power=0.9)
    recorded = RECORDED["torch_PolynomialLR_p09_100"]
    assert len(recorded) >= 100
    for step, wanted in enumerate(recorded):
        assert learning_rate(step, 100, settings) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_poly_schedule_never_leaves_its_range() -> None:
    settings = TrainSettings(lr=0.045, warmup_iters=0)
    rates = [learning_rate(step, 50, settings) for step in range(200)]
    assert rates[0] == 0.045
    assert all(earlier > later for earlier, later in itertools.pairwise(rates[:51]))
    assert rates[50:] == [0.0] * 150


def test_warm_up_rises_linearly_under_the_poly_schedule() -> None:
    plain, warm = TrainSettings(lr=0.01), TrainSettings(lr=0.01, warmup_iters=4)
    shares = [learning_rate(step, 100, warm) / learning_rate(step, 100, plain) for step in range(8)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


def test_learning_rate_is_set_in_every_group() -> None:
    optimizer = build_optimizer(create_model("fast_scnn", num_classes=2), TrainSettings())
    set_learning_rate(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]


class Counter(nn.Module):
    """One weight, one running statistic and one count, set by hand."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.mean: Tensor
        self.steps: Tensor
        self.register_buffer("mean", torch.tensor([10 * value]))
        self.register_buffer("steps", torch.tensor(int(value)))


def test_average_equals_a_computation_by_hand() -> None:
    average = WeightAverage(Counter(1.0), decay=0.3)
    by_hand = 1.0
    for step, value in enumerate([2.0, -4.0, 7.0, 3.0, 5.0, 0.5]):
        average.update(Counter(value), step)
        decay = min(0.3, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * value
        assert float(average.model.weight) == pytest.approx(by_hand, rel=1e-6)
        assert float(average.model.mean) == pytest.approx(10 * by_hand, rel=1e-6)
        assert int(average.model.steps) == int(value)


def test_average_starts_as_a_copy_and_leaves_the_network_alone() -> None:
    model = create_model("fast_scnn", num_classes=2).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    average = WeightAverage(model, decay=0.999)
    assert all(torch.equal(tensor, before[key]) for key, tensor in average.model.state_dict().items())
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    average.update(create_model("fast_scnn", num_classes=2), 0)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
