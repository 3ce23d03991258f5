"""FastFCN: joint pyramid upsampling, the identities it rests on, and its sizes beside dilated trunks."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.backbones import create_backbone
from segwright.errors import ConfigError
from segwright.layers import ConvBN, resize_as
from segwright.models import EncoderDecoder, Neck, create_model
from segwright.models.fastfcn import JPU, fastfcn
from segwright.models.fcn import fcn_decoder
from tests.support.fill import fill, images
from tests.support.parity import count_macs

CHANNELS = (8, 16, 24, 32)
DECODERS = ["encnet", "deeplabv3", "pspnet", "fcn"]


def small(decoder: str = "encnet", num_classes: int = 5, **options: object) -> EncoderDecoder:
    model = create_model("fastfcn", num_classes=num_classes, backbone="resnet18", decoder=decoder, **options)
    fill(model)
    assert isinstance(model, EncoderDecoder)
    return model


def pyramid(height: int, width: int, batch: int = 1) -> list[Tensor]:
    return [
        torch.randn(batch, channels, math.ceil(height / stride), math.ceil(width / stride))
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


# The identities behind the module (section 3.2): a dilated convolution is split, convolve, merge; a strided one is
# convolve, reduce.


@pytest.mark.parametrize("length", [8, 9, 31])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@torch.no_grad()
def test_dilated_convolution_is_split_convolve_merge_in_one_dimension(length: int, kernel: int) -> None:
    signal, weight = torch.randn(2, 3, length), torch.randn(4, 3, kernel)
    merged = torch.empty(2, 4, length)
    for parity in (0, 1):
        merged[..., parity::2] = F.conv1d(signal[..., parity::2], weight, padding=kernel // 2)
    assert torch.allclose(F.conv1d(signal, weight, padding=2 * (kernel // 2), dilation=2), merged, atol=1e-5)


@pytest.mark.parametrize("length", [8, 9, 31])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@torch.no_grad()
def test_strided_convolution_is_convolve_reduce_in_one_dimension(length: int, kernel: int) -> None:
    signal, weight = torch.randn(2, 3, length), torch.randn(4, 3, kernel)
    reduced = F.conv1d(signal, weight, padding=kernel // 2)[..., ::2]
    assert torch.allclose(F.conv1d(signal, weight, padding=kernel // 2, stride=2), reduced, atol=1e-5)


def twin(layer: ConvBN, **options: int) -> ConvBN:
    """A layer with the same weights and another stride or dilation."""
    other = ConvBN(3, 4, 3, **options).eval()
    other.load_state_dict(layer.state_dict())
    return other


def random_layer() -> ConvBN:
    layer = ConvBN(3, 4, 3).eval()
    fill(layer)
    return layer


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
@torch.no_grad()
def test_dilated_convolution_is_split_convolve_merge_in_two_dimensions(size: tuple[int, int]) -> None:
    layer, maps = random_layer(), torch.randn(2, 3, *size)
    merged = torch.empty(2, 4, *size)
    for row in (0, 1):
        for column in (0, 1):
            merged[..., row::2, column::2] = layer(maps[..., row::2, column::2])
    assert torch.allclose(twin(layer, dilation=2)(maps), merged, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
@torch.no_grad()
def test_strided_convolution_is_convolve_reduce_in_two_dimensions(size: tuple[int, int]) -> None:
    layer, maps = random_layer(), torch.randn(2, 3, *size)
    assert torch.allclose(twin(layer, stride=2)(maps), layer(maps)[..., ::2, ::2], atol=1e-5)


@torch.no_grad()
def test_strided_stage_is_the_dilated_one_at_even_positions() -> None:
    """So y_s is what the even half of y_m would give: the joint upsampling problem (section 3.2)."""
    layers = [random_layer() for _ in range(3)]
    maps = torch.randn(1, 3, 16, 24)
    first = layers[0](maps)[:, :3]
    dilated = twin(layers[1], dilation=2)(first)
    strided = layers[1](first[..., ::2, ::2])
    assert torch.allclose(dilated[..., ::2, ::2], strided, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 33), (64, 96), (97, 129)])
@pytest.mark.parametrize("align_corners", [False, True])
@torch.no_grad()
def test_joint_map_has_stride_8_for_any_size(size: tuple[int, int], align_corners: bool) -> None:
    module = JPU(CHANNELS, width=4, align_corners=align_corners).eval()
    features = pyramid(*size)
    joined = module(features)
    assert all(ours is given for ours, given in zip(joined[:3], features[:3], strict=True))
    assert joined[3].shape == (1, 16, *features[1].shape[-2:])
    assert module.channels == (8, 16, 24, 16)
    assert module.output_stride == 8


def test_branches_have_dilations_1_2_4_8_and_no_relu_before_the_pointwise_convolution() -> None:
    module = JPU(CHANNELS, width=4).eval()
    fill(module)
    depthwise = [branch[0] for branch in module.branches]
    assert [layer[0].dilation for layer in depthwise] == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert all(layer[0].groups == 12 and layer[0].in_channels == 12 for layer in depthwise)
    seen: list[Tensor] = []
    for branch in module.branches:
        branch[1].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    joint = module(pyramid(64, 96))[-1]
    assert all((maps < 0).any() for maps in seen)
    assert (joint >= 0).all()


def test_module_has_the_authors_number_of_parameters() -> None:
    with torch.device("meta"):
        module = JPU((256, 512, 1024, 2048))
    assert sum(parameter.numel() for parameter in module.parameters()) == 19_735_552


@torch.no_grad()
def test_trunk_halves_five_times_and_has_no_dilation() -> None:
    trunk = small().backbone
    assert trunk.strides == (4, 8, 16, 32)
    assert [tuple(maps.shape[-2:]) for maps in trunk(images(0, 64, 96))] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert {part.dilation for part in trunk.modules() if isinstance(part, nn.Conv2d)} == {(1, 1)}


def gmacs(name: str, **options: object) -> float:
    with torch.device("meta"):
        model = create_model(name, num_classes=59, **options).eval()
    return count_macs(model, 512, 512) / 1e9


@pytest.mark.parametrize(
    ("backbone", "inference", "training", "dilated", "joint"),
    [("resnet50s", 44989531, 47394769, 146.74, 64.08), ("resnet101s", 63981659, 66386897, 224.31, 83.48)],
)
def test_sizes_with_the_encoding(backbone: str, inference: int, training: int, dilated: float, joint: float) -> None:
    """2.3 and 2.7 times fewer multiplications than on a dilated trunk, for 11 million parameters more."""
    with torch.device("meta"):
        model = fastfcn(59, backbone=backbone)
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    heads = ("aux_head.", "decoder.presence.")
    assert sum(count for key, count in counts.items() if not key.startswith(heads)) == inference
    assert sum(counts.values()) == training
    assert gmacs("encnet", backbone=backbone) == pytest.approx(dilated, abs=0.005)
    assert gmacs("fastfcn", backbone=backbone) == pytest.approx(joint, abs=0.005)


def test_multiplications_with_the_other_decoders() -> None:
    assert gmacs("pspnet", backbone="resnet50s") == pytest.approx(184.2, abs=0.05)
    assert gmacs("fastfcn", decoder="pspnet") == pytest.approx(135.9, abs=0.05)
    assert gmacs("fastfcn", decoder="deeplabv3") == pytest.approx(122.4, abs=0.05)
    dilated = gmacs("deeplabv3", backbone="resnet50s", output_stride=8, variant="torchvision")
    assert dilated == pytest.approx(170.7, abs=0.05)


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradients_reach_c3_c4_and_c5_through_the_joint_map(decoder: str) -> None:
    model = small(decoder).eval()
    features = [maps.detach().requires_grad_() for maps in model.backbone(images(0, 64, 96))]
    joint = model.neck(features)
    model.decoder([*(maps.detach() for maps in joint[:3]), joint[3]]).logits.square().sum().backward()
    assert features[0].grad is None
    assert all(maps.grad is not None and maps.grad.any() for maps in features[1:])


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("variant", ["paper", "mmseg"])
@torch.no_grad()
def test_swapping_the_decoder_keeps_the_interface(decoder: str, variant: str) -> None:
    model, pictures = small(decoder, variant=variant), images(0, 33, 97, batch=2)
    output = model.train().strided_logits(pictures)
    assert output.logits.shape == (2, 5, 5, 13)
    assert output.aux["aux"].shape == (2, 5, 3, 7)  # the trunk's c4 at stride 16
    assert set(output.aux) == set(model.aux_weights) == {"aux"} | ({"presence"} if decoder == "encnet" else set())
    assert model.eval()(pictures).logits.shape == (2, 5, 33, 97)


@pytest.mark.parametrize(("decoder", "aux_weight"), [*zip(DECODERS, (0.2, 0.4, 0.4, 0.4), strict=True)])
def test_weight_of_the_auxiliary_loss_is_the_decoder_s(decoder: str, aux_weight: float) -> None:
    with torch.device("meta"):
        paper, mmseg = (fastfcn(5, backbone="resnet18", decoder=decoder, variant=name) for name in ("paper", "mmseg"))
    assert paper.aux_weights["aux"] == aux_weight
    assert mmseg.aux_weights["aux"] == 0.4


class BilinearNeck(Neck):
    """What the module is compared with in the paper's table 1: c5 resized."""

    output_stride = 8

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [*features[:-1], resize_as(features[-1], features[1])]


