"""BiSeNet against its paper: the shapes and numbers of its figures and tables, and what is said about it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segwright.errors import ConfigError
from segwright.layers import FCNHead
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import create_model
from segwright.models.bisenet import BiSeNet
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs

Size = tuple[int, int]
TRUNKS = ("xception39", "resnet18", "resnet101s")
VARIANTS = ("paper", "speed", "mmseg", "coincheung")


def unfilled(num_classes: int = 19, **options: object) -> BiSeNet:
    model = create_model("bisenet", num_classes=num_classes, **options)
    assert isinstance(model, BiSeNet)
    return model


def network(num_classes: int = 19, **options: object) -> BiSeNet:
    model = unfilled(num_classes, **options)
    fill(model)
    return model.eval()


def on_meta(**options: object) -> BiSeNet:
    with torch.device("meta"):
        return unfilled(**options).eval()


@pytest.fixture(scope="module")
def model() -> BiSeNet:
    return network()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def part_macs(part: nn.Module, *shapes: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        part(*(torch.empty(shape, device="meta") for shape in shapes))
    return int(counter.get_total_flops()) // 2


def inputs_and_outputs(model: BiSeNet, images: Tensor) -> dict[str, tuple[tuple[Tensor, ...], Tensor]]:
    """What each named part reads and gives."""
    seen: dict[str, tuple[tuple[Tensor, ...], Tensor]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda part, inputs, output: seen.__setitem__(name, (inputs, output))

    hooks = [part.register_forward_hook(note(name)) for name, part in model.named_modules() if name]
    model(images)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("size", "at"),
    [
        ((768, 1536), {8: (96, 192), 16: (48, 96), 32: (24, 48)}),
        ((97, 129), {8: (13, 17), 16: (7, 9), 32: (4, 5)}),
    ],
)
def test_shapes_are_those_of_figure_2(size: Size, at: dict[int, Size]) -> None:
    model = on_meta()
    seen = inputs_and_outputs(model, torch.empty(1, 3, *size, device="meta"))
    shapes = {name: tuple(output.shape[1:]) for name, (_, output) in seen.items() if isinstance(output, Tensor)}
    wanted = {
        "spatial_path": (128, *at[8]),
        "context_path.global_context": (128, 1, 1),
        "context_path.arm32": (128, *at[32]),
        "context_path.refine32": (128, *at[16]),
        "context_path.arm16": (128, *at[16]),
        "context_path.refine16": (128, *at[8]),
        "fusion": (256, *at[8]),
        "classifier": (19, *at[8]),
    }
    assert {name: shapes[name] for name in wanted} == wanted
    features = model.backbone(torch.empty(1, 3, *size, device="meta"))
    assert [tuple(maps.shape[1:]) for maps in features] == [(64, *at[8]), (128, *at[16]), (256, *at[32])]
    aux = model.train().strided_logits(torch.empty(2, 3, *size, device="meta")).aux
    assert {name: tuple(logits.shape[1:]) for name, logits in aux.items()} == {
        "context16": (19, *at[16]),
        "context8": (19, *at[8]),
    }


@pytest.mark.parametrize(
    ("backbone", "inference", "training", "gmacs"),
    [
        ("xception39", 1_541_963, 1_842_289, (3.07, 15.62, 27.76)),
        ("resnet18", 12_894_163, 13_494_777, (11.58, 58.34, 103.72)),
        ("resnet101s", 47_638_803, 48_239_417, (48.71, 245.27, 436.03)),
    ],
)
def test_parameters_and_multiplications(
    backbone: str, inference: int, training: int, gmacs: tuple[float, float, float]
) -> None:
    model = on_meta(backbone=backbone)
    assert parameters(model) - parameters(model.aux_heads) == inference
    assert parameters(model) == training
    sizes = ((360, 640), (768, 1536), (1024, 2048))
    assert tuple(round(count_macs(model, *size) / 1e9, 2) for size in sizes) == gmacs


def test_the_paper_s_parameters_are_megabytes_of_float32() -> None:
    sizes = [parameters(model) - parameters(model.aux_heads) for model in (on_meta(), on_meta(backbone="resnet18"))]
    assert [count * 4 / 2**20 for count in sizes] == pytest.approx([5.8, 49.0], abs=0.2)  # its table 4


def test_the_paper_s_flops_of_the_trunk_are_multiplications() -> None:
    counts = [part_macs(on_meta(backbone=name).backbone, (1, 3, 360, 640)) for name in TRUNKS[:2]]
    assert counts[0] / 1e6 == pytest.approx(185.5, abs=0.5)  # its table 1: 185.5 M and 8.3 G
    assert counts[1] / 1e9 == pytest.approx(8.3, abs=0.2)


@pytest.mark.parametrize(
    ("options", "main", "aux"),
    [
        ({}, 64, 128),
        ({"backbone": "resnet18"}, 64, 256),
        ({"backbone": "resnet101s"}, 256, 256),
        ({"backbone": "resnet18", "variant": "speed"}, 64, 128),
        ({"backbone": "resnet18", "variant": "mmseg"}, 256, 64),
        ({"backbone": "resnet50", "variant": "mmseg"}, 1024, 256),
        ({"backbone": "resnet18", "variant": "coincheung"}, 256, 64),
    ],
)
def test_widths_inside_the_heads(options: dict[str, object], main: int, aux: int) -> None:
    model = on_meta(**options)
    assert model.classifier[0][0].out_channels == main
    assert [head[0][0].out_channels for head in model.aux_heads.values()] == [aux, aux]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (113, 145)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_works_at_any_size(variant: str, size: Size) -> None:
    model = network(num_classes=3, variant=variant, align_corners=variant == "speed")
    for is_training in (True, False):
        output = model.train(is_training)(images(0, *size))
        assert output.logits.shape == (1, 3, *size)
        assert output.logits.isfinite().all()
        assert all(logits.isfinite().all() for logits in output.aux.values())


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_100", "convnext_atto"])
@torch.no_grad()
def test_another_trunk_of_timm_works(backbone: str) -> None:
    assert network(num_classes=3, backbone=backbone)(images(0, 33, 97)).logits.shape == (1, 3, 33, 97)


@torch.no_grad()
def test_corners_are_aligned_everywhere_or_nowhere() -> None:
    aligned, plain = network(align_corners=True), network()
    picture = images(0, 64, 96)
    assert aligned.align_corners
    assert not plain.align_corners
    assert distance(aligned.strided_logits(picture).logits, plain.strided_logits(picture).logits) > 1e-2


def test_unknown_variant_is_an_error() -> None:
    with pytest.raises(ConfigError, match="variant of model 'bisenet' must be one of paper, speed, mmseg, coincheung"):
        create_model("bisenet", num_classes=3, variant="smp")


def test_trunk_is_called_backbone(model: BiSeNet) -> None:
    groups = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert groups == {"backbone", "spatial_path", "context_path", "fusion", "classifier", "aux_heads"}


@torch.no_grad()
def test_attention_refinement_multiplies_by_one_weight_per_channel(model: BiSeNet) -> None:
    seen = inputs_and_outputs(model, images(0, 128, 192))
    for name in ("context_path.arm32", "context_path.arm16"):
        before, after = seen[f"{name}.conv"][1], seen[name][1]
        weights = seen[f"{name}.attention"][1].sigmoid()
        assert weights.shape == (1, 128, 1, 1)
        assert ((weights > 0) & (weights < 1)).all()
        assert after.shape == before.shape
        torch.testing.assert_close(after, before * weights)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_fusion_gives_between_one_and_two_times_its_features(variant: str) -> None:
    fused, given = [], []
    model = network(variant=variant)
    model.fusion.conv.register_forward_hook(lambda part, inputs, output: fused.append(output.clone()))
    model.fusion.register_forward_hook(lambda part, inputs, output: given.append(output))
    model(images(0, 64, 96))
    assert (fused[0] >= 0).all()
    assert ((given[0] >= fused[0]) & (given[0] <= 2 * fused[0])).all()
    is_positive = fused[0] > 0
    assert (given[0][is_positive] > fused[0][is_positive]).all()


def test_total_loss_is_the_sum_of_three() -> None:
    trained = network(num_classes=3).train()
    assert trained.aux_weights == {"context16": 1.0, "context8": 1.0}
    output = trained(images(0, 64, 96, batch=2))
    losses = SegmentationLoss(cross_entropy, trained.aux_weights)(output, torch.randint(3, (2, 64, 96)))
    torch.testing.assert_close(losses["loss"], losses["main"] + losses["context16"] + losses["context8"])


@torch.no_grad()
def test_evaluation_leaves_the_auxiliary_heads_out(model: BiSeNet) -> None:
    picture = images(0, 64, 96)
    before = model(picture)
    assert before.aux == {}
    headless = network()
    headless.aux_heads = nn.ModuleDict()
    assert torch.equal(headless(picture).logits, before.logits)


def test_context_path_has_a_gradient_without_the_spatial_path() -> None:
    model = network(num_classes=3).train()
    model.spatial_path.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
    model(images(0, 64, 96, batch=2)).logits.square().mean().backward()
    for part in (model.backbone, model.context_path):
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in model.spatial_path.parameters())


def test_global_context_is_what_reaches_beyond_the_receptive_field() -> None:
    """The trunk's own field ends; both attentions are held constant, so that no other pool is left."""
    model = network(num_classes=3, backbone="resnet18")
    for attention in (model.context_path.arm32, model.context_path.arm16, model.fusion):
        attention.attention.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))

    def reaches() -> bool:
        picture = images(0, 32, 1024).requires_grad_()
        model.strided_logits(picture).logits[..., -1].square().sum().backward()
        assert picture.grad is not None
        assert picture.grad[..., 700:].any()
        return bool(picture.grad[..., :300].any())

    assert reaches()
    model.context_path.global_context.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
    assert not reaches()


