"""DeepLabv3 against its paper: sizes, rates, both networks, and what is said about them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.errors import ConfigError
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import EncoderDecoder, at_output_stride, create_model
from segwright.models.deeplabv3 import ASPPDecoder, CascadeDecoder
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs


def network(num_classes: int = 5, **options: Any) -> EncoderDecoder:
    model = create_model("deeplabv3", num_classes=num_classes, **{"backbone": "resnet18", **options})
    assert isinstance(model, EncoderDecoder)
    fill(model)
    return model.eval()


def on_meta(num_classes: int = 21, **options: Any) -> EncoderDecoder:
    with torch.device("meta"):
        model = create_model("deeplabv3", num_classes=num_classes, **options)
    assert isinstance(model, EncoderDecoder)
    return model.eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def rates_of(blocks: nn.Module) -> list[int]:
    """The rate of each residual unit's last 3x3 convolution."""
    units = [[conv for conv in unit.modules() if isinstance(conv, nn.Conv2d)] for unit in blocks.children()]
    return [[conv.dilation[0] for conv in unit if conv.kernel_size == (3, 3)][-1] for unit in units]


def stage(model: EncoderDecoder, number: int) -> nn.Module:
    return model.backbone.network.get_submodule(f"layer{number}")


def aspp_rates(model: EncoderDecoder) -> list[int]:
    assert isinstance(model.decoder, ASPPDecoder)
    return [branch[0].dilation[0] for branch in model.decoder.aspp.branches]


@pytest.mark.parametrize(
    ("backbone", "count", "gmacs"),
    [("resnet50", 39_048_533, {16: 50.44, 8: 166.16}), ("resnet101", 58_040_661, {16: 71.06, 8: 246.18})],
)
def test_size_at_21_classes(backbone: str, count: int, gmacs: dict[int, float]) -> None:
    for output_stride, wanted in gmacs.items():
        model = on_meta(backbone=backbone, output_stride=output_stride)
        assert parameters(model) == count
        assert round(count_macs(model, 513, 513) / 1e9, 2) == wanted


@pytest.mark.parametrize(("output_stride", "side"), [(16, 33), (8, 65), (32, 17)])
def test_logits_of_513_have_the_output_stride_s_side(output_stride: int, side: int) -> None:
    picture = torch.empty(1, 3, 513, 513, device="meta")
    model = on_meta(output_stride=output_stride)
    assert model.strided_logits(picture).logits.shape == (1, 21, side, side)
    assert model(picture).logits.shape == (1, 21, 513, 513)


@pytest.mark.parametrize(
    ("output_stride", "block3", "block4", "aspp"),
    [
        (32, [1] * 6, [1, 2, 4], [1, 3, 6, 9]),
        (16, [1] * 6, [2, 4, 8], [1, 6, 12, 18]),
        (8, [2] * 6, [4, 8, 16], [1, 12, 24, 36]),
    ],
)
def test_rates_double_with_the_resolution(
    output_stride: int, block3: list[int], block4: list[int], aspp: list[int]
) -> None:
    """The multi-grid 1, 2, 4 multiplies block4's rate; the rates of the pooling follow the output stride."""
    model = on_meta(output_stride=output_stride)
    assert rates_of(stage(model, 3)) == block3
    assert rates_of(stage(model, 4)) == block4
    assert aspp_rates(model) == aspp


def test_another_multi_grid_takes_the_place_of_the_paper_s() -> None:
    assert rates_of(stage(on_meta(multi_grid=(1, 2, 1)), 4)) == [2, 4, 2]
    assert rates_of(stage(on_meta(multi_grid=[1, 1, 1], output_stride=8), 4)) == [4, 4, 4]


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_any_backbone_takes_the_decoder(output_stride: int) -> None:
    model = network(backbone="mobilenetv3_small_050", output_stride=output_stride)
    assert model(images(0, 40, 56)).logits.shape == (1, 5, 40, 56)


def test_a_multi_grid_asked_of_no_resnet_is_an_error() -> None:
    with pytest.raises(ConfigError, match="mobilenetv3_small_050' is no ResNet"):
        on_meta(backbone="mobilenetv3_small_050", multi_grid=(1, 2, 4))


def test_the_paper_s_network_has_neither_auxiliary_head_nor_dropout() -> None:
    model = on_meta(backbone="resnet50")
    assert model.aux_head is None
    assert model.aux_weights == {}
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout | nn.Dropout2d) and part.p > 0] == []