@torch.no_grad()
def test_bilinear_upsampling_in_its_place_gives_the_same_shapes() -> None:
    joint, pictures = small("fcn").eval(), images(0, 33, 97)
    trunk = create_backbone("resnet18")
    neck = BilinearNeck(trunk.channels)
    decoder = fcn_decoder(neck.channels, 5, output_stride=8)
    other = EncoderDecoder(trunk, decoder, num_classes=5, neck=neck)
    ours, theirs = joint.strided_logits(pictures), other.eval().strided_logits(pictures)
    assert ours.logits.shape == theirs.logits.shape
    assert joint(pictures).logits.shape == other(pictures).logits.shape


def test_any_decoder_joins_the_module_by_name() -> None:
    model = create_model("encoder_decoder", num_classes=3, backbone="resnet18", neck="jpu", decoder="pspnet")
    assert isinstance(model, EncoderDecoder)
    assert isinstance(model.neck, JPU)
    with torch.no_grad():
        assert model.eval().strided_logits(images(0, 65, 97)).logits.shape == (1, 3, 9, 13)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 97)])
def test_one_picture_of_any_size_trains_every_parameter(size: tuple[int, int]) -> None:
    model = small(num_classes=1).train()
    output = model(images(0, *size))
    (output.logits.sum() + sum(prediction.sum() for prediction in output.aux.values())).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_unknown_decoders_are_refused() -> None:
    with pytest.raises(ConfigError, match="decoder of model 'fastfcn' must be one of encnet, deeplabv3, pspnet, fcn"):
        create_model("fastfcn", num_classes=3, decoder="danet")
