"""ICNet against its authors' layers: sizes and numbers of their network, and what is said about it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from segwright.errors import ConfigError
from segwright.layers import ConvBNReLU
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import create_model
from segwright.models.icnet import CascadeFeatureFusion, ICNet, SumPyramid, shrink
from segwright.models.icnet_mmseg import MMSegICNet, halve
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs

Size = tuple[int, int]

SHARED = ("stem", "conv2", "conv3_1")
LOW_ONLY = ("conv3", "conv4", "conv5", "pyramid", "conv5_4")
"""From conv3_2 on."""


def network(num_classes: int = 19, **options: object) -> ICNet:
    model = create_model("icnet", num_classes=num_classes, **options)
    assert isinstance(model, ICNet)
    fill(model)
    return model.eval()


def on_meta(num_classes: int = 19, **options: object) -> ICNet:
    with torch.device("meta"):
        model = create_model("icnet", num_classes=num_classes, **options)
    assert isinstance(model, ICNet)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> ICNet:
    return network()


def parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def convolutions(*modules: nn.Module) -> list[nn.Conv2d]:
    return [part for module in modules for part in module.modules() if isinstance(part, nn.Conv2d)]


def parts(model: ICNet, names: tuple[str, ...]) -> list[nn.Module]:
    return [model.get_submodule(name) for name in names]


def shapes(size: Size, *, training: bool = False) -> dict[str, tuple[int, ...]]:
    """Channels, height and width that each module gives, and the logits; without values, so that any size is quick."""
    model, found = on_meta().train(training), {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor | tuple[Tensor, Tensor]], None]:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, Tensor]) -> None:
            maps = output if isinstance(output, tuple) else (output,)
            found.update({name + "'" * index: tuple(one.shape[1:]) for index, one in enumerate(maps)})

        return hook

    for name, part in model.named_modules():
        if name:
            part.register_forward_hook(note(name))
    found["output"] = tuple(model(torch.empty(2, 3, *size, device="meta")).logits.shape[1:])
    found["data_sub2"] = tuple(shrink(torch.empty(1, 3, *size, device="meta")).shape[1:])
    return found


AT = {
    (1025, 2049): {1: (1025, 2049), 2: (513, 1025), 4: (257, 513), 8: (129, 257), 16: (65, 129), 32: (33, 65)},
    (769, 769): {1: (769, 769), 2: (385, 385), 4: (193, 193), 8: (97, 97), 16: (49, 49), 32: (25, 25)},
}


@pytest.mark.parametrize("size", AT)
def test_sizes_are_those_of_the_authors_network(size: Size) -> None:
    at = AT[size]
    table = {
        "data_sub2": (3, *at[2]),
        "stem.0": (32, *at[4]),
        "stem.1": (32, *at[4]),
        "stem.2": (64, *at[4]),
        "stem.3": (64, *at[8]),
        **{f"conv2.{block}": (128, *at[8]) for block in range(3)},
        **{f"conv2.{block}.conv": (32, *at[8]) for block in range(3)},
        "conv2.0.projection": (128, *at[8]),
        "conv3_1.reduce": (64, *at[16]),
        "conv3_1": (256, *at[16]),
        **{f"conv3.{block}": (256, *at[32]) for block in range(3)},
        **{f"conv3.{block}.conv": (64, *at[32]) for block in range(3)},
        **{f"conv4.{block}": (512, *at[32]) for block in range(6)},
        **{f"conv4.{block}.conv": (128, *at[32]) for block in range(6)},
        **{f"conv5.{block}": (1024, *at[32]) for block in range(3)},
        **{f"conv5.{block}.conv": (256, *at[32]) for block in range(3)},
        "pyramid": (1024, *at[32]),
        "conv5_4": (256, *at[32]),
        "fusion_low'": (256, *at[16]),
        "fusion_low.low": (128, *at[16]),
        "fusion_low.high": (128, *at[16]),
        "fusion_low": (128, *at[16]),
        "fusion_medium'": (128, *at[8]),
        "fusion_medium.low": (128, *at[8]),
        "high_branch.0": (32, *at[2]),
        "high_branch.1": (32, *at[4]),
        "high_branch.2": (64, *at[8]),
        "fusion_medium.high": (128, *at[8]),
        "fusion_medium": (128, *at[8]),
        "classifier": (19, *at[4]),
        "output": (19, *size),
    }
    found = shapes(size)
    assert {name: found[name] for name in table} == table


@pytest.mark.parametrize(("pixels", "cells"), [(1024, 256), (1022, 256), (720, 180), (33, 9), (1, 1)])
def test_logits_have_a_quarter_of_the_rows_rounded_up(pixels: int, cells: int) -> None:
    logits = on_meta().strided_logits(torch.empty(1, 3, pixels, 64, device="meta")).logits
    assert logits.shape == (1, 19, cells, 16)


def test_dilations_and_strides(model: ICNet) -> None:
    for stage, dilation in (("conv2", 1), ("conv3", 1), ("conv4", 2), ("conv5", 4)):
        threes = [conv for conv in convolutions(model.get_submodule(stage)) if conv.kernel_size == (3, 3)]
        assert {(conv.stride, conv.dilation, conv.padding) for conv in threes} == {
            ((1, 1), (dilation,) * 2, (dilation,) * 2)
        }
    strided = {name for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and part.stride == (2, 2)}
    assert strided == {
        "stem.0.0",
        "conv3_1.reduce.0",
        "conv3_1.projection.0",
        *(f"high_branch.{i}.0" for i in range(3)),
    }


def test_parameters() -> None:
    assert parameters(on_meta(aux=False)) == 6_699_987
    assert parameters(on_meta()) == 6_707_321
    assert parameters(on_meta(width=1.0, aux=False)) == 26_734_483
    assert [len(on_meta(backbone=name).conv4) for name in ("resnet50", "resnet101", "resnet152")] == [6, 23, 36]


def test_low_branch_alone_holds_most_parameters_but_not_most_multiplications() -> None:
    model = on_meta()
    assert parameters(*parts(model, LOW_ONLY)) == 6_000_384
    assert count_macs(model, 1025, 2049) == 29_811_584_064
    with FlopCounterMode(display=False) as counter:
        features = torch.empty(1, 256, 33, 65, device="meta")
        for part in parts(model, LOW_ONLY):
            features = part(features)
    assert round(counter.get_total_flops() / 2e9, 1) == 12.8


def test_no_relu_before_the_sums(model: ICNet) -> None:
    names = {name for name, part in model.named_modules() if isinstance(part, ConvBNReLU)}
    blocks = {name.rpartition(".")[0] for name, _ in model.named_modules() if name.endswith(".increase")}
    assert len(blocks) == 16
    assert not names & {f"{block}.{layer}" for block in blocks for layer in ("increase", "projection")}
    assert not names & {f"fusion_{which}.{branch}" for which in ("low", "medium") for branch in ("low", "high")}
    assert len(names) == 3 + 3 + 1 + 2 * len(blocks)


@torch.no_grad()
def test_fusion_is_its_equation() -> None:
    fusion = CascadeFeatureFusion(6, 5, 4).eval()
    fill(fusion)
    low, high = torch.randn(2, 6, 3, 4), torch.randn(2, 5, 5, 7)
    upsampled = F.interpolate(low, (5, 7), mode="bilinear", align_corners=True)
    dilated = F.conv2d(upsampled, fusion.low[0].weight, padding=2, dilation=2)
    projected = F.conv2d(high, fusion.high[0].weight)
    fused, guided = fusion(low, high)
    torch.testing.assert_close(fused, (fusion.low[1](dilated) + fusion.high[1](projected)).relu())
    torch.testing.assert_close(guided, upsampled)


@pytest.mark.parametrize(
    ("size", "windows"),
    [
        (33, [(33, 32), (17, 16), (13, 10), (8, 5)]),
        (65, [(65, 64), (33, 32), (25, 20), (15, 10)]),
        (48, [(48, 48), (24, 24), (16, 16), (8, 8)]),
        (6, [(6, 6), (3, 3), (2, 2), (1, 1)]),
        (4, [(4, 4), (2, 2), (2, 1), (1, 1)]),
        (1, [(1, 1)] * 4),
    ],
)
def test_pyramid_windows(size: int, windows: list[Size]) -> None:
    assert [SumPyramid().window(size, cells) for cells in (1, 2, 3, 6)] == windows


def test_pyramid_windows_cover_every_side_with_as_many_cells_as_there_are() -> None:
    for size in range(1, 200):
        for cells in (1, 2, 3, 6):
            kernel, stride = SumPyramid().window(size, cells)
            count = (size - kernel) // stride + 1
            assert count == min(cells, size)
            assert stride >= 1
            assert (count - 1) * stride + kernel == size
            assert kernel >= stride or count == 1


@torch.no_grad()
def test_pyramid_adds_four_averages() -> None:
    """A map of one value per channel comes out five times as large."""
    features = torch.randn(2, 3, 1, 1).expand(2, 3, 9, 14)
    torch.testing.assert_close(SumPyramid()(features), 5 * features)


@torch.no_grad()
def test_shrinking_an_odd_side_takes_every_second_value() -> None:
    picture = images(0, 33, 65)
    torch.testing.assert_close(shrink(picture), picture[:, :, ::2, ::2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(128, 192), (97, 129), (33, 97)])
def test_guidance_is_at_a_sixteenth_and_an_eighth(size: Size) -> None:
    aux = network(num_classes=3).train()(images(0, *size, batch=2)).aux
    low, medium = ((math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in (16, 8))
    assert {name: tuple(logits.shape) for name, logits in aux.items()} == {
        "low": (2, 3, *low),
        "medium": (2, 3, *medium),
    }


def test_loss_is_the_weighted_sum_of_three_branches() -> None:
    model = network(num_classes=3).train()
    masks = torch.randint(3, (2, 64, 96))
    masks[:, :20] = 255
    output = model(images(0, 64, 96, batch=2))
    losses = loss_of(model)(output, masks)
    by_hand = (
        1.0 * F.cross_entropy(output.logits, masks, ignore_index=255)
        + 0.4 * F.cross_entropy(output.aux["medium"], masks[:, ::8, ::8], ignore_index=255)
        + 0.16 * F.cross_entropy(output.aux["low"], masks[:, ::16, ::16], ignore_index=255)
    )
    torch.testing.assert_close(losses["loss"], by_hand, rtol=1e-5, atol=1e-5)


def loss_of(model: ICNet) -> SegmentationLoss:
    return SegmentationLoss(
        cross_entropy, model.aux_weights, align_corners=model.align_corners, aux_losses=model.aux_losses
    )


@torch.no_grad()
def test_network_without_guidance_computes_the_same(model: ICNet) -> None:
    bare, picture = network(aux=False), images(0, 65, 97)
    assert torch.equal(bare(picture).logits, model(picture).logits)
    assert bare.train()(picture).aux == bare.aux_weights == {}
    assert bare.aux_losses == {"main": "label_guidance"}


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (33, 97), (65, 64)])
@pytest.mark.parametrize(
    "options", [{"width": 1.0}, {"width": 0.001}, {"variant": "mmseg", "backbone": "resnet18c"}], ids=str
)
def test_options_work_at_any_size(options: dict[str, object], size: Size) -> None:
    model = create_model("icnet", num_classes=2, **options)
    for is_training in (True, False):
        output = model.train(is_training)(images(0, *size))
        assert output.logits.shape == (1, 2, *size)
        assert output.logits.isfinite().all()
        assert set(output.aux) == (set(model.aux_weights) if is_training else set())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18"}, "got backbone 'resnet18'"),
        ({"width": 0.0}, "width must be above 0"),
        ({"width": 1.5}, "width must be above 0"),
        ({"variant": "mmseg", "width": 1.0}, "width is 1.0, but variant mmseg"),
        ({"variant": "mmseg", "backbone": "convnext_tiny"}, "is no ResNet"),
        ({"variant": "tensorflow"}, "must be one of paper, mmseg"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("icnet", num_classes=2, **options)


def test_mmsegmentation_s_network_of_101_layers_has_the_published_size() -> None:
    with torch.device("meta"):
        model = create_model("icnet", num_classes=19, backbone="resnet101c", variant="mmseg")
    assert isinstance(model, MMSegICNet)
    assert parameters(model) == 66_819_961
    assert len(model.state_dict()) == 744
    assert model.aux_weights == {"low": 0.4, "medium": 0.4}
    assert model.aux_losses == {}
    assert not model.align_corners


@torch.no_grad()
def test_exported_mmsegmentation_network_equals_eager() -> None:
    model = create_model("icnet", num_classes=2, backbone="resnet18c", variant="mmseg").eval()
    fill(model)
    pictures = images(0, 256, 320, batch=2)
    program = torch.export.export(model, (pictures[:1],)).module()
    assert distance(program(pictures[1:]).logits, model(pictures[1:]).logits) < 1e-5


@pytest.mark.parametrize("size", [(8, 10), (9, 13), (2, 7)])
def test_halving_is_torch_s_bilinear_resize_by_a_half(size: Size) -> None:
    picture = images(0, *size)
    torch.testing.assert_close(halve(picture), F.interpolate(picture, scale_factor=0.5, mode="bilinear"))


# What write-ups say of the network, one check each. Where a write-up is wrong, the check is of what holds instead.


def fuses_a_small_map_s_meaning_with_a_large_map_s_detail(model: ICNet) -> None:
    """Without either branch the logits are others; the three are at 1/16, 1/8 of the image and fused coarse to fine."""
    picture = images(0, 97, 129)
    before = model(picture).logits
    for name in ("conv5_4", "conv3_1", "high_branch"):
        hook = model.get_submodule(name).register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
        assert distance(model(picture).logits, before) > 0.02, name
        hook.remove()


def convolution_costs_its_formula(model: ICNet) -> None:
    """Operations c' c k^2 h w / s^2, which write-ups call parameters; those are c' c k^2."""
    for c_in, c_out, kernel, size, stride in (
        (3, 32, 3, (64, 96), 2),
        (64, 16, 1, (32, 48), 1),
        (8, 8, 5, (40, 24), 4),
    ):
        with torch.device("meta"):
            conv = nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False)
            picture = torch.empty(1, c_in, *size)
        with FlopCounterMode(display=False) as counter:
            output = conv(picture)
        assert output.shape[-2:] == (size[0] // stride, size[1] // stride)
        assert counter.get_total_flops() // 2 == c_out * c_in * kernel**2 * size[0] * size[1] // stride**2
        assert parameters(conv) == c_out * c_in * kernel**2


def costs_by_resolution_and_by_number_of_filters(model: ICNet) -> None:
    half, full = on_meta(), on_meta(width=1.0)
    at = [count_macs(half, *size) for size in ((1024, 1024), (512, 512))]
    assert at[0] == 4 * at[1]
    assert 3.9 < count_macs(full, 1025, 2049) / count_macs(half, 1025, 2049) < 4


def reads_the_image_at_1_and_1_2_and_the_map_at_half_of_that(model: ICNet) -> None:
    """Not three images: the low branch shrinks the medium branch's map instead of reading the image at 1/4."""
    assert [conv.in_channels for conv in convolutions(model)].count(3) == 2
    found = shapes((1024, 2048))
    assert found["data_sub2"] == (3, 512, 1024)
    assert found["conv3_1"][1:] == (64, 128)
    for name in ("conv3.0", "conv4.0", "conv5.2", "conv5_4"):
        assert found[name][1] <= 1024 // 32
        assert found[name][2] <= 2048 // 32


