"""Fast-SCNN against its paper: the shapes and numbers of its tables, and what is said about it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segwright.layers import BatchNorm2d, ConvBNReLU, FCNHead, PyramidPooling, SeparableConv, resize
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import create_model
from segwright.models.fast_scnn import Bottleneck, FastSCNN
from tests.support.compare import distance
from tests.support.fill import fill, images

Size = tuple[int, int]


def network(num_classes: int = 19, variant: str = "paper") -> FastSCNN:
    model = create_model("fast_scnn", num_classes=num_classes, variant=variant)
    assert isinstance(model, FastSCNN)
    fill(model)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> FastSCNN:
    return network()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def blocks(model: FastSCNN) -> list[Bottleneck]:
    return [part for part in model.global_features if isinstance(part, Bottleneck)]


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Channels, height and width that each layer of tables 1 and 3 gives; without values, so that any size is quick."""
    with torch.device("meta"):
        model, picture = FastSCNN(19).eval(), torch.empty(1, 3, *size)
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda module, inputs, output: found.__setitem__(name, tuple(output.shape[1:]))

    for name in ("learning_to_downsample", "global_features", "classifier"):
        for index, part in enumerate(getattr(model, name)):
            part.register_forward_hook(note(f"{name}.{index}"))
    model.fusion.register_forward_hook(note("fusion"))
    found["output"] = tuple(model(picture).logits.shape[1:])
    return found


def macs(size: Size) -> int:
    with torch.device("meta"):
        model, picture = FastSCNN(19).eval(), torch.empty(1, 3, *size)
    with FlopCounterMode(display=False) as counter:
        model(picture)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(
    ("size", "at"),
    [
        ((1024, 2048), {2: (512, 1024), 4: (256, 512), 8: (128, 256), 16: (64, 128), 32: (32, 64)}),
        ((257, 513), {2: (129, 257), 4: (65, 129), 8: (33, 65), 16: (17, 33), 32: (9, 17)}),
    ],
)
def test_shapes_are_those_of_table_1(size: Size, at: dict[int, Size]) -> None:
    table = {
        "learning_to_downsample.0": (32, *at[2]),
        "learning_to_downsample.1": (48, *at[4]),
        "learning_to_downsample.2": (64, *at[8]),
        **{f"global_features.{block}": (64, *at[16]) for block in (0, 1, 2)},
        **{f"global_features.{block}": (96, *at[32]) for block in (3, 4, 5)},
        **{f"global_features.{block}": (128, *at[32]) for block in (6, 7, 8)},
        "global_features.9": (128, *at[32]),
        "fusion": (128, *at[8]),
        **{f"classifier.{layer}": (128, *at[8]) for layer in (0, 1, 2)},
        "classifier.3": (19, *at[8]),
        "output": (19, *size),
    }
    assert shapes(size) == table


@torch.no_grad()
def test_an_odd_size_computes_with_values_as_it_does_without() -> None:
    model = network()
    assert model.strided_logits(images(0, 257, 513)).logits.shape == (1, 19, 33, 65)


def test_parameters_of_each_part_are_the_paper_s(model: FastSCNN) -> None:
    assert [parameters(layer) for layer in model.learning_to_downsample] == [928, 1_984, 3_728]
    *bottlenecks, pyramid = model.global_features
    assert sum(map(parameters, bottlenecks)) == 1_016_448
    assert parameters(pyramid) == 49_664
    low_depthwise, low_pointwise = model.fusion.context
    assert [parameters(part) for part in (low_depthwise, low_pointwise, model.fusion.detail)] == [1_408, 16_640, 8_448]
    assert [parameters(layer) for layer in model.classifier] == [18_048, 18_048, 0, 2_451]
    assert parameters(model.aux_heads) == 56_678


def test_convolutions_and_classifier_bias_are_the_published_1_11_million(model: FastSCNN) -> None:
    without_aux = parameters(model) - parameters(model.aux_heads)
    norms = sum(
        parameters(part) for name, part in model.named_modules() if isinstance(part, BatchNorm2d) if "aux" not in name
    )
    assert (without_aux - norms, norms, without_aux) == (1_114_115, 23_680, 1_137_795)


def test_parameters_of_the_published_variants() -> None:
    mmseg = network(variant="mmseg")
    assert parameters(mmseg) - parameters(mmseg.aux_heads) == 1_399_939
    tramac = network(variant="tramac")
    assert parameters(tramac) - parameters(tramac.aux_heads) == 1_137_795 + 256  # two biases before normalisation


def test_multiplications_are_6_7_billion_and_a_quarter_per_halving() -> None:
    full, half, quarter = macs((1024, 2048)), macs((512, 1024)), macs((256, 512))
    assert [round(count / 1e9, 3) for count in (full, half, quarter)] == [6.710, 1.678, 0.420]
    pyramid_branches = (1 + 4 + 9 + 36) * 128 * 32  # on fixed grids, at every size
    assert full - pyramid_branches == 4 * (half - pyramid_branches) == 16 * (quarter - pyramid_branches)