@pytest.mark.parametrize("head", ["aspp", "cascade"])
@torch.no_grad()
def test_the_same_weights_work_at_both_output_strides(head: str) -> None:
    trained = network(head=head, cascade_blocks=1)
    evaluated = at_output_stride(trained, 8)
    assert evaluated.info.options == {**trained.info.options, "output_stride": 8}
    assert not evaluated.training
    assert {key: tensor.shape for key, tensor in evaluated.state_dict().items()} == {
        key: tensor.shape for key, tensor in trained.state_dict().items()
    }
    assert all(torch.equal(tensor, trained.state_dict()[key]) for key, tensor in evaluated.state_dict().items())
    picture = images(0, 64, 96)
    assert trained.strided_logits(picture).logits.shape[-2:] == (4, 6)
    assert evaluated.strided_logits(picture).logits.shape[-2:] == (8, 12)
    assert distance(at_output_stride(evaluated, 16)(picture).logits, trained(picture).logits) == 0
    next(evaluated.parameters()).zero_()
    assert next(trained.parameters()).any()


def test_a_network_at_another_output_stride_keeps_mode_type_and_classes() -> None:
    trained = network(num_classes=3).train().double()
    other = at_output_stride(trained, 8)
    assert other.training
    assert next(other.parameters()).dtype == torch.float64
    assert other.info.classes == trained.info.classes


def test_a_network_without_output_stride_has_no_other() -> None:
    with pytest.raises(ConfigError, match="has no option 'output_stride'"):
        at_output_stride(create_model("fast_scnn", num_classes=2), 8)


def without_borders(model: nn.Module) -> nn.Module:
    """Continue maps beyond their borders by the outermost values instead of zeros."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            conv.padding_mode = "replicate"
            conv._reversed_padding_repeated_twice = [side for side in reversed(conv.padding) for _ in (0, 1)]
    return model


@torch.no_grad()
def test_a_picture_of_one_colour_gives_the_same_logits_at_both_output_strides_away_from_borders() -> None:
    trained, picture = network(), torch.full((1, 3, 48, 64), 0.7)
    logits = [without_borders(model)(picture).logits for model in (trained, at_output_stride(trained, 8))]
    assert distance(logits[0].mean((2, 3)), logits[1].mean((2, 3))) < 1e-4
    assert float(logits[0].std((2, 3)).max()) < 1e-4


def test_cascade_doubles_the_rate_from_block_to_block() -> None:
    """Block rates 2, 4, 8, 16 at output stride 16, each times the multi-grid 1, 2, 1."""
    for output_stride, rate in ((16, 2), (8, 4), (32, 1)):
        model = on_meta(head="cascade", output_stride=output_stride)
        assert isinstance(model.decoder, CascadeDecoder)
        found = [rates_of(block) for block in (stage(model, 4), *model.decoder.blocks)]
        assert found == [[rate * 2**number * unit for unit in (1, 2, 1)] for number in range(4)]
    ones = on_meta(head="cascade", multi_grid=(1, 1, 1))
    assert [rates_of(block) for block in (stage(ones, 4), *ones.decoder.blocks)] == [
        [2] * 3,
        [4] * 3,
        [8] * 3,
        [16] * 3,
    ]


def test_size_of_the_cascade() -> None:
    """Nine units of 4,462,592 on the trunk, and a classifier on 2048 channels; no pooling."""
    model = on_meta(head="cascade")
    assert parameters(model) == 23_508_032 + 9 * 4_462_592 + 2048 * 21 + 21
    assert parameters(on_meta(head="cascade", cascade_blocks=0)) == 23_508_032 + 2048 * 21 + 21


def test_blocks_of_the_cascade_begin_with_weights_of_their_own() -> None:
    model = create_model("deeplabv3", num_classes=2, backbone="resnet18", head="cascade", cascade_blocks=1)
    first = [unit.conv1.weight.detach() for unit in (stage(model, 4)[-1], *model.decoder.blocks[0])]
    assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])
    assert all(0.7 < float(weight.std() / first[0].std()) < 1.4 for weight in first)


@pytest.mark.parametrize(
    "options",
    [{"backbone": "mobilenetv3_small_050"}, {"variant": "torchvision"}, {"cascade_blocks": -1}],
)
def test_a_cascade_that_there_is_not_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no cascade of"):
        on_meta(head="cascade", **options)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 97)])
@pytest.mark.parametrize(
    "options",
    [
        {"head": "cascade", "cascade_blocks": 1},
        {"variant": "mmseg", "output_stride": 8},
        {"variant": "smp", "align_corners": True},
        {"variant": "torchvision"},
        {"variant": "torchvision", "backbone": "mobilenetv3_large_torchvision"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_variant_works_and_trains_at_any_size(options: dict[str, Any], size: tuple[int, int]) -> None:
    model = network(**options).train()
    output = model(images(0, *size))
    SegmentationLoss(cross_entropy, model.aux_weights)(output, torch.ones(1, *size))["loss"].backward()
    assert set(output.aux) == set(model.aux_weights)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.eval()(images(0, *size)).logits.shape == (1, 5, *size)


@pytest.mark.parametrize(
    ("options", "output_stride"),
    [
        ({}, 16),
        ({"variant": "mmseg"}, 8),
        ({"variant": "smp"}, 8),
        ({"variant": "torchvision"}, 8),
        ({"variant": "torchvision", "backbone": "mobilenetv3_large_torchvision"}, 16),
    ],
)
def test_output_stride_is_the_one_of_the_training_unless_another_is_given(
    options: dict[str, Any], output_stride: int
) -> None:
    assert on_meta(**options).backbone.strides[-1] == output_stride
    assert on_meta(**options, output_stride=32).backbone.strides[-1] == 32


@pytest.mark.parametrize(("variant", "weights"), [("mmseg", {"aux": 0.4}), ("torchvision", {"aux": 0.5}), ("smp", {})])
def test_auxiliary_heads_are_those_of_the_variants(variant: str, weights: dict[str, float]) -> None:
    assert on_meta(variant=variant).aux_weights == weights


def test_auxiliary_head_on_a_block_keeps_nothing_and_survives_a_copy() -> None:
    options = {"backbone": "mobilenetv3_large_torchvision", "variant": "torchvision"}
    model, picture = network(**options), images(0, 64, 96)
    for one in (model, copy.deepcopy(model)):
        aux = one.train()(picture).aux["aux"]
        assert aux.shape == (1, 5, 8, 12)
        assert one.aux_head.seen == []
        one.eval()(picture)
        assert one.aux_head.seen == []


@torch.no_grad()
def test_the_network_with_a_watched_block_can_be_exported() -> None:
    model = network(backbone="mobilenetv3_large_torchvision", variant="torchvision")
    pictures = images(0, 128, 192, batch=2)
    program = torch.export.export(model, (pictures[:1],)).module()
    assert distance(program(pictures[1:]).logits, model(pictures[1:]).logits) < 1e-5


def test_frozen_normalisation_is_left_as_it_is_by_a_training_step() -> None:
    """The paper's second phase: statistics and affine parameters stay, everything else moves."""
    model = network().train()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.eval().requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    model(images(0, 32, 48, batch=2)).logits.square().mean().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {key for key, parameter in model.named_parameters() if parameter.requires_grad}


