"""The other ways to compute a convolution, against torch's own."""

import copy
import pickle
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.inference.rewriting.convolutions import (
    PointwiseConv2d,
    ShiftedConv2d,
    degenerate_taps,
    is_left_to_a_product,
    pointwise,
)
from segwright.layers.conv import Conv2d
from tests.support.compare import distance


def dilated(rate: int | tuple[int, int] = 6, *, kernel: int | tuple[int, int] = 3, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return Conv2d(5, 4, kernel, padding="same", dilation=rate, bias=bias)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def taps_on_the_map(rate: int, size: tuple[int, int], kernel_size: int) -> dict[int, float]:
    """Counted position by position: a convolution of ones with ones."""
    reach = rate * (kernel_size // 2)
    counts = F.conv2d(torch.ones(1, 1, *size), torch.ones(1, 1, kernel_size, kernel_size), padding=reach, dilation=rate)
    taps, positions = counts.long().unique(return_counts=True)
    return dict(zip(taps.tolist(), (positions / counts.numel()).tolist(), strict=True))


@pytest.mark.parametrize("rate", [1, 2, 12, 24, 32, 33, 64, 65, 100])
@pytest.mark.parametrize(("size", "kernel_size"), [((65, 65), 3), ((33, 65), 3), ((20, 7), 5), ((1, 1), 3)])
def test_degenerate_taps_equal_a_direct_count(rate: int, size: tuple[int, int], kernel_size: int) -> None:
    assert degenerate_taps(rate, size, kernel_size=kernel_size) == pytest.approx(
        taps_on_the_map(rate, size, kernel_size)
    )


def test_with_growing_rate_fewer_weights_are_valid_until_only_the_centre_is() -> None:
    means = [sum(taps * share for taps, share in degenerate_taps(rate, (65, 65)).items()) for rate in range(1, 70)]
    assert means[0] > 8.7
    assert all(later <= earlier for earlier, later in pairwise(means))
    assert means[63] > 1
    assert means[64:] == [1.0] * 5  # rate 65 and on, on a map of 65


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rate=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 37), st.integers(1, 37)),
    batch=st.integers(1, 3),
    bias=st.booleans(),
    kernel=st.sampled_from([3, 5, (3, 1), (1, 3), (1, 5)]),
    channels_last=st.booleans(),
)
@torch.no_grad()
def test_shifted_convolution_equals_torch_s(
    rate: tuple[int, int],
    size: tuple[int, int],
    batch: int,
    bias: bool,
    kernel: int | tuple[int, int],
    channels_last: bool,
) -> None:
    conv = dilated(rate, kernel=kernel, bias=bias)
    maps = noise(batch, 5, *size)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    got, wanted = ShiftedConv2d(conv)(maps), conv(maps)
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_shifted_convolution_keeps_channels_last() -> None:
    maps = noise(2, 5, 9, 11).contiguous(memory_format=torch.channels_last)
    assert ShiftedConv2d(dilated())(maps).is_contiguous(memory_format=torch.channels_last)


def test_shifted_convolution_has_the_same_weight_and_bias_of_its_own() -> None:
    conv = dilated((6, 2), kernel=(3, 5))
    shifted = ShiftedConv2d(conv)
    assert torch.equal(shifted.weight, conv.weight)
    assert shifted.bias is not None and conv.bias is not None
    assert torch.equal(shifted.bias, conv.bias)
    with torch.no_grad():
        shifted.taps.zero_()
        shifted.bias.zero_()
    assert conv.weight.all() and conv.bias.all()


@torch.no_grad()
def test_shifted_convolution_of_a_map_smaller_than_the_rate_is_its_centre() -> None:
    conv, maps = dilated(40), noise(1, 5, 9, 11)
    conv.weight[:, :, 1, 1] = 0
    assert conv.bias is not None
    assert torch.equal(ShiftedConv2d(conv)(maps), conv.bias[:, None, None].expand(1, -1, 9, 11))


@torch.no_grad()
def test_shifted_convolution_in_bf16_is_as_exact_as_torch_s() -> None:
    conv, maps = dilated(6), noise(2, 5, 20, 30)
    wanted = conv(maps)
    shifted = ShiftedConv2d(conv).bfloat16()(maps.bfloat16())
    assert shifted.dtype == torch.bfloat16
    assert shifted.isfinite().all()
    assert distance(shifted, wanted) < 2 * max(distance(conv.bfloat16()(maps.bfloat16()), wanted), 0.01)