def shares_the_medium_branch_with_the_low_one(model: ICNet) -> None:
    """One set of weights, run once: what the low branch shrinks is what the medium branch hands to the fusion."""
    produced, consumed = [], []
    hooks = [
        model.conv3_1.register_forward_hook(lambda part, inputs, output: produced.append(output)),
        model.conv3.register_forward_hook(lambda part, inputs, output: consumed.append(inputs[0])),
        model.fusion_low.register_forward_hook(lambda part, inputs, output: consumed.append(inputs[1])),
    ]
    model(images(0, 65, 129))
    for hook in hooks:
        hook.remove()
    assert len(produced) == 1
    assert torch.equal(shrink(produced[0]), consumed[0])
    assert consumed[1] is produced[0]
    assert sum("conv3_1" in name for name, _ in model.named_parameters()) == 12


def fuses_by_a_dilated_convolution_at_the_fine_map_s_size(model: ICNet) -> None:
    """Not "continues to upsample": the dilated convolution keeps the size; the bilinear resize has doubled it."""
    found = shapes((1025, 2049))
    assert found["fusion_low'"][1:] == found["fusion_low.low"][1:] == (65, 129)
    for fusion in (model.fusion_low, model.fusion_medium):
        assert (fusion.low[0].kernel_size, fusion.low[0].dilation) == ((3, 3), (2, 2))
        assert (fusion.high[0].kernel_size, fusion.high[0].dilation) == ((1, 1), (1, 1))


