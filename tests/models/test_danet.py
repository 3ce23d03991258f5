"""DANet's modules against the paper's formulas, and the network's size."""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segwright.errors import ConfigError
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import DECODERS, EncoderDecoder, SegmentationModel, create_model
from segwright.models import danet as builder
from segwright.models.danet import ChannelAttention, DualAttentionDecoder, PositionAttention, attend
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs

MODULE = sys.modules["segwright.models.danet"]  # the package has the builder under this name


def maps(channels: int, height: int, width: int, *, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def projections(queries: int, positions: int, *, key_width: int = 8, width: int = 24) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, queries, key_width), (2, positions, key_width), (2, positions, width)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def dense(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(queries @ keys.transpose(1, 2), dim=-1) @ values


def position_attention(channels: int = 16) -> PositionAttention:
    module = PositionAttention(channels)
    fill(module)
    return module


def channel_attention(weights: Any = "official") -> ChannelAttention:
    module = ChannelAttention(weights)
    fill(module)
    return module


def small(**options: object) -> EncoderDecoder:
    model = create_model("danet", num_classes=5, backbone="resnet18", **options)
    assert isinstance(model, EncoderDecoder)
    return model


def on_meta(backbone: str) -> SegmentationModel:
    with torch.device("meta"):
        return create_model("danet", num_classes=19, backbone=backbone).eval()


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


# the paper's formulas


def test_position_attention_equals_three_loops() -> None:
    module, features = position_attention(), maps(16, 3, 4, batch=1)
    query, key, value = (conv(features)[0].flatten(1).T.tolist() for conv in (module.query, module.key, module.value))
    wanted = np.zeros((12, 16))
    for here in range(12):
        energies = [sum(q * k for q, k in zip(query[here], key[there], strict=True)) for there in range(12)]
        shares = [np.exp(energy) / sum(np.exp(other) for other in energies) for energy in energies]
        for there in range(12):
            wanted[here] += shares[there] * np.array(value[there])
    got = (module(features) - features)[0].flatten(1).T / module.gamma
    assert distance(got, torch.from_numpy(wanted)) < 1e-5


@pytest.mark.parametrize(("weights", "sign"), [("official", -1), ("plain", 1)])
def test_channel_attention_equals_three_loops(weights: str, sign: int) -> None:
    module, features = channel_attention(weights), maps(5, 3, 4, batch=1)
    rows = features[0].flatten(1).double().numpy()
    wanted = np.zeros_like(rows)
    for here in range(5):
        energies = np.array([sum(rows[here][p] * rows[there][p] for p in range(12)) for there in range(5)])
        energies = energies.max() - energies if sign < 0 else energies
        for there in range(5):
            wanted[here] += np.exp(energies[there]) / np.exp(energies).sum() * rows[there]
    got = (module(features) - features)[0].flatten(1) / module.beta
    assert distance(got, torch.from_numpy(wanted)) < 1e-5


def test_authors_channel_attention_weighs_itself_least_and_the_paper_s_most() -> None:
    features = F.normalize(maps(6, 4, 5).flatten(2), dim=2).view(2, 6, 4, 5)
    assert (channel_attention("official").weights(features).argmin(dim=-1) == torch.arange(6)).all()
    assert (channel_attention("plain").weights(features).argmax(dim=-1) == torch.arange(6)).all()


@pytest.mark.parametrize("module", [PositionAttention(16), ChannelAttention()])
def test_module_is_the_identity_at_first(module: nn.Module) -> None:
    features = maps(16, 5, 7)
    assert torch.equal(module(features), features)
    assert not torch.equal(position_attention()(features), features)


def test_projections_get_no_gradient_at_first_and_everything_else_does() -> None:
    torch.manual_seed(0)
    model = small().train()
    loss = SegmentationLoss(cross_entropy, model.aux_weights)
    loss(model(images(0, 64, 96, batch=2)), torch.randint(5, (2, 64, 96)))["loss"].backward()
    gradients = {key: parameter.grad for key, parameter in model.decoder.named_parameters()}
    idle = [key for key, gradient in gradients.items() if gradient is None or not gradient.any()]
    convs = ("query", "key", "value")
    assert idle == [f"position.1.{conv}.{leaf}" for conv in convs for leaf in ("weight", "bias")]


def test_weights_of_a_position_sum_to_one() -> None:
    queries, keys, _ = projections(30, 35)
    weights = attend(queries, keys, torch.eye(35).expand(2, 35, 35))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 30))
    assert weights.sum(dim=1).std() > 0.1  # the other axis does not