def test_residual_is_in_six_of_nine_bottlenecks(model: FastSCNN) -> None:
    assert [block.has_residual for block in blocks(model)] == [False, True, True] * 3


@torch.no_grad()
def test_a_residual_block_that_adds_nothing_passes_its_input_on() -> None:
    for block in blocks(network()):
        nn.init.zeros_(block.layers[2][1].weight)
        nn.init.zeros_(block.layers[2][1].bias)
        features = torch.randn(1, block.layers[0][0].in_channels, 8, 8)
        output = block(features)
        assert torch.equal(output, features) if block.has_residual else not output.any()


@torch.no_grad()
def test_argmax_of_softmax_is_argmax(model: FastSCNN) -> None:
    logits = model(images(0, 64, 96)).logits.double()
    assert torch.equal(logits.softmax(dim=1).argmax(dim=1), logits.argmax(dim=1))


def test_separable_convolutions_have_no_relu_between(model: FastSCNN) -> None:
    separable = [part for part in model.modules() if isinstance(part, SeparableConv)]
    assert len(separable) == 4
    assert not any(isinstance(part[0], ConvBNReLU) for part in separable)
    assert all(isinstance(part[1], ConvBNReLU) for part in separable)


@pytest.mark.parametrize(
    ("variant", "dilation", "bias"), [("paper", 4, False), ("mmseg", 1, False), ("tramac", 1, True)]
)
def test_fusion_of_each_variant(variant: str, dilation: int, bias: bool) -> None:
    depthwise, low, high = convolutions(network(variant=variant).fusion)
    assert (depthwise.groups, depthwise.kernel_size, depthwise.dilation, depthwise.padding) == (
        128,
        (3, 3),
        (dilation, dilation),
        (dilation, dilation),
    )
    assert [conv.bias is not None for conv in (depthwise, low, high)] == [False, bias, bias]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (113, 145)])
@pytest.mark.parametrize("variant", ["mmseg", "tramac"])
def test_published_variants_work_at_any_size_too(variant: str, size: Size) -> None:
    for is_training in (True, False):
        output = network(num_classes=3, variant=variant).train(is_training)(images(0, *size))
        assert output.logits.shape == (1, 3, *size)
        assert output.logits.isfinite().all()


def test_dropout_stands_only_before_a_classifier(model: FastSCNN) -> None:
    dropouts = {name: part.p for name, part in model.named_modules() if isinstance(part, nn.Dropout)}
    assert dropouts == {"classifier.2": 0.1, "aux_heads.detail.1": 0.1, "aux_heads.context.1": 0.1}


def test_both_auxiliary_losses_weigh_0_4(model: FastSCNN) -> None:
    assert model.aux_weights == {"detail": 0.4, "context": 0.4}
    assert {name: type(head) for name, head in model.aux_heads.items()} == dict.fromkeys(("detail", "context"), FCNHead)
    trained = network(num_classes=3).train()
    losses = SegmentationLoss(cross_entropy, trained.aux_weights)(trained(images(0, 32, 64)), torch.ones(1, 32, 64))
    total = losses["main"] + 0.4 * losses["detail"] + 0.4 * losses["context"]
    torch.testing.assert_close(losses["loss"], total)


# What write-ups say of the network, one check each. Where a write-up is wrong, the check is of what holds instead.


def has_four_modules(model: FastSCNN) -> None:
    parts = [name for name, _ in model.named_children() if name != "aux_heads"]
    assert parts == ["learning_to_downsample", "global_features", "fusion", "classifier"]


def downsamples_in_three_layers(model: FastSCNN) -> None:
    assert [type(layer) for layer in model.learning_to_downsample] == [ConvBNReLU, SeparableConv, SeparableConv]
    assert all(2 in conv.stride or conv.kernel_size == (1, 1) for conv in convolutions(model.learning_to_downsample))


def extracts_by_bottlenecks_and_pyramid_pooling(model: FastSCNN) -> None:
    assert [type(layer) for layer in model.global_features] == [Bottleneck] * 9 + [PyramidPooling]
    expansions = [block.layers[0][0].out_channels / block.layers[0][0].in_channels for block in blocks(model)]
    assert expansions == [6] * 9
    assert model.global_features[9].bins == (1, 2, 3, 6)


def fuses_by_addition(model: FastSCNN) -> None:
    detail, context = torch.randn(1, 64, 8, 12), torch.randn(1, 128, 2, 3)
    branches = model.fusion.detail(detail) + model.fusion.context(resize(context, (8, 12)))
    assert torch.equal(model.fusion(detail, context), branches.relu())


def classifies_by_two_separable_and_one_pointwise(model: FastSCNN) -> None:
    assert [type(layer) for layer in model.classifier] == [SeparableConv, SeparableConv, nn.Dropout, nn.Conv2d]
    assert model.classifier[3].kernel_size == (1, 1)