@pytest.mark.parametrize(("variant", "repeats"), [("paper", False), ("mmseg", True), ("coincheung", True)])
@torch.no_grad()
def test_context_path_of_each_variant_interpolates_or_repeats(variant: str, repeats: bool) -> None:
    model = network(variant=variant)
    maps = inputs_and_outputs(model, images(0, 64, 96))["context_path.refine32"][0][0]
    blocks = maps.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    assert bool((blocks == blocks[..., :1]).all()) is repeats


@pytest.mark.parametrize("variant", VARIANTS)
def test_dropout_is_mmsegmentation_s_alone(variant: str) -> None:
    rates = {part.p for part in on_meta(variant=variant).modules() if isinstance(part, nn.Dropout)}
    assert rates == {0.1 if variant == "mmseg" else 0.0}


# What write-ups say of the network, one check each. Where a write-up is wrong, the check is of what holds instead.


def spatial_path_has_three_strided_layers(model: BiSeNet) -> None:
    convs = [layer[0] for layer in model.spatial_path]
    assert [conv.stride for conv in convs] == [(2, 2)] * 3 + [(1, 1)]  # a fourth, 1x1, in the authors' code
    assert [conv.kernel_size[0] for conv in convs] == [7, 3, 3, 1]
    assert model.spatial_path(images(0, 64, 96)).shape == (1, 128, 8, 12)


