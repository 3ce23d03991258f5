"""Gated-SCNN's figures and claims, mostly on a small trunk."""

import re

import pytest
import torch
from torch import Tensor, nn

from segwright.errors import ConfigError
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import build_model
from segwright.models import gated_scnn as builder
from segwright.models.gated_scnn import GatedConv, GatedSCNN
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs

BEFORE_A_NORM = re.compile(r"shape_stream\.(gates\.\d|gated_convs\.\d\.attention\.3)\.bias")
"""Biases of the authors' network that the next normalisation takes away: their gradient is 0, or its rounding."""


def small(**options: object) -> GatedSCNN:
    model = build_model("gated_scnn", 4, {"trunk": "resnet18", **options})
    assert isinstance(model, GatedSCNN)
    fill(model)
    return model.eval()


def on_meta(trunk: str) -> GatedSCNN:
    with torch.device("meta"):
        return builder(19, trunk=trunk).eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def added_by_the_shapes(model: GatedSCNN) -> int:
    """Parameters of the shape stream, the combination and the boundary branch with its share of the merging."""
    branch = count(model.fusion.boundary_branch) + 256 * model.fusion.merge.out_channels
    return count(model.shape_stream) + count(model.combination) + branch


@pytest.mark.parametrize(
    ("trunk", "total", "added"),
    [
        ("wide_resnet38", 137_278_125, 174_189),
        ("resnet50", 40_523_949, 172_909),
        ("resnet101", 59_516_077, 172_909),
    ],
)
def test_parameter_counts(trunk: str, total: int, added: int) -> None:
    model = on_meta(trunk)
    assert count(model) == total
    assert added_by_the_shapes(model) == added


@pytest.mark.parametrize(("trunk", "percent"), [("wide_resnet38", 0.13), ("resnet101", 0.29), ("resnet50", 0.43)])
def test_overhead_of_the_shape_stream_is_the_paper_s(trunk: str, percent: float) -> None:
    model = on_meta(trunk)
    assert round(100 * added_by_the_shapes(model) / (count(model) - added_by_the_shapes(model)), 2) == percent


@pytest.mark.parametrize(("trunk", "macs"), [("wide_resnet38", 1843.8), ("resnet50", 511.9), ("resnet101", 701.3)])
def test_multiplications_at_the_paper_s_crop(trunk: str, macs: float) -> None:
    assert round(count_macs(on_meta(trunk), 800, 800) / 1e9, 1) == macs