def guides_three_branches(model: ICNet) -> None:
    assert model.aux_weights == {"low": 0.16, "medium": 0.4}
    assert model.aux_losses == dict.fromkeys(("main", "low", "medium"), "label_guidance")


def drops_the_guidance_in_testing(model: ICNet) -> None:
    """Only the classifiers of the low and medium branch; their maps still feed the fusions."""
    with torch.no_grad():
        program = torch.export.export(model, (images(0, 64, 96),))
    used = {
        spec.target for spec in program.graph_signature.input_specs if spec.target in dict(model.named_parameters())
    }
    nodes = {node.name for node in program.graph.nodes if node.users}
    unused = {
        spec.target
        for spec in program.graph_signature.input_specs
        if spec.arg.name not in nodes and spec.target in used
    }
    assert {name for name in unused if not name.endswith("num_batches_tracked")} == {
        f"aux_heads.{branch}.{leaf}" for branch in ("low", "medium") for leaf in ("weight", "bias")
    }


def is_deep_at_low_and_shallow_at_high_resolution(model: ICNet) -> None:
    assert len(convolutions(model.high_branch)) == 3
    assert len(convolutions(*parts(model, SHARED))) == 3 + 10 + 4
    assert len(convolutions(*parts(model, SHARED + LOW_ONLY))) == 3 + 10 + 13 + 19 + 10 + 1