def test_position_attention_follows_a_permutation_of_positions() -> None:
    module, features = position_attention(), maps(16, 5, 7)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))

    def permuted(tensor: Tensor) -> Tensor:
        return tensor.flatten(2)[..., order].view_as(tensor)

    assert distance(module(permuted(features)), permuted(module(features))) < 1e-5


def test_channel_attention_follows_a_permutation_of_channels() -> None:
    module, features = channel_attention(), maps(6, 5, 7)
    order = [3, 0, 5, 1, 4, 2]
    assert distance(module(features[:, order]), module(features)[:, order]) < 1e-5


def test_channel_weights_do_not_depend_on_where_things_are() -> None:
    module, features = channel_attention(), maps(6, 5, 7)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))
    moved = features.flatten(2)[..., order].view_as(features)
    assert distance(module.weights(moved), module.weights(features)) < 1e-5
    assert module.weights(features).shape == (2, 6, 6)


def test_maps_need_not_be_square() -> None:
    """The transposed map gives the transposed result, for modules that see positions as a set."""
    features = maps(16, 3, 11)
    for module in (position_attention(), channel_attention()):
        assert distance(module(features.mT), module(features).mT) < 1e-5


# chunks, precision, export


@pytest.mark.parametrize("rows", [1, 7, 30, 31])
def test_chunked_attention_and_its_gradient_equal_the_dense_form(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "chunk_weights", lambda device: rows * 35)
    ours, theirs = projections(31, 35), projections(31, 35)
    got, wanted = attend(*ours), dense(*theirs)
    assert distance(got, wanted) < 1e-5
    weight = torch.linspace(-1, 1, got.numel()).view_as(got)
    (got * weight).sum().backward()
    (wanted * weight).sum().backward()
    for own, other in zip(ours, theirs, strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert distance(own.grad, other.grad) < 1e-5


def test_no_step_of_training_holds_all_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    positions, chunk = 512, 2**14
    monkeypatch.setattr(MODULE, "chunk_weights", lambda device: chunk)
    inputs = projections(positions, positions)
    with saved_for_backward() as saved, LargestTensor() as largest:
        output = attend(*inputs)
        output.sum().backward()
    assert sum(saved.values()) < 2 * positions**2 / 4
    assert largest.numel == 2 * chunk  # of a batch of 2
    with saved_for_backward() as saved:
        dense(*inputs)
    assert sum(saved.values()) >= 2 * positions**2  # the measure sees what it is to see


def test_evaluation_holds_no_more_than_a_chunk() -> None:
    inputs = projections(3000, 3000, width=8)
    with torch.no_grad(), LargestTensor() as largest:
        attend(*inputs)
    assert largest.numel <= 2 * 2**22 < 2 * 3000**2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_energies_are_float32_under_autocast(dtype: torch.dtype) -> None:
    """Energies of some hundreds, whose rounding to bf16 would be an error of more than 1 in the exponent."""
    queries, keys, values = (tensor.detach().to(dtype) for tensor in projections(40, 35))
    queries, keys = 8 * queries, 8 * keys
    with torch.autocast("cpu", torch.bfloat16):
        got = attend(queries, keys, values)
    assert got.dtype == dtype
    assert distance(got, dense(queries.double(), keys.double(), values.double())) < 0.02


def test_channel_energies_beyond_float16_are_finite() -> None:
    module, features = channel_attention().half(), (300 * maps(6, 20, 30)).half()
    assert (features.double().flatten(2).square().sum(dim=2) > 65504).all()
    assert module.weights(features).dtype == torch.float32
    wanted = copy.deepcopy(module).double()(features.double())
    assert distance(module(features), wanted) < 5e-3


def test_training_under_autocast_is_near_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "chunk_weights", lambda device: 16)
    gradients = []
    for enabled in (False, True):
        decoder = DualAttentionDecoder(64, 5, dropout=0.0)
        fill(decoder)
        features = maps(64, 6, 8).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = decoder([features])
        sum(logits.float().square().mean() for logits in (output.logits, *output.aux.values())).backward()
        gradients.append(features.grad)
    exact, rounded = gradients
    assert exact is not None
    assert rounded is not None
    similarity = F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
    assert similarity > 0.99


