"""Data-dependent upsampling against matrix products and loops: W, the rearrangement, codes of labels, the temperature.

A patch's values are counted class by class, then row by row.
"""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.errors import ConfigError, ShapeError
from segwright.layers.dupsampling import DUpsample, cosine_patches, default_code_channels
from tests.support.fill import fill


def full_rank(num_classes: int, ratio: int) -> DUpsample:
    """W = P^T = I: a code is its patch."""
    length = num_classes * ratio**2
    layer = DUpsample(length, num_classes, ratio, trains_on_codes=True)
    layer.set_codes(torch.eye(length), torch.eye(length))
    return layer


def one_hot(masks: Tensor, num_classes: int) -> Tensor:
    return F.one_hot(masks, num_classes).permute(0, 3, 1, 2).float()


def random_layer(code_channels: int, num_classes: int, ratio: int) -> DUpsample:
    layer = DUpsample(code_channels, num_classes, ratio, trains_on_codes=True)
    length = num_classes * ratio**2
    layer.set_codes(torch.randn(length, code_channels), torch.randn(code_channels, length))
    return layer


def places(*sides: int) -> Iterator[tuple[int, ...]]:
    return iter(map(tuple, torch.cartesian_prod(*map(torch.arange, sides)).tolist()))


@torch.no_grad()
def test_convolution_and_rearrangement_equal_a_matrix_product_per_position() -> None:
    torch.manual_seed(0)
    layer, codes = random_layer(7, 3, 4), torch.randn(2, 7, 2, 5)
    matrix, wanted = layer.weight[:, :, 0, 0], torch.empty(2, 3, 8, 20)
    for picture, row, column in places(2, 2, 5):
        patch = matrix @ codes[picture, :, row, column]
        for label, i, j in places(3, 4, 4):
            wanted[picture, label, 4 * row + i, 4 * column + j] = patch[label * 16 + i * 4 + j]
    torch.testing.assert_close(layer(codes, (8, 20)), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 20), (20, 8), (4, 4), (7, 18), (1, 3)])