def context_path_is_a_trunk_with_a_global_pool_at_its_tail(model: BiSeNet) -> None:
    assert model.backbone.name == "xception39"
    seen = inputs_and_outputs(model, images(0, 64, 96))
    (pooled,), _ = seen["context_path.global_context"]
    torch.testing.assert_close(pooled[..., 0, 0], model.backbone(images(0, 64, 96))[-1].mean(dim=(2, 3)))


def attention_refinement_weighs_by_a_global_pool(model: BiSeNet) -> None:
    seen = inputs_and_outputs(model, images(0, 64, 96))
    (pooled,), _ = seen["context_path.arm16.attention"]
    torch.testing.assert_close(pooled[..., 0, 0], seen["context_path.arm16.conv"][1].mean(dim=(2, 3)))


def fusion_concatenates_normalises_pools_and_multiplies(model: BiSeNet) -> None:
    """And adds the unweighted features, which some write-ups leave out."""
    detail, context = torch.randn(2, 128, 6, 5), torch.randn(2, 128, 6, 5)
    fused = model.fusion.conv(torch.cat([detail, context], dim=1))
    weights = model.fusion.attention(fused.mean(dim=(2, 3), keepdim=True)).sigmoid()
    torch.testing.assert_close(model.fusion(detail, context), fused * (1 + weights))


