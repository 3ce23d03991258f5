"""Every registered network, rewritten, gives the original's logits."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segwright.errors import ConfigError, RunError
from segwright.inference.rewriting import rewrite as module
from segwright.inference.rewriting.convolutions import PointwiseConv2d, ShiftedConv2d
from segwright.inference.rewriting.pyramids import CoarselyFusedPyramid
from segwright.inference.rewriting.rewrite import STEPS, Rewrites, Step, rewrite, rewrites_of
from segwright.models import SegmentationModel, create_model, save_model
from segwright.types import SegmentationOutput
from tests.models.test_contract import CASES, network
from tests.support.compare import distance
from tests.support.fill import fill, images

SIZES = [(1, 1), (33, 97), (64, 96)]

ONLY_TRAINED = (
    "aux_head",
    "aux_heads",
    "decoder.position_classifier",
    "decoder.channel_classifier",
    "decoder.presence",
)
"""What the networks have for training only, by name; the code finds it without names."""

NORMS_OF_THEIR_OWN = ("decoder.context.norm", *(f"shape_stream.gated_convs.{i}.attention.0" for i in range(3)))
"""Normalisations that no convolution stands before: of an encoding, and of concatenated maps."""


def done_to(model: SegmentationModel) -> Rewrites:
    done = rewrites_of(model)
    assert done is not None
    return done


def norms(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, _BatchNorm)]


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Small(SegmentationModel):
    """A convolution and a normalisation, in the order that a test gives them."""

    num_classes, aux_weights = 2, {}

    def __init__(self, compute: "Callable[[Small, Tensor], Tensor] | None" = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.other = nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(3, 2, 1)
        self.compute = compute or (lambda net, maps: net.norm(net.conv(maps)))
        self.norm.running_mean, self.norm.running_var = torch.randn(2), torch.rand(2) + 0.5
        self.eval()

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.compute(self, images), {})


class Pair(NamedTuple):
    """A network, and what all steps make of it."""

    model: SegmentationModel
    before: dict[str, Tensor]
    fast: SegmentationModel


@pytest.fixture(scope="module", params=CASES, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    model = network(request.param).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    return Pair(model, before, rewrite(model, steps=STEPS, min_rate=2))


@torch.no_grad()
def test_rewritten_network_equals_the_original_and_leaves_it_as_it_was(pair: Pair) -> None:
    assert not pair.fast.training
    assert pair.model.training
    after = pair.model.state_dict()
    assert after.keys() == pair.before.keys()
    assert all(torch.equal(tensor, pair.before[key]) for key, tensor in after.items())
    pair.model.eval()
    for size in SIZES:
        pictures = images(0, *size, batch=2)
        assert distance(pair.fast(pictures).logits, pair.model(pictures).logits) < 1e-4


def test_nothing_but_what_training_needs_is_dropped_and_every_norm_after_a_convolution_folded(pair: Pair) -> None:
    done, has = done_to(pair.fast), dict(pair.model.named_modules())
    assert set(done.dropped) == {name for name in ONLY_TRAINED if name in has and parameters(has[name])}
    assert done.dropped_parameters == sum(parameters(has[name]) for name in done.dropped)
    kept = [name for name in norms(pair.model) if not name.startswith(ONLY_TRAINED)]
    left = [name for name in kept if name in NORMS_OF_THEIR_OWN]
    assert norms(pair.fast) == list(done.norms_left) == left
    assert sorted(done.folded) == sorted(set(kept) - set(left))
    assert done.folded


@torch.no_grad()
def test_rewritten_network_is_finite_in_bf16_and_a_copy_and_a_pickle_compute_the_same(pair: Pair) -> None:
    pictures = images(0, 33, 97)
    with torch.autocast("cpu", torch.bfloat16):
        assert pair.fast(pictures).logits.isfinite().all()
    wanted = pair.fast(pictures).logits
    assert torch.equal(copy.deepcopy(pair.fast)(pictures).logits, wanted)
    assert torch.equal(pickle.loads(pickle.dumps(pair.fast))(pictures).logits, wanted)


@pytest.mark.parametrize(
    "steps", [(), ("drop",), ("fold",), ("pyramid",), ("shift",), ("pointwise",), ("channels_last",)]
)
def test_each_step_does_its_own_work_only(steps: tuple[Step, ...]) -> None:
    model = create_model("icnet", num_classes=3, variant="mmseg")
    fast = rewrite(model, steps=steps, min_rate=4)
    done = done_to(fast)
    assert done.steps == steps
    assert bool(done.dropped) == ("drop" in steps) == (fast.aux_heads is None)
    left, there = ([name for name in norms(net) if not name.startswith("aux_heads")] for net in (fast, model))
    assert bool(done.folded) == ("fold" in steps) == (len(left) < len(there))
    kinds = {type(part) for part in fast.modules()}
    assert bool(done.shifted) == ("shift" in steps) == (ShiftedConv2d in kinds)
    assert bool(done.pyramids) == ("pyramid" in steps) == (CoarselyFusedPyramid in kinds)
    assert bool(done.pointwise) == ("pointwise" in steps) == (PointwiseConv2d in kinds)
    weight = fast.get_parameter("high_branch.1.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last) == ("channels_last" in steps)


def test_shift_takes_the_rates_from_the_smallest_on() -> None:
    model = create_model("deeplabv3", num_classes=3, backbone="resnet18", output_stride=16)
    rates = {name: max(part.dilation) for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    for min_rate in (6, 12, 19):
        done = done_to(rewrite(model, steps=("shift",), min_rate=min_rate))
        assert set(done.shifted) == {name for name, rate in rates.items() if rate >= min_rate}


def test_auto_shifts_from_the_smallest_measured_rate_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gains_by_rate", lambda *_, **__: {6: 0.5, 12: 1.2, 18: 3.0})
    monkeypatch.setattr(module, "gain_of_pointwise", lambda *_, **__: None)
    model = create_model("deeplabv3", num_classes=3, backbone="resnet18", output_stride=16)
    done = done_to(rewrite(model))
    assert done.steps == ("drop", "fold", "pyramid", "shift", "channels_last")
    assert done.min_rate == 12
    assert len(done.shifted) == 2
    again = done_to(rewrite(model, steps=done.steps, min_rate=done.min_rate))
    assert (again.shifted, again.folded, again.steps) == (done.shifted, done.folded, done.steps)


def test_auto_leaves_out_what_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gains_by_rate", lambda *_, **__: {6: 2.0, 12: 1.2, 18: 1.01})
    monkeypatch.setattr(module, "gain_of_pointwise", lambda *_, **__: 0.9)
    done = done_to(rewrite(create_model("deeplabv3", num_classes=3, backbone="resnet18", output_stride=16)))
    assert done.steps == ("drop", "fold", "pyramid", "channels_last")
    assert done.shifted == done.pointwise == ()
    assert done.gains == {6: 2.0, 12: 1.2, 18: 1.01, 0: 0.9}


def test_auto_measures_maps_as_the_wanted_images_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "gains_by_rate", lambda maps, *_, **__: seen.extend(maps.values()) or {})
    monkeypatch.setattr(module, "gain_of_pointwise", lambda *_, **__: None)
    rewrite(create_model("deeplabv3", num_classes=3, backbone="resnet18", output_stride=8), size=(512, 1024))
    assert len(seen) == 5  # of the multi-grid's and the pyramid's
    assert set(seen) == {(64, 128)}


@pytest.mark.parametrize(
    "compute",
    [
        lambda net, maps: net.norm(net.conv(maps)) + net.conv(maps),
        lambda net, maps: net.norm(net.conv(maps).relu()),
        lambda net, maps: (lambda out: net.norm(out) + out)(net.conv(maps)),
        lambda net, maps: (lambda out: net.norm(out) + out.mean())(net.conv(maps)),
        lambda net, maps: net.norm(net.conv(maps)) + net.norm(net.other(maps)),
        lambda net, maps: net.norm(net.conv(maps)) * net.conv.weight.mean(),
        lambda net, maps: net.norm(net.conv(maps).add_(maps[:, :2])),
    ],
    ids=["called twice", "activation between", "shortcut", "second reader", "two sources", "weight read", "in place"],
)
@torch.no_grad()
def test_a_norm_is_not_folded_where_that_would_change_something(
    compute: Callable[[Small, Tensor], Tensor],
) -> None:
    fast = rewrite(Small(compute), steps=("fold",))
    assert done_to(fast).folded == ()


@torch.no_grad()
def test_a_norm_is_folded_whose_convolution_is_called_for_each_part() -> None:
    model = Small(lambda net, maps: torch.cat([net.norm(net.conv(part)) for part in (maps, maps.flip(-1))]))
    fast = rewrite(model, steps=("fold",))
    assert done_to(fast).folded == ("norm",)
    assert distance(fast(images(0, 9, 9)).logits, model(images(0, 9, 9)).logits) < 1e-5


@torch.no_grad()
def test_who_looks_at_a_folded_norm_still_sees_what_it_gave() -> None:
    seen: list[Tensor] = []

    def keep(part: nn.Module, inputs: object, output: Tensor) -> None:
        seen[:] = [output.clone()]

    model = Small()
    model.norm.register_forward_hook(keep)
    fast, pictures = rewrite(model, steps=("fold",)), images(0, 9, 9)
    model(pictures)
    (wanted,) = seen
    seen.clear()
    fast(pictures)
    assert distance(seen[0], wanted) < 1e-5


@pytest.mark.parametrize("variance", [0.0, 1e-30, 1e-8, 1e12, 1e30])
@torch.no_grad()
def test_running_statistics_of_any_size_are_folded(variance: float) -> None:
    model = Small()
    assert model.norm.running_var is not None
    model.norm.running_var.fill_(variance)
    fast = rewrite(model, steps=("fold",))
    assert done_to(fast).folded == ("norm",)
    pictures = images(0, 33, 97, batch=2)
    assert (fast(pictures).logits - model(pictures).logits).abs().max() < 1e-4 * model(pictures).logits.abs().max()


@torch.no_grad()
def test_auxiliary_head_that_a_hook_feeds_leaves_no_hook_behind() -> None:
    model = create_model(
        "deeplabv3", num_classes=3, backbone="mobilenetv3_large_torchvision", variant="torchvision"
    ).eval()
    fast = rewrite(model, steps=("drop",))
    assert done_to(fast).dropped == ("aux_head",)
    assert not any(part._forward_hooks for part in fast.modules())
    assert any(part._forward_hooks for part in model.modules())


@torch.no_grad()
def test_a_network_of_half_precision_is_rewritten_too() -> None:
    model = create_model("fast_scnn", num_classes=3)
    fill(model)
    fast = rewrite(model.bfloat16().eval(), steps=STEPS)
    assert {parameter.dtype for parameter in fast.parameters()} == {torch.bfloat16}
    assert fast(images(0, 33, 97).bfloat16()).logits.isfinite().all()


def test_in_place_changes_the_network_itself() -> None:
    model = Small()
    wanted = model(images(0, 9, 9)).logits.detach()
    assert rewrite(model, steps=("fold",), in_place=True) is model
    assert done_to(model).folded == ("norm",)
    assert distance(model(images(0, 9, 9)).logits, wanted) < 1e-5


def test_a_rewritten_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rewritten for speed"):
        save_model(rewrite(create_model("fast_scnn", num_classes=2), steps=("drop",)), tmp_path / "m.safetensors")


def test_unknown_step_and_rate_are_named() -> None:
    model = Small()
    with pytest.raises(ConfigError, match="unknown step 'quantise'"):
        rewrite(model, steps=("fold", "quantise"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="min_rate is 0"):
        rewrite(model, steps=("shift",), min_rate=0)


def test_a_rewrite_that_changes_the_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fuse_conv_bn_weights", lambda weight, bias, *_: (weight * 1.1, bias))
    with pytest.raises(RunError, match="the rewritten Small differs from the original"):
        rewrite(Small(), steps=("fold",))


def test_description_counts_and_a_network_as_it_was_has_none() -> None:
    model = create_model("fast_scnn", num_classes=3)
    assert rewrites_of(model) is None
    described = done_to(rewrite(model, steps=("drop", "fold"))).describe()
    assert described["normalisations folded"] == 44
    assert described["normalisations left"] == 0
    assert described["parameters dropped"] == parameters(model.get_submodule("aux_heads"))
    assert described["memory order"] == "as it was"