@torch.no_grad()
def test_shifted_convolution_works_under_autocast() -> None:
    conv, maps = dilated(6), noise(2, 5, 20, 30)
    with torch.autocast("cpu", torch.bfloat16):
        got = ShiftedConv2d(conv)(maps)
    assert got.dtype == torch.bfloat16
    assert distance(got, conv(maps)) < 0.05


def test_shifted_convolution_can_be_copied_and_pickled() -> None:
    shifted, maps = ShiftedConv2d(dilated()), noise(1, 5, 9, 11)
    for twin in (copy.deepcopy(shifted), pickle.loads(pickle.dumps(shifted))):
        assert torch.equal(twin(maps), shifted(maps))
        assert twin.state_dict().keys() == shifted.state_dict().keys()


@torch.no_grad()
def test_exported_with_free_sizes_it_holds_at_every_size() -> None:
    conv = dilated(6)
    free = {0: torch.export.Dim("n", max=8), 2: torch.export.Dim("h", max=99), 3: torch.export.Dim("w", max=99)}
    program = torch.export.export(ShiftedConv2d(conv), (noise(2, 5, 20, 30),), dynamic_shapes=(free,)).module()
    for shape in ((1, 5, 1, 1), (3, 5, 5, 6), (3, 5, 6, 7), (1, 5, 7, 50)):
        assert (program(noise(*shape)) - conv(noise(*shape))).abs().max() < 1e-5


@pytest.mark.parametrize(("size", "convolutions"), [((20, 30), 9), ((5, 30), 3), ((5, 6), 1)])
@torch.no_grad()
def test_exported_at_one_size_it_leaves_out_taps_in_the_padding(size: tuple[int, int], convolutions: int) -> None:
    conv, maps = dilated(6), noise(2, 5, *size)
    program = torch.export.export(ShiftedConv2d(conv), (maps,))
    assert [str(node.target) for node in program.graph.nodes].count("aten.conv2d.default") == convolutions
    assert (program.module()(maps) - conv(maps)).abs().max() < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"groups": 4},
        {"padding": 5},
        {"padding_mode": "reflect"},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 2, "padding": 3},
        {"dilation": 5, "padding": 5},
    ],
    ids=str,
)
def test_shifted_convolution_declines_what_it_does_not_compute(options: dict[str, object]) -> None:
    wanted: dict[str, object] = {"kernel_size": 3, "padding": 6, "dilation": 6}
    assert ShiftedConv2d.can_replace(nn.Conv2d(4, 4, **wanted), min_rate=6)  # type: ignore[arg-type]
    assert not ShiftedConv2d.can_replace(nn.Conv2d(4, 4, **{**wanted, **options}), min_rate=6)  # type: ignore[arg-type]


@pytest.fixture
def one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@torch.no_grad()
@pytest.mark.usefixtures("one_thread")
def test_pointwise_equals_torch_s_convolution_in_either_kernel() -> None:
    conv = nn.Conv2d(64, 8, 1)
    for maps in (noise(1, 64, 20, 30), noise(1, 64, 3, 3)):
        assert (pointwise(maps, conv.weight, conv.bias) - conv(maps)).abs().max() < 1e-5
        assert (pointwise(maps, conv.weight, None) - F.conv2d(maps, conv.weight)).abs().max() < 1e-5


@pytest.mark.usefixtures("one_thread")
def test_only_large_float32_maps_on_one_thread_are_left_to_a_product() -> None:
    maps = noise(1, 64, 20, 30)
    assert is_left_to_a_product(maps) == torch.backends.mkldnn.is_available()
    assert not is_left_to_a_product(maps[..., :3])
    assert not is_left_to_a_product(maps.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_left_to_a_product(maps)
    torch.set_num_threads(2)
    assert not is_left_to_a_product(maps)


def test_pointwise_module_is_a_convolution_of_another_class() -> None:
    assert PointwiseConv2d.can_replace(nn.Conv2d(3, 4, 1))
    for options in ({"kernel_size": 3}, {"stride": 2}, {"padding": 1}, {"groups": 2}):
        assert not PointwiseConv2d.can_replace(nn.Conv2d(4, 4, **{"kernel_size": 1, **options}))
