import pytest
import torch
from torch import Tensor, nn

from segwright.layers import BatchNorm2d, ConvBN, ConvBNReLU, SeparableConv
from segwright.layers.conv import Conv2d
from tests.support.compare import distance
from tests.support.fill import fill


def cpu_computes_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def test_normalisation_of_one_value_per_channel_uses_and_keeps_the_running_statistics() -> None:
    norm = BatchNorm2d(4)
    fill(norm)
    features = torch.randn(1, 4, 1, 1, requires_grad=True)
    before = {key: tensor.clone() for key, tensor in norm.state_dict().items()}
    trained = norm.train()(features)
    trained.sum().backward()
    assert torch.equal(trained, norm.eval()(features))
    assert all(torch.equal(tensor, before[key]) for key, tensor in norm.state_dict().items())
    assert features.grad is not None
    assert features.grad.all()
    assert norm.weight.grad is not None


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (1, 4, 1, 2), (1, 4, 2, 1), (3, 4, 5, 7)])
def test_normalisation_of_two_values_or_more_is_torch_s(shape: tuple[int, ...]) -> None:
    ours, theirs = BatchNorm2d(4), nn.BatchNorm2d(4)
    for is_training in (True, True, False):
        features = torch.randn(shape)
        assert torch.equal(ours.train(is_training)(features), theirs.train(is_training)(features))
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())
    assert int(ours.num_batches_tracked) == 2


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_padding_keeps_the_size_at_stride_1_and_halves_it_at_2(kernel_size: int, dilation: int) -> None:
    features = torch.randn(1, 3, 11, 14)
    assert ConvBN(3, 5, kernel_size, dilation=dilation)(features).shape == (1, 5, 11, 14)
    assert ConvBN(3, 5, kernel_size, dilation=dilation, stride=2)(features).shape == (1, 5, 6, 7)


def test_stated_padding_wins() -> None:
    assert ConvBN(3, 5, 3, padding=0)(torch.randn(1, 3, 11, 14)).shape == (1, 5, 9, 12)


def test_blocks_have_the_activations_of_their_names() -> None:
    features = torch.randn(2, 8, 9, 9)
    for block, has_relu in ((ConvBN(8, 8), False), (ConvBNReLU(8, 8), True), (SeparableConv(8, 8), True)):
        assert bool((block(features) < 0).any()) != has_relu
    plain, activated = SeparableConv(8, 8), SeparableConv(8, 8, depthwise_relu=True)
    assert (plain[0](features) < 0).any()
    assert not (activated[0](features) < 0).any()


@pytest.mark.parametrize("bias", [False, True])
def test_bias_stands_before_the_normalisation_only_where_it_is_asked_for(bias: bool) -> None:
    assert (ConvBN(3, 5, bias=bias)[0].bias is not None) == bias


@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (1, 4), (6, 1), (6, 4)])
def test_convolution_is_torch_s(groups: int, dilation: int) -> None:
    ours = Conv2d(6, 6, 3, padding=dilation, dilation=dilation, groups=groups)
    theirs = nn.Conv2d(6, 6, 3, padding=dilation, dilation=dilation, groups=groups)
    theirs.load_state_dict(ours.state_dict())
    features = torch.randn(2, 6, 9, 13)
    assert torch.equal(ours(features), theirs(features))


def poison_freed_memory() -> None:
    """Leave NaN in blocks of many sizes that the allocator hands out next."""
    blocks = [torch.full((size,), float("nan")) for size in (2**power for power in range(6, 21)) for _ in range(4)]
    del blocks


def weight_gradient(conv: nn.Conv2d, features: Tensor, change: Tensor) -> Tensor:
    conv.weight.grad = None
    (conv(features) * change).sum().backward()
    assert conv.weight.grad is not None
    return conv.weight.grad.clone()


@pytest.mark.skipif(not cpu_computes_bf16(), reason="this CPU has no instructions for bf16 products")
def test_gradient_of_a_dilated_depthwise_convolution_is_right_under_bf16_autocast() -> None:
    conv = Conv2d(128, 128, 3, padding=4, dilation=4, groups=128, bias=False).to(memory_format=torch.channels_last)
    features = torch.randn(4, 128, 32, 32).to(memory_format=torch.channels_last).bfloat16()
    change = torch.randn(4, 128, 32, 32).to(memory_format=torch.channels_last)
    exact = nn.functional.conv2d(
        features.double(), conv.weight.double().requires_grad_(), padding=4, dilation=4, groups=128
    )
    (wanted,) = torch.autograd.grad((exact * change.double()).sum(), conv.weight)
    for _ in range(10):
        poison_freed_memory()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert distance(weight_gradient(conv, features, change), wanted) < 2**-8  # half a step of bf16