@torch.no_grad()
def test_full_rank_is_the_identity_on_label_maps(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, masks = full_rank(3, 4), torch.randint(3, (2, *size))
    assert torch.equal(layer(layer.encode(masks, 255), size), one_hot(masks, 3))


@torch.no_grad()
def test_with_ratio_2_one_position_moves_exactly_its_own_2x2_block() -> None:
    torch.manual_seed(0)
    layer, codes = random_layer(6, 5, 2), torch.randn(1, 6, 4, 7)
    before = layer(codes, (8, 14))
    codes[..., 2, 5] += 1
    moved = (layer(codes, (8, 14)) != before).all(1)[0]
    assert moved.nonzero().tolist() == [[4, 10], [4, 11], [5, 10], [5, 11]]
    assert torch.equal(moved, (layer(codes, (8, 14)) != before).any(1)[0])


@torch.no_grad()
def test_scores_beyond_the_image_are_cut_off() -> None:
    """513 pixels are 33 patches of 16, which are 528."""
    torch.manual_seed(0)
    layer, codes = random_layer(4, 2, 16), torch.randn(1, 4, 33, 33)
    whole = layer(codes, (528, 528))
    assert torch.equal(layer(codes, (513, 513)), whole[..., :513, :513])


@torch.no_grad()
def test_codes_of_labels_are_p_times_the_patches() -> None:
    """Ignored pixels, values that are no class, and pixels beyond the edge are of no class."""
    torch.manual_seed(0)
    layer, masks = random_layer(6, 3, 4), torch.randint(3, (2, 7, 10))
    assert layer.projection is not None
    masks[0, 2, 3], masks[1, 0, 0], masks[1, 6, 9] = 255, 2, 7
    wanted = torch.zeros(2, 6, 2, 3)
    for picture, row, column in places(2, 7, 10):
        label = int(masks[picture, row, column])
        if label < 3 and label != 2:  # 2 is ignored here
            place = label * 16 + (row % 4) * 4 + column % 4
            wanted[picture, :, row // 4, column // 4] += layer.projection[:, place]
    torch.testing.assert_close(layer.encode(masks, 2), wanted)


@torch.no_grad()
def test_scores_are_divided_by_the_temperature() -> None:
    torch.manual_seed(0)
    layer, codes = random_layer(4, 3, 2), torch.randn(1, 4, 3, 3)
    plain = layer(codes, (6, 6))
    assert layer.temperature == 1
    layer.log_temperature.fill_(math.log(0.25))
    torch.testing.assert_close(layer(codes, (6, 6)), 4 * plain)
    layer.log_temperature.fill_(-50)
    assert layer.temperature > 0


def perfect_loss(num_classes: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Loss and its derivative by T, where every patch is reproduced exactly."""
    torch.manual_seed(0)
    layer, masks = full_rank(num_classes, 2).double(), torch.randint(num_classes, (1, 6, 8))
    layer.log_temperature.requires_grad_(True).data.fill_(math.log(temperature))
    loss = F.cross_entropy(layer(layer.encode(masks, 255), (6, 8)), masks)
    (slope,) = torch.autograd.grad(loss, layer.log_temperature)
    return loss.detach(), slope / temperature


@pytest.mark.parametrize(("num_classes", "floor"), [(21, 2.123), (19, 2.031)])
def test_perfect_scores_of_0_and_1_cannot_go_below_the_loss_floor_at_temperature_1(
    num_classes: int, floor: float
) -> None:
    loss, _ = perfect_loss(num_classes, 1)
    assert float(loss) == pytest.approx(math.log(1 + (num_classes - 1) / math.e), abs=1e-6)
    assert round(float(loss), 3) == floor


def test_loss_of_perfect_scores_falls_to_0_with_the_temperature() -> None:
    losses, slopes = zip(*(perfect_loss(21, temperature) for temperature in (1, 0.5, 0.2, 0.05)), strict=True)
    assert list(losses) == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6
    assert all(slope > 0 for slope in slopes)


def toy(layer: DUpsample) -> tuple[nn.Module, Tensor, Tensor]:
    """A patch-wise network before the layer, pictures of random boxes, and their labels; W and P from those labels."""
    torch.manual_seed(0)
    masks = torch.zeros(24, 32, 32, dtype=torch.long)
    for mask in masks:
        for _ in range(4):
            (top, left), (height, width) = torch.randint(28, (2,)).tolist(), torch.randint(4, 20, (2,)).tolist()
            mask[top : top + height, left : left + width] = torch.randint(layer.num_classes, ())
    values = one_hot(masks, layer.num_classes)
    patches = F.pixel_unshuffle(values, layer.ratio).transpose(0, 1).flatten(1)  # (length, patches)
    basis = torch.linalg.eigh(patches @ patches.T).eigenvectors[:, -layer.code_channels :]
    layer.set_codes(basis, basis.T)
    network = nn.Sequential(
        nn.Conv2d(layer.num_classes, 64, layer.ratio, stride=layer.ratio),
        nn.ReLU(),
        nn.Conv2d(64, layer.code_channels, 1),
    )
    return network, values + 0.1 * torch.randn(values.shape), masks


def train(layer: DUpsample, steps: int = 60) -> float:
    network, pictures, masks = toy(layer)
    parameters = [*network.parameters(), *(one for one in layer.parameters() if one.requires_grad)]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for _ in range(steps):
        loss = F.cross_entropy(layer(network(pictures), (32, 32)), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_learned_temperature_trains_to_a_lower_loss_than_a_fixed_one() -> None:
    learned, fixed = DUpsample(20, 5, 4), DUpsample(20, 5, 4, temperature=False)
    lower, higher = train(learned), train(fixed)
    assert lower < 0.9 * higher
    assert learned.temperature < 0.9
    assert fixed.temperature == 1


@pytest.mark.parametrize("option", ["frozen", "trains_on_codes"])
def test_frozen_w_gets_no_gradient_and_stays_bit_equal(option: str) -> None:
    frozen, free = DUpsample(20, 5, 4, **{option: True}), DUpsample(20, 5, 4)
    toy(frozen)
    fitted = frozen.weight.detach().clone()
    train(frozen, steps=3)
    train(free, steps=3)
    assert frozen.weight.grad is None
    assert torch.equal(frozen.weight, fitted)
    assert not torch.equal(free.weight, fitted)


@pytest.mark.parametrize(("code_channels", "num_classes", "ratio"), [(64, 21, 16), (12, 3, 2), (5, 7, 3)])
def test_w_begins_orthonormal_and_with_every_class_alike(code_channels: int, num_classes: int, ratio: int) -> None:
    columns = cosine_patches(code_channels, num_classes, ratio)
    torch.testing.assert_close(columns.T @ columns, torch.eye(code_channels))
    layer = DUpsample(code_channels, num_classes, ratio)
    assert torch.equal(layer.weight[:, :, 0, 0], ratio * columns)
    assert not layer.is_fitted
    first = columns[:, : min(code_channels, num_classes)].reshape(num_classes, ratio**2, -1).abs().sum(1)
    torch.testing.assert_close(first, ratio * torch.eye(num_classes)[:, : first.shape[1]])  # one constant per class


@pytest.mark.parametrize(
    ("num_classes", "ratio", "paper", "wanted"),
    [(21, 16, 64, 64), (21, 16, 128, 128), (60, 16, 64, 180), (60, 16, 128, 180), (2, 4, 64, 32), (1, 1, 64, 1)],
)
def test_default_codes_are_the_paper_s_or_three_per_class(
    num_classes: int, ratio: int, paper: int, wanted: int
) -> None:
    assert default_code_channels(num_classes, ratio, paper=paper) == wanted


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DUpsample(0, 3, 4), ConfigError, "code_channels is 0 .*give 1 to 48"),
        (lambda: DUpsample(49, 3, 4), ConfigError, "code_channels is 49 for patches of 4x4 pixels and 3 classes"),
        (lambda: DUpsample(1, 3, 0), ConfigError, "patches of 0x0"),
        (lambda: DUpsample(4, 3, 2).encode(torch.zeros(1, 4, 4), 255), ConfigError, "has no P"),
        (lambda: DUpsample(4, 3, 2).set_codes(torch.eye(4), torch.eye(4)), ShapeError, r"takes W of \(12, 4\)"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_network_of_stored_weights_knows_that_it_was_fitted() -> None:
    layer = DUpsample(4, 3, 2)
    fill(layer)
    other = full_rank(3, 2)
    assert other.is_fitted
    again = DUpsample(12, 3, 2, trains_on_codes=True)
    again.load_state_dict(other.state_dict())
    assert again.is_fitted