@pytest.mark.parametrize(("trunk", "channels", "stride"), [("wide_resnet38", 4096, 2), ("resnet101", 2048, 4)])
def test_regular_stream_ends_at_stride_8_and_the_logits_at_the_fine_map(trunk: str, channels: int, stride: int) -> None:
    model, pictures = on_meta(trunk), torch.empty(2, 3, 64, 96, device="meta")
    assert model.backbone(pictures)[-1].shape == (2, channels, 8, 12)
    assert model.strided_logits(pictures).logits.shape == (2, 19, 64 // stride, 96 // stride)


@torch.no_grad()
def test_edges_have_the_images_size_in_training_and_are_none_in_evaluation() -> None:
    model = small()
    assert model.train()(images(0, 33, 49)).aux["edges"].shape == (1, 1, 33, 49)
    assert model.eval()(images(0, 33, 49)).aux == {}


def test_shape_stream_works_at_the_images_size_throughout() -> None:
    """A shallow architecture at very high resolution."""
    model = small()
    sizes, convs = set(), 0
    for module in model.shape_stream.modules():
        if isinstance(module, nn.Conv2d) and module not in set(model.shape_stream.gates):
            module.register_forward_hook(lambda _, __, output: sizes.add(tuple(output.shape[-2:])))
            convs += 1
    model(images(0, 40, 56))
    assert sizes == {(40, 56)}
    assert convs == 3 * (2 + 1) + 3 * 3 + 1  # residual blocks and reductions, gates, classifier


def shape_stream_inputs() -> tuple[Tensor, list[Tensor]]:
    channels = (128, 256, 512)
    return torch.randn(2, 64, 20, 28), [torch.randn(2, width, 5, 7) for width in channels]


@torch.no_grad()
def test_deeper_maps_reach_the_shape_stream_through_gates_only() -> None:
    stream = small().shape_stream
    first, gating = shape_stream_inputs()
    others = [torch.randn_like(features) for features in gating]
    assert distance(stream(first, others, (40, 56)), stream(first, gating, (40, 56))) > 1e-3
    for gated_conv in stream.gated_convs:
        gated_conv.attention = Constant(0.3)
    assert torch.equal(stream(first, others, (40, 56)), stream(first, gating, (40, 56)))


class Constant(nn.Module):
    """An attention that sees nothing."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, features: Tensor) -> Tensor:
        return torch.full_like(features[:, :1], self.value)


@torch.no_grad()
def test_gate_lies_in_0_to_1_and_adds_its_share_of_the_features() -> None:
    gated_conv, features, gate = GatedConv(8).eval(), torch.randn(2, 8, 9, 9), torch.randn(2, 1, 9, 9)
    fill(gated_conv)
    seen: list[Tensor] = []
    gated_conv.weighting.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    gated_conv(features, gate)
    share = seen[0] / features
    assert ((share >= 1 - 1e-6) & (share <= 2 + 1e-6)).all()
    assert share.std() > 0.01
    assert torch.allclose(share, share[:, :1], atol=1e-4)  # one gate for all channels


@torch.no_grad()
@pytest.mark.parametrize(("alpha", "factor"), [(0.0, 1.0), (1.0, 2.0)])
def test_closed_gate_leaves_the_weighting_alone(alpha: float, factor: float) -> None:
    gated_conv, features = GatedConv(8).eval(), torch.randn(2, 8, 9, 9)
    gated_conv.attention = Constant(alpha)
    got = gated_conv(features, torch.randn(2, 1, 9, 9))
    torch.testing.assert_close(got, gated_conv.weighting(factor * features))


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("size", [(97, 61), (130, 31)])
@torch.no_grad()
def test_bands_equal_the_whole(size: tuple[int, int], variant: str) -> None:
    model, picture = small(variant=variant), images(0, *size, batch=2)
    first, _, *gating = model.backbone(picture)
    whole = model.shape_stream(first, gating, size)
    model.shape_stream.band_pixels = 1
    bands: list[int] = []
    model.shape_stream.classifier.register_forward_hook(lambda _, __, output: bands.append(output.shape[2]))
    assert distance(model.shape_stream(first, gating, size), whole) < 1e-5
    assert len(bands) > 3
    assert max(bands) < 40


def test_computing_again_gives_the_same_gradients_and_statistics() -> None:
    kept = small(recompute=False).train()
    again = small(recompute=True).train()
    again.load_state_dict(kept.state_dict())
    picture, gradients = images(0, 33, 49, batch=2), []
    for model in (kept, again):
        torch.manual_seed(0)
        output = model(picture)
        (output.logits.square().mean() + output.aux["edges"].square().mean()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))  # type: ignore[arg-type]
    assert all(torch.equal(one, other) for one, other in zip(kept.buffers(), again.buffers(), strict=True))


@torch.no_grad()
def test_image_gradient_enters_the_combination_as_it_is_and_can_be_replaced() -> None:
    model, picture = small(), images(0, 40, 56)
    stored = 255 * torch.rand(1, 1, 40, 56)
    seen: list[Tensor] = []
    model.combination.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    before = model(picture).logits
    model.image_gradient = Stored(stored)
    after = model(picture).logits
    assert torch.equal(seen[1][:, 1:], stored)
    assert torch.equal(seen[1][:, :1], seen[0][:, :1])
    assert ((seen[0][:, :1] > 0) & (seen[0][:, :1] < 1)).all()
    assert distance(after, before) > 1e-3


class Stored(nn.Module):
    def __init__(self, stored: Tensor) -> None:
        super().__init__()
        self.stored = stored

    def forward(self, images: Tensor) -> Tensor:
        return self.stored


@torch.no_grad()
def test_every_image_gradient_has_the_same_weights_and_a_map_of_its_own() -> None:
    models = [small(image_gradient=name) for name in ("canny", "sobel", "none")]
    assert len({tuple(model.state_dict()) for model in models}) == 1
    logits = [model(images(0, 40, 56)).logits for model in models]
    assert min(distance(logits[0], logits[1]), distance(logits[1], logits[2]), distance(logits[0], logits[2])) > 1e-3


def test_losses_are_named_and_weighted_as_in_the_paper() -> None:
    model = small().train()
    assert model.aux_weights == {"edges": 20.0}
    assert model.joint_losses == {"dual_task_to": 1.0, "dual_task_from": 1.0}
    loss_fn = SegmentationLoss(
        cross_entropy, model.aux_weights, aux_losses=model.aux_losses, joint_losses=model.joint_losses
    )
    masks = torch.zeros(2, 48, 64, dtype=torch.long)
    masks[:, 16:32, 16:40] = 2
    losses = loss_fn(model.strided_logits(images(0, 48, 64, batch=2)), masks)
    losses["loss"].backward()
    assert list(losses) == ["loss", "main", "edges", "dual_task_to", "dual_task_from"]
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert [key for key, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    still = {key for key, gradient in gradients.items() if gradient is not None and not gradient.any()}
    assert still <= {key for key in gradients if BEFORE_A_NORM.fullmatch(key)}


def test_edges_learn_from_masks_alone() -> None:
    """Ground truth for the shape stream comes with the masks."""
    model = small().train()
    picture, masks = images(0, 32, 48, batch=2), torch.zeros(2, 32, 48, dtype=torch.long)
    masks[:, :, 24:] = 1
    loss_fn = SegmentationLoss(cross_entropy, {"edges": 20.0}, aux_losses=model.aux_losses)
    optimizer = torch.optim.Adam(model.shape_stream.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        edges = loss_fn(model.strided_logits(picture), masks)["edges"]
        losses.append(float(edges.detach()))
        optimizer.zero_grad()
        edges.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (33, 97)])
def test_any_size_works_in_both_modes(size: tuple[int, int]) -> None:
    model, picture = small(), images(0, *size)
    assert model(picture).logits.shape == (1, 4, *size)
    output = model.train()(picture)
    (output.logits.sum() + output.aux["edges"].sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trunk": "wide_resnet_38"}, "unknown backbone 'wide_resnet_38'"),
        ({"trunk": "convnext_atto"}, "has no map of stride 2"),
        ({"image_gradient": "prewitt"}, "image_gradient of model 'gated_scnn' must be one of canny, sobel, none"),
        ({"variant": "mmseg"}, "variant of model 'gated_scnn' must be one of paper, released"),
    ],
)
def test_bad_options_are_told(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_model("gated_scnn", 4, options)