# What write-ups say of the network, one check each.


def has_cascaded_or_parallel_atrous_modules() -> None:
    parallel, cascaded = on_meta(), on_meta(head="cascade")
    assert max(aspp_rates(parallel)) == 18
    assert [max(rates_of(block)) for block in cascaded.decoder.blocks] == [8, 16, 32]


def pools_the_whole_image() -> None:
    decoder, features = network().decoder, [torch.randn(1, 512, 40, 40) for _ in range(4)]
    before = decoder(features).logits
    features[-1] = features[-1].clone()
    features[-1][..., 39, 39] += 100  # more than 18 cells from the first one in both directions
    assert not torch.allclose(decoder(features).logits[..., 0, 0], before[..., 0, 0])


def upsamples_logits_to_the_labels() -> None:
    """Figure 5 and section 4.2: the loss sees the labels' own size; the labels are not downsampled."""
    model, picture = network(), images(0, 33, 97)
    output = model(picture)
    assert output.logits.shape[-2:] == picture.shape[-2:]
    strided = model.strided_logits(picture).logits
    assert strided.shape[-2:] == (3, 7)
    wanted = F.interpolate(strided, (33, 97), mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.logits, wanted)


def slow_bilinear(row: Tensor, size: int) -> Tensor:
    """Linear interpolation along the last side between the centres of cells."""
    centres = ((torch.arange(size) + 0.5) * row.shape[-1] / size - 0.5).clamp(0, row.shape[-1] - 1)
    left = centres.floor().long()
    right = (left + 1).clamp(max=row.shape[-1] - 1)
    return row[..., left] * (1 - (centres - left)) + row[..., right] * (centres - left)


def resizes_bilinearly() -> None:
    model, picture = network(), images(0, 40, 56)
    strided = model.strided_logits(picture).logits
    by_hand = slow_bilinear(slow_bilinear(strided, 56).transpose(2, 3), 40).transpose(2, 3)
    torch.testing.assert_close(model(picture).logits, by_hand)


CLAIMS = {
    "C01": has_cascaded_or_parallel_atrous_modules,
    "C02": pools_the_whole_image,
    "C15": upsamples_logits_to_the_labels,
    "C17": resizes_bilinearly,
}
"""C06 and C08 are checked with the layer, C13 above."""


@pytest.mark.parametrize("id", CLAIMS)
@torch.no_grad()
def test_claim_holds(id: str) -> None:
    CLAIMS[id]()


def test_output_stride_of_label_codes_stays() -> None:
    model = create_model("deeplabv3", num_classes=3, backbone="resnet18", upsampler="dupsampling")
    with pytest.raises(ConfigError, match="label codes"):
        at_output_stride(model, 8)