def dilated_convolution_sees_5x5_with_9_weights(model: ICNet) -> None:
    """After the upsampling by 2, a kernel without holes would need 25 weights per pair of channels."""
    conv = nn.Conv2d(1, 1, 3, padding=2, dilation=2, bias=False)
    nn.init.ones_(conv.weight)
    with torch.enable_grad():
        picture = torch.zeros(1, 1, 11, 11, requires_grad=True)
        conv(picture)[0, 0, 5, 5].backward()
    rows, columns = picture.grad[0, 0].nonzero().T
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == 5
    assert conv.weight.numel() == 9


def labels_have_three_sizes(model: ICNet) -> None:
    seen = []

    def note(logits: Tensor, masks: Tensor) -> Tensor:
        seen.append((tuple(logits.shape[-2:]), tuple(masks.shape[-2:])))
        return logits.sum()

    loss = SegmentationLoss(note, model.aux_weights, align_corners=True, aux_losses=model.aux_losses)
    trained = network(num_classes=2).train()
    loss(trained(images(0, 128, 192, batch=2)), torch.zeros(2, 128, 192))
    assert seen == [((128, 192),) * 2, ((8, 12),) * 2, ((16, 24),) * 2]


def loss_is_minus_log_softmax_averaged_over_positions(model: ICNet) -> None:
    trained = network(num_classes=3).train()
    output, masks = trained(images(0, 32, 48, batch=2)), torch.randint(3, (2, 32, 48))
    losses = loss_of(trained)(output, masks)
    total = 0.0
    for weight, logits in ((1.0, output.logits), (0.16, output.aux["low"]), (0.4, output.aux["medium"])):
        height, width = logits.shape[-2:]
        stride, terms = 32 // height, []
        for picture in range(2):
            for y in range(height):
                for x in range(width):
                    scores = [math.exp(score) for score in logits[picture, :, y, x].tolist()]
                    terms.append(-math.log(scores[int(masks[picture, stride * y, stride * x])] / sum(scores)))
        total += weight * sum(terms) / len(terms)
    assert float(losses["loss"]) == pytest.approx(total, rel=1e-4)


