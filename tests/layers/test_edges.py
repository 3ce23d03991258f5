"""Image gradients; Canny's edges beside those that OpenCV found in the same pictures."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segwright.layers.edges import IMAGENET_MEAN, IMAGENET_STD, Canny, NoGradient, Sobel, connected
from tests.support.reference import golden

GRADIENTS = [Canny(), Sobel(), NoGradient()]


def normalised(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pictures / 255 - mean) / std


def scene(height: int = 40, width: int = 56) -> Tensor:
    """(2, 3, H, W) of 0..255: large areas of colour with a little noise."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (2, 3, 5, 7)).repeat(8, 2).repeat(8, 3)
    return torch.from_numpy((coarse + rng.integers(-9, 10, coarse.shape)).clip(0, 255)[..., :height, :width]).float()


def test_canny_equals_opencv() -> None:
    reference = golden("gscnn__gscnn_wrn38")
    canny = Canny(10, 100, edge_value=255.0, wraps=True)
    tags = [tag for tag, _ in reference.runs()]
    assert len(tags) == 2
    for tag, images in reference.runs():
        wanted = torch.from_numpy(reference.arrays[f"{tag}__canny"])
        assert 0.2 < wanted.mean() / 255 < 0.4
        assert torch.equal(canny(images), wanted)


def test_canny_reads_the_picture_behind_the_normalisation() -> None:
    pictures = scene()
    from_pixels = Canny(wraps=True)(pictures)  # bytes, read as they are
    assert torch.equal(Canny()(normalised(pictures)), from_pixels)
    assert not torch.equal(Canny(wraps=True)(normalised(pictures)), from_pixels)


def test_canny_finds_the_borders_of_areas_and_no_noise() -> None:
    pictures = torch.full((1, 3, 32, 48), 40.0)
    pictures[..., 20:] = 200
    edges = Canny()(normalised(pictures + torch.randint(-1, 2, pictures.shape)))
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert (edges.sum(dim=-1) == 1).all()
    assert edges[..., 19:21].sum() == 32


def test_weak_ridges_count_only_where_they_hang_together_with_a_strong_one() -> None:
    candidates = torch.zeros(2, 9, 30, dtype=torch.bool)
    candidates[0, 2, :] = True
    candidates[0, torch.arange(3, 8), torch.arange(5)] = True  # reached over a corner
    candidates[0, 5, 20:] = True  # reached by nothing
    candidates[1, 2, :] = True  # of another picture
    seeds = torch.zeros_like(candidates)
    seeds[0, 2, 29] = True
    expected = torch.zeros_like(candidates)
    expected[0, 2, :] = True
    assert torch.equal(connected(seeds, candidates), expected | connected_slowly(seeds, candidates))
    assert connected(seeds, candidates)[1].sum() == 0
    assert connected(seeds, candidates)[0, 5, 20:].sum() == 0


def connected_slowly(seeds: Tensor, candidates: Tensor) -> Tensor:
    edges = seeds.clone()
    for _ in range(seeds.numel()):
        for batch, y, x in candidates.nonzero().tolist():
            near = edges[batch, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            edges[batch, y, x] |= bool(near.any())
        if torch.equal(edges, seeds):
            break
        seeds = edges.clone()
    return edges


def test_sobel_is_1_at_the_strongest_edge_and_0_on_a_plain() -> None:
    pictures = torch.zeros(1, 3, 16, 16)
    assert Sobel()(normalised(pictures)).max() < 1e-4
    pictures[:, 1, :, 8:] = 255
    found = Sobel()(normalised(pictures))
    assert found.shape == (1, 1, 16, 16)
    assert torch.allclose(found[..., 7:9], torch.tensor(0.5**0.5), atol=1e-5)  # 1 would be a corner of both axes
    assert found[..., :7].max() < 1e-4


def test_sobel_has_a_gradient_of_its_own_and_canny_none() -> None:
    images = normalised(scene()).requires_grad_()
    Sobel()(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.any()
    assert not Canny()(images).requires_grad


def test_sobel_of_one_colour_has_a_finite_gradient() -> None:
    images = torch.zeros(1, 3, 8, 8, requires_grad=True)
    Sobel()(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda gradient: type(gradient).__name__)
class TestEveryGradient:
    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (33, 47)])
    def test_map_has_one_channel_in_0_to_1_at_any_size(self, gradient: nn.Module, size: tuple[int, int]) -> None:
        found = gradient(torch.randn(2, 3, *size))
        assert found.shape == (2, 1, *size)
        assert ((found >= 0) & (found <= 1)).all()

    def test_batch_neighbours_do_not_matter(self, gradient: nn.Module) -> None:
        images = normalised(scene())
        assert torch.equal(gradient(images)[1:], gradient(images[1:]))

    def test_has_no_state(self, gradient: nn.Module) -> None:
        assert not gradient.state_dict()
        assert not list(gradient.parameters())

    def test_autocast_changes_nothing(self, gradient: nn.Module) -> None:
        images = normalised(scene())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(gradient(images), gradient(images))
            inside = gradient(images)
        assert torch.equal(inside, gradient(images))

    def test_type_of_the_images_is_kept(self, gradient: nn.Module) -> None:
        assert gradient(normalised(scene()).double()).dtype == torch.float64

    def test_exported_program_equals_eager(self, gradient: nn.Module) -> None:
        images = normalised(scene())
        program = torch.export.export(gradient, (torch.randn_like(images),)).module()
        assert torch.equal(program(images), gradient(images))

    def test_shape_is_known_without_values(self, gradient: nn.Module) -> None:
        assert type(gradient)().to("meta")(torch.empty(1, 3, 8, 9, device="meta")).shape == (1, 1, 8, 9)