def trains_by_softmax_and_predicts_by_argmax(model: FastSCNN) -> None:
    """Not "argmax replaces softmax in the gradient": the training loss is cross-entropy of softmax."""
    logits, masks = model(images(0, 16, 24)).logits, torch.randint(19, (1, 16, 24))
    by_hand = -logits.softmax(dim=1).gather(1, masks[:, None]).log().mean()
    torch.testing.assert_close(cross_entropy(logits, masks), by_hand)


def has_1_11_million_parameters(model: FastSCNN) -> None:
    assert (
        sum(
            conv.weight.numel()
            for name, conv in model.named_modules()
            if isinstance(conv, nn.Conv2d) and "aux" not in name
        )
        == 1_114_115 - 19
    )


def needs_its_skip_connection(model: FastSCNN) -> None:
    picture = images(0, 64, 96)
    before = model(picture).logits
    hook = model.fusion.detail.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
    after = model(picture).logits
    hook.remove()
    assert after.isfinite().all()
    assert distance(after, before) > 0.1


def upsamples_the_low_branch_by_4(model: FastSCNN) -> None:
    """Not "both branches are downsampled": the fusion works at the detail's own, higher resolution."""
    seen: list[tuple[int, ...]] = []
    hook = model.fusion.context.register_forward_hook(lambda part, inputs, output: seen.append(tuple(inputs[0].shape)))
    fused = model.fusion(torch.randn(1, 64, 32, 64), torch.randn(1, 128, 8, 16))
    hook.remove()
    assert seen == [(1, 128, 32, 64)]
    assert fused.shape == (1, 128, 32, 64)
    assert model.fusion.context[0][0].dilation == (4, 4)  # as the upsampling factor


def runs_deep_at_low_and_shallow_at_high_resolution(model: FastSCNN) -> None:
    assert len(convolutions(model.global_features)) == 9 * 3 + 5
    assert len(convolutions(model.fusion.detail)) == 1
    at = shapes((1024, 2048))
    assert at["global_features.9"][1:] == (32, 64)
    assert at["learning_to_downsample.2"][1:] == (128, 256)


def shares_the_stem_between_both_branches(model: FastSCNN) -> None:
    calls, consumed = [], []
    hooks = [
        model.learning_to_downsample.register_forward_hook(lambda part, inputs, output: calls.append(output)),
        model.global_features.register_forward_hook(lambda part, inputs, output: consumed.append(inputs[0])),
        model.fusion.register_forward_hook(lambda part, inputs, output: consumed.append(inputs[0])),
    ]
    model(images(0, 64, 96))
    for hook in hooks:
        hook.remove()
    assert len(calls) == 1
    assert [features is calls[0] for features in consumed] == [True, True]


def reads_one_picture_of_one_size(model: FastSCNN) -> None:
    assert [conv.in_channels for conv in convolutions(model)].count(3) == 1


def separable_convolution_costs_one_ninth_plus_one_by_channels(model: FastSCNN) -> None:
    with torch.device("meta"):
        separable, dense, features = (
            SeparableConv(48, 64),
            nn.Conv2d(48, 64, 3, padding=1, bias=False),
            torch.empty(1, 48, 32, 64),
        )
    costs = []
    for module in (separable, dense):
        with FlopCounterMode(display=False) as counter:
            module(features)
        costs.append(counter.get_total_flops())
    assert costs[0] / costs[1] == pytest.approx(1 / 64 + 1 / 9, rel=1e-12)


def takes_each_resolution_with_the_same_weights(model: FastSCNN) -> None:
    for size in ((1024, 2048), (512, 1024), (256, 512)):
        assert shapes(size)["output"] == (19, *size)


def tells_19_classes(model: FastSCNN) -> None:
    assert model.num_classes == model.classifier[3].out_channels == model.info.num_classes == 19


CLAIMS = {
    "D01": has_four_modules,
    "D02": downsamples_in_three_layers,
    "D03": extracts_by_bottlenecks_and_pyramid_pooling,
    "D04": fuses_by_addition,
    "D05": classifies_by_two_separable_and_one_pointwise,
    "D06": trains_by_softmax_and_predicts_by_argmax,
    "D09": has_1_11_million_parameters,
    "D13": needs_its_skip_connection,
    "D14": upsamples_the_low_branch_by_4,
    "D19": runs_deep_at_low_and_shallow_at_high_resolution,
    "D20": shares_the_stem_between_both_branches,
    "D21": reads_one_picture_of_one_size,
    "D22": separable_convolution_costs_one_ninth_plus_one_by_channels,
    "D23": takes_each_resolution_with_the_same_weights,
    "D24": tells_19_classes,
}


@pytest.mark.parametrize("id", CLAIMS)
@torch.no_grad()
def test_claim_holds(id: str, model: FastSCNN) -> None:
    CLAIMS[id](model)