def predicts_at_three_rising_resolutions_in_training(model: ICNet) -> None:
    output = network(num_classes=2).train().strided_logits(images(0, 97, 129, batch=2))
    sizes = [tuple(logits.shape[-2:]) for logits in (output.aux["low"], output.aux["medium"], output.logits)]
    assert sizes == [(7, 9), (13, 17), (25, 33)]


CLAIMS = {
    "B02": fuses_a_small_map_s_meaning_with_a_large_map_s_detail,
    "B05": convolution_costs_its_formula,
    "B06": costs_by_resolution_and_by_number_of_filters,
    "B08": reads_the_image_at_1_and_1_2_and_the_map_at_half_of_that,
    "B09": shares_the_medium_branch_with_the_low_one,
    "B10": fuses_by_a_dilated_convolution_at_the_fine_map_s_size,
    "B11": guides_three_branches,
    "B12": drops_the_guidance_in_testing,
    "B27": is_deep_at_low_and_shallow_at_high_resolution,
    "B28": dilated_convolution_sees_5x5_with_9_weights,
    "B29": labels_have_three_sizes,
    "B30": loss_is_minus_log_softmax_averaged_over_positions,
    "B32": predicts_at_three_rising_resolutions_in_training,
}


@pytest.mark.parametrize("id", CLAIMS)
@torch.no_grad()
def test_claim_holds(id: str, model: ICNet) -> None:
    CLAIMS[id](model)
