"""DANet's modules against the paper's formulas, and the network's size."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.errors import ConfigError
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import DECODERS, EncoderDecoder, SegmentationModel, create_model
from segwright.models import danet as builder
from segwright.models.danet import ChannelAttention, DualAttentionDecoder, PositionAttention
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs


def maps(channels: int, height: int, width: int, *, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


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


# precision


def test_channel_energies_beyond_float16_are_finite() -> None:
    module, features = channel_attention().half(), (300 * maps(6, 20, 30)).half()
    assert (features.double().flatten(2).square().sum(dim=2) > 65504).all()
    assert module.weights(features).dtype == torch.float32
    wanted = copy.deepcopy(module).double()(features.double())
    assert distance(module(features), wanted) < 5e-3


def test_channel_energies_are_float32_under_autocast() -> None:
    module, features = channel_attention(), maps(6, 20, 30)
    with torch.autocast("cpu", torch.bfloat16):
        got = module(features)
    assert distance(got, module(features)) == 0


def test_training_under_autocast_is_near_float32() -> None:
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
    assert F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


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