def two_stages_of_the_context_path_have_auxiliary_losses(model: BiSeNet) -> None:
    assert set(model.aux_weights) == set(model.aux_heads) == {"context16", "context8"}
    assert all(isinstance(head, FCNHead) for head in model.aux_heads.values())


def reads_one_image_in_two_branches(model: BiSeNet) -> None:
    picture = images(0, 64, 96)
    seen = inputs_and_outputs(model, picture)
    assert all(seen[name][0][0] is picture for name in ("spatial_path", "backbone"))


def context_path_is_an_incomplete_u(model: BiSeNet) -> None:
    """Not "no U-shape": the last two stages are brought back up; the first ones take no part."""
    c3, c4, c5 = model.backbone(images(0, 64, 96))
    before = model.context_path([c3, c4, c5])
    assert all(torch.equal(*pair) for pair in zip(model.context_path([c3 * 2, c4, c5]), before, strict=True))
    only_fine = model.context_path([c3, c4 * 2, c5])
    assert torch.equal(only_fine[0], before[0])
    assert not torch.equal(only_fine[1], before[1])
    assert not torch.equal(model.context_path([c3, c4, c5 * 2])[1], before[1])


def attention_refinement_resizes_nothing(model: BiSeNet) -> None:
    features = torch.randn(2, 128, 5, 7)
    output, arm = model.context_path.arm16(features), model.context_path.arm16
    ratios = output / arm.conv(features).clamp(min=1e-9)
    assert output.shape == (2, 128, 5, 7)
    largest = ratios.amax(dim=(2, 3), keepdim=True)
    assert ((ratios - largest).abs()[output > 1e-6] < 1e-4).all()  # one factor per image and channel


def fusion_weights_come_from_the_fused_features(model: BiSeNet) -> None:
    seen = inputs_and_outputs(model, images(0, 64, 96, batch=2))
    weights = seen["fusion.attention"][1].sigmoid()
    assert weights.shape == (2, 256, 1, 1)
    assert ((weights > 0) & (weights < 1)).all()


def every_loss_is_softmax_cross_entropy(model: BiSeNet) -> None:
    logits, masks = model(images(0, 16, 24)).logits, torch.randint(19, (1, 16, 24))
    by_hand = -logits.softmax(dim=1).gather(1, masks[:, None]).log().mean()
    losses = SegmentationLoss(cross_entropy, {"a": 1.0, "b": 1.0})(
        model(images(0, 16, 24))._replace(aux={"a": logits, "b": logits}), masks
    )
    assert all(torch.allclose(losses[name], by_hand) for name in ("main", "a", "b"))


def alpha_is_one_for_both_stages(model: BiSeNet) -> None:
    assert list(model.aux_weights.values()) == [1.0, 1.0]


def deep_part_works_on_small_maps(model: BiSeNet) -> None:
    """The context path has most layers and parameters and, at a 32nd of the size, few multiplications for them."""
    del model
    bare = on_meta()
    deep, shallow = (part_macs(part, (1, 3, 360, 640)) for part in (bare.backbone, bare.spatial_path))
    layers = [
        sum(isinstance(layer, nn.Conv2d) for layer in part.modules()) for part in (bare.backbone, bare.spatial_path)
    ]
    assert layers == [103, 4]
    assert parameters(bare.backbone) > 3 * parameters(bare.spatial_path)
    assert deep < shallow / 4


CLAIMS = {
    "B18": spatial_path_has_three_strided_layers,
    "B19": context_path_is_a_trunk_with_a_global_pool_at_its_tail,
    "B20": attention_refinement_weighs_by_a_global_pool,
    "B21": fusion_concatenates_normalises_pools_and_multiplies,
    "B22": two_stages_of_the_context_path_have_auxiliary_losses,
    "B23": reads_one_image_in_two_branches,
    "B24": context_path_is_an_incomplete_u,
    "B35": attention_refinement_resizes_nothing,
    "B36": fusion_weights_come_from_the_fused_features,
    "B37": every_loss_is_softmax_cross_entropy,
    "B38": alpha_is_one_for_both_stages,
    "B39": deep_part_works_on_small_maps,
}


@pytest.mark.parametrize("id", CLAIMS)
@torch.no_grad()
def test_claim_holds(id: str, model: BiSeNet) -> None:
    CLAIMS[id](model)
