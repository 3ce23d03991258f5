"""EncNet: the encoding's properties, sizes in the specification's integers, and what its auxiliary outputs weigh."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from segwright.errors import ConfigError
from segwright.models import EncoderDecoder, create_model
from segwright.models.encnet import ContextEncoding, EncNetDecoder, Encoding, encnet
from tests.support.compare import distance
from tests.support.fill import fill, images
from tests.support.parity import count_macs


def small(num_classes: int = 5, **options: object) -> EncoderDecoder:
    model = create_model("encnet", num_classes=num_classes, backbone="resnet18", **options)
    fill(model)
    assert isinstance(model, EncoderDecoder)
    return model


def expanded(encoding: Encoding, features: Tensor) -> Tensor:
    """The layer as the paper writes it, with every residual of every pixel to every codeword at once."""
    pixels = features.flatten(2).transpose(1, 2)  # (N, P, D)
    residuals = pixels[:, :, None] - encoding.codewords  # (N, P, K, D)
    weights = (encoding.smoothing * residuals.square().sum(dim=3)).softmax(dim=2)  # (N, P, K)
    return (weights[..., None] * residuals).sum(dim=1)


def random_encoding(channels: int = 6, codewords: int = 4) -> Encoding:
    torch.manual_seed(0)
    encoding = Encoding(channels, codewords)
    torch.nn.init.normal_(encoding.codewords)
    return encoding


@torch.no_grad()
def test_factorised_encoding_equals_the_expanded() -> None:
    encoding, features = random_encoding().double(), torch.randn(2, 6, 5, 7, dtype=torch.float64)
    assert distance(encoding(features), expanded(encoding, features)) < 1e-12
    single = random_encoding()
    assert distance(single(features.float()), expanded(encoding, features)) < 1e-5


@torch.no_grad()
def test_weights_of_a_pixel_sum_to_one() -> None:
    encoding = random_encoding()
    weights = encoding.assignment(torch.randn(2, 6, 9), encoding.codewords)
    assert weights.shape == (2, 4, 9)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2, 9))


@torch.no_grad()
def test_a_nearer_codeword_weighs_more() -> None:
    encoding = random_encoding()
    weights = encoding.assignment(encoding.codewords.T[None], encoding.codewords)[0]  # pixels on the codewords
    assert weights.argmax(dim=0).tolist() == [0, 1, 2, 3]


@torch.no_grad()
def test_encoding_does_not_depend_on_where_pixels_are() -> None:
    encoding, features = random_encoding(), torch.randn(2, 6, 5, 8)
    shuffled = features.flatten(2)[..., torch.randperm(40)].view(2, 6, 8, 5)
    assert torch.allclose(encoding(shuffled), encoding(features), atol=1e-5)


@torch.no_grad()
def test_one_codeword_gathers_all_residuals() -> None:
    encoding, features = random_encoding(codewords=1), torch.randn(2, 6, 5, 8)
    wanted = features.sum(dim=(2, 3)) - 40 * encoding.codewords[0]
    assert torch.allclose(encoding(features)[:, 0], wanted, atol=1e-4)


def test_codewords_and_smoothing_begin_as_in_the_authors_code() -> None:
    encoding = Encoding(512, 32)
    assert encoding.codewords.abs().max() <= 1 / math.sqrt(32 * 512)
    assert encoding.codewords.std() > 0.5 / math.sqrt(32 * 512)
    assert (encoding.smoothing < 0).all()
    assert (encoding.smoothing > -1).all()


class LargestTensor(TorchDispatchMode):
    """Remembers the most values that any result had."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numel = max(self.numel, result.numel())
        return result


def test_no_tensor_has_the_size_of_pixels_by_codewords_by_channels() -> None:
    with torch.device("meta"):
        encoding, features = Encoding(512, 32), torch.empty(1, 512, 128, 256)
    with LargestTensor() as largest, torch.no_grad():
        encoding(features)
    assert largest.numel == features.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_encoding_computes_in_float32_under_autocast(dtype: torch.dtype) -> None:
    encoding, features = random_encoding(), (torch.randn(2, 6, 40, 40) + 3).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        got = encoding(features)
    assert got.dtype == torch.float32
    assert torch.equal(got, encoding(features.float()))