def test_chunks_are_exported_even_with_gradients_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "chunk_weights", lambda device: 16)
    module, features = position_attention().eval(), maps(16, 5, 7)
    program = torch.export.export(module, (features,)).module()
    assert distance(program(2 * features), module(2 * features)) < 1e-5


def test_float64_stays() -> None:
    features = maps(16, 3, 4).double()
    assert position_attention().double()(features).dtype == torch.float64
    assert channel_attention().double().weights(features).dtype == torch.float64


# the network


@pytest.mark.parametrize(
    ("backbone", "inference", "training", "gmacs"),
    [("resnet50", 47_443_157, 47_462_651, (498.6, 2217)), ("resnet101", 66_435_285, 66_454_779, (673.1, 2838))],
)
def test_size_is_the_paper_s_network_s(
    backbone: str, inference: int, training: int, gmacs: tuple[float, float]
) -> None:
    model = on_meta(backbone)
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    branches = sum(count for key, count in counts.items() if "_classifier" in key)
    assert (sum(counts.values()) - branches, sum(counts.values())) == (inference, training)
    assert round(count_macs(model, 768, 768) / 1e9, 1) == gmacs[0]
    assert round(count_macs(model, 1024, 2048) / 1e9) == gmacs[1]


@torch.no_grad()
def test_attention_sees_an_eighth_of_the_image() -> None:
    model = small().eval()
    seen: list[torch.Size] = []
    for branch in (model.decoder.position, model.decoder.channel):
        branch[1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model(images(0, 96, 160))
    assert seen == [(1, 128, 12, 20)] * 2


def test_queries_and_keys_have_an_eighth_of_the_channels() -> None:
    module = PositionAttention(512)
    assert (module.query.out_channels, module.key.out_channels, module.value.out_channels) == (64, 64, 512)
    assert all(conv.bias is not None for conv in (module.query, module.key, module.value))


@torch.no_grad()
def test_logits_are_the_classified_sum_of_both_branches() -> None:
    decoder = DualAttentionDecoder(64, 5).eval()
    fill(decoder)
    features = maps(64, 6, 8)
    position, channel = decoder.position(features), decoder.channel(features)
    assert torch.equal(decoder([features]).logits, decoder.classifier(position + channel))
    for part in decoder.modules():
        part.training = part is decoder  # no dropout, but auxiliary outputs
    aux = decoder([features]).aux
    assert torch.equal(aux["position"], decoder.position_classifier(position))
    assert torch.equal(aux["channel"], decoder.channel_classifier(channel))


def test_three_outputs_count_alike_in_the_loss() -> None:
    assert small().aux_weights == {"position": 1.0, "channel": 1.0}
    assert small(variant="mmseg").aux_weights == {"aux": 0.4, "position": 1.0, "channel": 1.0}
    assert small().aux_head is None


@pytest.mark.parametrize(
    ("options", "rates"),
    [({}, [4, 8, 16]), ({"multi_grid": False}, [2, 4, 4]), ({"variant": "mmseg"}, [2, 4, 4])],
)
def test_dilation_of_the_last_stage(options: dict[str, Any], rates: list[int]) -> None:
    with torch.device("meta"):
        model = builder(5, backbone="resnet50", **options)
    stage = model.backbone.network.get_submodule("layer4")
    assert [block.conv2.dilation[0] for block in stage] == rates


@torch.no_grad()
def test_trunks_that_are_no_resnets_have_no_multi_grid() -> None:
    model = create_model("danet", num_classes=3, backbone="convnext_atto", output_stride=32).eval()
    assert model(images(0, 33, 65)).logits.shape == (1, 3, 33, 65)


def test_decoder_is_found_by_name() -> None:
    decoder = DECODERS["danet"]((8, 16, 32, 64), 5, output_stride=16)
    assert decoder.eval()([maps(64, 3, 4)]).logits.shape == (2, 5, 3, 4)


@pytest.mark.parametrize("options", [{"channel_attention": "paper"}, {"variant": "authors"}, {"output_stride": 4}])
def test_unknown_choices_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} of model 'danet' must be one of"):
        create_model("danet", num_classes=5, **options)