@torch.no_grad()
def test_half_precision_weights_encode_in_float32_too() -> None:
    encoding, features = random_encoding().bfloat16(), torch.randn(1, 6, 90, 90).bfloat16()
    wanted = expanded(encoding.double(), features.double())
    assert distance(encoding.bfloat16()(features), wanted) < 0.02


@torch.no_grad()
def test_channels_of_the_map_grow_to_at_most_twice() -> None:
    module = ContextEncoding(8, codewords=4).eval()
    features = torch.rand(2, 8, 5, 6)
    weighted, encoded = module(features)
    assert encoded.shape == (2, 8)
    assert (weighted >= features).all()
    assert (weighted <= 2 * features).all()
    ratio = weighted / features
    assert torch.allclose(ratio, ratio[..., :1, :1])  # one factor per picture and channel
    assert ratio.std() > 0


def test_normalisation_is_over_codewords() -> None:
    """Its statistics have one value per codeword, of all pictures and channels."""
    module = ContextEncoding(8, codewords=4).train()
    module.norm.momentum = 1.0
    features = torch.rand(3, 8, 5, 6)
    module.projection.eval()
    module(features)
    assert module.norm.running_mean is not None
    residuals = module.encoding(module.projection(features))
    assert torch.allclose(module.norm.running_mean, residuals.mean(dim=(0, 2)), atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "inference", "training", "gmacs"),
    [("resnet50s", 33642587, 36047825, 128.97), ("resnet101s", 52634715, 55039953, 197.15)],
)
def test_sizes(backbone: str, inference: int, training: int, gmacs: float) -> None:
    with torch.device("meta"):
        model = encnet(59, backbone=backbone).eval()
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    heads = ("aux_head.", "decoder.presence.")
    assert sum(count for key, count in counts.items() if not key.startswith(heads)) == inference
    assert sum(counts.values()) == training
    assert count_macs(model, 480, 480) / 1e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize(("variant", "aux_weight"), [("paper", 0.2), ("mmseg", 0.4)])
def test_weights_of_the_losses(variant: str, aux_weight: float) -> None:
    model = small(variant=variant)
    assert model.aux_weights == {"aux": aux_weight, "presence": 0.2}
    assert model.aux_losses == {"presence": "semantic_encoding"}
    aux = model.train()(images(0, 33, 97, batch=2)).aux
    assert {name: tuple(prediction.shape) for name, prediction in aux.items()} == {
        "aux": (2, 5, 5, 13),
        "presence": (2, 5),
    }
    assert model.eval()(images(0, 33, 97)).aux == {}


@torch.no_grad()
def test_evaluation_does_not_need_the_training_heads() -> None:
    model, picture = small().eval(), images(0, 33, 97)
    before = model(picture).logits
    for part in (model.decoder.presence, model.aux_head):
        for parameter in part.parameters():
            parameter.fill_(float("nan"))
    assert torch.equal(model(picture).logits, before)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 97)])
@pytest.mark.parametrize("lateral", [False, True])
def test_one_picture_of_any_size_trains_every_parameter(size: tuple[int, int], lateral: bool) -> None:
    model = small(1, lateral=lateral).train()
    output = model(images(0, *size))
    assert output.logits.shape == (1, 1, *size)
    (output.logits.sum() + sum(prediction.sum() for prediction in output.aux.values())).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@torch.no_grad()
def test_laterals_come_to_the_last_map_s_stride(output_stride: int) -> None:
    decoder = EncNetDecoder((8, 16, 32, 64), 5, width=8, codewords=4, lateral=True).eval()
    strides = (4, 8, min(16, output_stride), output_stride)
    features = [torch.rand(1, 8 << level, 65 // stride, 97 // stride) for level, stride in enumerate(strides)]
    before = decoder(features).logits
    assert before.shape == (1, 5, 65 // output_stride, 97 // output_stride)
    features[1] = features[1] + 1
    assert not torch.equal(decoder(features).logits, before)


def test_trunks_of_other_families_are_taken_and_unknown_variants_refused() -> None:
    with torch.device("meta"):
        assert create_model("encnet", num_classes=3, backbone="convnext_atto").num_classes == 3
    with pytest.raises(ConfigError, match="variant of model 'encnet' must be one of paper, mmseg"):
        create_model("encnet", num_classes=3, variant="smp")
