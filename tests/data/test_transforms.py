from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from segwright.data import Augmentation, Labels, MaskReader
from segwright.data.decoded import DecodedFiles
from segwright.data.transforms import (
    EXIF_ORIENTATION,
    Window,
    draw_window,
    jitter_colour,
    nearest_positions,
    read_window,
    resize_pixels,
    shown_size,
    training_sample,
)
from segwright.errors import DataError
from segwright.types import Sample

UInt8Array = NDArray[np.uint8]
Scene = Callable[..., tuple[UInt8Array, UInt8Array]]

READER = MaskReader(Labels(("sky", "road", "car")))
COLOURS = np.array([(70, 130, 180), (250, 60, 60), (40, 240, 60), (0, 0, 0)])
VALUES = np.array([0, 1, 2, 255])
BLACK = (0, 0, 0)

UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What a camera held at each EXIF orientation does to the scene."""


class Fixed:
    """A random generator that always draws its highest or its lowest value."""

    def __init__(self, highest: bool) -> None:
        self.highest = highest

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        value = high if self.highest else low
        return value if size is None else np.full(size, value)


def written(folder: Path, image: UInt8Array, mask: UInt8Array, suffix: str = ".png", orientation: int = 1) -> Path:
    picture = Image.fromarray(image)
    if orientation != 1:
        picture = picture.transpose(UNTURN[orientation])
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture.save(folder / f"image{suffix}", quality=95, subsampling=0, exif=exif)
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / f"image{suffix}"


def sampled(image: Path, augmentation: Augmentation, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    return training_sample(image, image.parent / "mask.png", READER, augmentation, rng)


def agreement(sample: Sample) -> float:
    """Share of the pixels away from edges whose colour is that of their mask value."""
    pixels = sample.image.permute(1, 2, 0).numpy().astype(int)
    nearest = VALUES[np.abs(pixels[:, :, None] - COLOURS).sum(-1).argmin(-1)]
    mask = sample.mask[None, None].float()
    inside = (F.max_pool2d(mask, 5, 1, 2) == -F.max_pool2d(-mask, 5, 1, 2))[0, 0].numpy()
    assert inside.mean() > 0.2
    return float((nearest == sample.mask.numpy())[inside].mean())


def smooth_picture(size: tuple[int, int], seed: int = 0) -> UInt8Array:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed)) * 255
    fine = F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 255).round()
    return fine[0].permute(1, 2, 0).to(torch.uint8).numpy()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("size", "crop_size", "scale"),
    [
        ((48, 64), (32, 40), (0.5, 2.0)),
        ((48, 64), (96, 80), (0.5, 2.0)),
        ((48, 64), (48, 64), (1.0, 1.0)),
        ((301, 203), (64, 64), (0.12, 0.5)),
        ((120, 90), (33, 97), (0.3, 1.7)),
    ],
)
def test_mask_and_picture_stay_together(
    tmp_path: Path, scene: Scene, suffix: str, size: tuple[int, int], crop_size: tuple[int, int], scale: Any
) -> None:
    augmentation = Augmentation(crop_size, scale=scale, fill=BLACK)
    for seed in range(12):
        sample = sampled(written(tmp_path, *scene(seed, size), suffix), augmentation, seed)
        assert sample.image.shape == (3, *crop_size)
        assert sample.mask.shape == crop_size
        assert agreement(sample) >= 0.99


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("size", "scale"), [((48, 64), 1.0), ((203, 302), 0.2), ((208, 304), 0.2)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_turned_picture_stays_together_with_its_mask(
    tmp_path: Path, scene: Scene, orientation: int, size: tuple[int, int], scale: float, suffix: str
) -> None:
    path = written(tmp_path, *scene(1, size), suffix, orientation)
    with Image.open(path) as picture:
        assert shown_size(picture) == size
    for seed in range(4):
        assert agreement(sampled(path, Augmentation((40, 40), (scale, scale), fill=BLACK), seed)) >= 0.99


@pytest.mark.parametrize("size", [(48, 64), (300, 500), (16, 16), (1, 1)])
@pytest.mark.parametrize("scale", [(0.5, 2.0), (1.0, 1.0), (0.25, 0.75)])
def test_windows_keep_to_the_scale_range_and_the_picture(size: tuple[int, int], scale: tuple[float, float]) -> None:
    augmentation, rng = Augmentation((32, 48), scale), np.random.default_rng(0)
    for window in (draw_window(rng, size, augmentation) for _ in range(300)):
        sides = (
            (window.top, window.height, window.out_height, size[0], 32),
            (window.left, window.width, window.out_width, size[1], 48),
        )
        for start, seen, shown, side, crop in sides:
            assert 0 <= start <= start + seen <= side
            assert 1 <= shown <= crop
            # The sides are whole pixels: half a pixel of leeway before and after the scale.
            assert (shown - 0.5) / (seen + 0.5) <= scale[1]
            assert (shown + 0.5) / max(seen - 0.5, 0.1) >= scale[0]
            assert shown == crop or seen == side


def test_scales_reach_both_ends_of_their_range() -> None:
    rng = np.random.default_rng(0)
    windows = [draw_window(rng, (1000, 1000), Augmentation((100, 100))) for _ in range(400)]
    scales = [window.out_height / window.height for window in windows]
    assert min(scales) < 0.52
    assert max(scales) > 1.94


def test_crops_reach_all_corners() -> None:
    rng = np.random.default_rng(0)
    windows = [draw_window(rng, (20, 20), Augmentation((16, 16), (1.0, 1.0))) for _ in range(300)]
    assert {window.top for window in windows} == {window.left for window in windows} == set(range(5))


def test_flips_come_as_often_as_asked(tmp_path: Path, scene: Scene) -> None:
    image, mask = scene()
    path = written(tmp_path, image, mask)
    for flip, share in ((0.0, {0}), (1.0, {60})):
        augmentation = Augmentation((48, 64), (1.0, 1.0), flip=flip)
        flipped = [torch.equal(sampled(path, augmentation, s).mask, torch.from_numpy(mask).flip(1)) for s in range(60)]
        assert sum(flipped) in share
    augmentation = Augmentation((48, 64), (1.0, 1.0))
    flipped = [torch.equal(sampled(path, augmentation, s).mask, torch.from_numpy(mask).flip(1)) for s in range(60)]
    assert 18 <= sum(flipped) <= 42


def test_without_augmentation_the_sample_is_the_file(tmp_path: Path, scene: Scene) -> None:
    image, mask = scene()
    sample = sampled(written(tmp_path, image, mask), Augmentation((48, 64), (1.0, 1.0), flip=0), 0)
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), image)
    np.testing.assert_array_equal(sample.mask, mask)
    assert sample.name == str(tmp_path / "image.png")
    assert sample.image.dtype == sample.mask.dtype == torch.uint8


def test_a_picture_smaller_than_the_crop_is_padded_with_fill_and_ignored(tmp_path: Path) -> None:
    path = written(tmp_path, np.full((10, 20, 3), 200, np.uint8), np.ones((10, 20), np.uint8))
    augmentation = Augmentation((32, 24), (1.0, 1.0), fill=(1, 2, 3))
    places = set()
    for seed in range(40):
        sample = sampled(path, augmentation, seed)
        inside = sample.mask != 255
        assert inside.sum() == 200
        assert (sample.mask[inside] == 1).all()
        assert (sample.image[:, inside] == 200).all()
        assert (sample.image[:, ~inside] == torch.tensor([[1], [2], [3]])).all()
        places.add(tuple(inside.nonzero()[0].tolist()))
    assert len(places) > 20


def test_masks_of_many_classes_are_padded_with_their_own_ignore_index(tmp_path: Path) -> None:
    reader = MaskReader(Labels(tuple(f"plant {index}" for index in range(300)), ignore=(65535,)))
    path = written(tmp_path, np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 299, np.uint16))
    augmentation = Augmentation((6, 6), (1.0, 1.0))
    sample = training_sample(path, tmp_path / "mask.png", reader, augmentation, np.random.default_rng(0))
    assert sample.mask.dtype == torch.int32
    assert sample.mask.unique(return_counts=True)[1].tolist() == [16, 20]
    assert sample.mask.unique().tolist() == [299, 65535]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_of_one_pixel_is_enough(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 2, np.uint8), suffix)
    for seed in range(20):
        sample = sampled(path, Augmentation((5, 7), (0.25, 3.0), contrast=0.5, fill=BLACK), seed)
        assert sample.mask.shape == (5, 7)
        assert (sample.mask == 2).any()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(256, 384), (250, 379)])
@pytest.mark.parametrize("divisor", [2, 4, 8])
def test_a_jpeg_draft_is_close_to_the_full_decode(
    tmp_path: Path, divisor: int, size: tuple[int, int], orientation: int
) -> None:
    image = smooth_picture(size)
    path = written(tmp_path, image, np.zeros(size, np.uint8), ".jpg", orientation)
    with Image.open(path) as picture:
        full = np.asarray(Image.open(path).convert("RGB"))
        full = full if orientation == 1 else np.rot90(full, -1)
        small, window = read_window(picture, Window(37, 51, 16 * divisor, 24 * divisor, 16, 24), DecodedFiles())
    box = full[window.top : window.top + window.height, window.left : window.left + window.width]
    blocks = box[: 16 * divisor, : 24 * divisor].reshape(16, divisor, 24, divisor, 3).mean((1, 3))
    difference = np.abs(small.permute(1, 2, 0).numpy() - blocks)
    assert difference.mean() < 2
    assert difference.max() <= 12


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_shrunk_jpeg_is_decoded_small(tmp_path: Path, orientation: int) -> None:
    path = written(tmp_path, smooth_picture((256, 384)), np.zeros((256, 384), np.uint8), ".jpg", orientation)
    with Image.open(path) as picture:
        read_window(picture, Window(0, 0, 256, 384, 64, 96), DecodedFiles())
        assert sorted(picture.size) == [64, 96]


@pytest.mark.parametrize(
    ("window", "whole", "corner"),
    [
        (Window(8, 16, 32, 32, 24, 24), (36, 48), (6, 12)),
        (Window(5, 7, 16, 20, 32, 40), (96, 128), (10, 14)),
        (Window(4, 8, 40, 48, 20, 24), (24, 32), (2, 4)),
    ],
)
def test_cut_then_resize_is_resize_then_cut_inside(
    tmp_path: Path, window: Window, whole: tuple[int, int], corner: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    path = written(tmp_path, image, np.zeros((48, 64), np.uint8))
    with Image.open(path) as picture:
        cut, shown = read_window(picture, window, DecodedFiles())
    resized = F.interpolate(torch.from_numpy(image).permute(2, 0, 1)[None].float(), whole, mode="bilinear")[0]
    expected = resized[:, corner[0] : corner[0] + window.out_height, corner[1] : corner[1] + window.out_width]
    assert shown == window
    assert (cut.float() - expected)[:, 1:-1, 1:-1].abs().max() <= 2


def test_mask_positions_are_nearest_at_pixel_centres() -> None:
    rows, columns = nearest_positions(Window(10, 20, 4, 3, 8, 3), (48, 64))
    assert rows.tolist() == [10, 10, 11, 11, 12, 12, 13, 13]
    assert columns.tolist() == [20, 21, 22]
    assert nearest_positions(Window(0, 0, 9, 9, 3, 3), (9, 9))[0].tolist() == [1, 4, 7]
    assert nearest_positions(Window(8, 0, 8, 8, 2, 2), (13, 9))[0].tolist() == [10, 12]


def test_a_resize_to_the_same_size_changes_nothing() -> None:
    image = smooth_picture((9, 11))
    np.testing.assert_array_equal(resize_pixels(image, (9, 11)).permute(1, 2, 0), image)


def jittered(pixels: list[tuple[int, int, int]], highest: bool, **limits: float) -> list[list[int]]:
    image = torch.tensor(pixels, dtype=torch.uint8).T[:, None]
    moved = jitter_colour(image, Fixed(highest), Augmentation((1, 1), **limits))  # type: ignore[arg-type]
    assert moved.shape == image.shape
    assert moved.dtype == torch.uint8
    return moved[:, 0].T.tolist()


def test_colour_changes_that_are_off_leave_the_picture() -> None:
    image = torch.from_numpy(smooth_picture((7, 5))).permute(2, 0, 1)
    assert torch.equal(jitter_colour(image, np.random.default_rng(0), Augmentation((1, 1))), image)


def test_brightness_multiplies_and_stops_at_white() -> None:
    assert jittered([(10, 100, 200)], True, brightness=0.5) == [[15, 150, 255]]
    assert jittered([(10, 100, 200)], False, brightness=0.5) == [[5, 50, 100]]


def test_contrast_moves_from_the_mean_grey() -> None:
    assert jittered([(100, 100, 100), (60, 60, 60)], True, contrast=0.5) == [[110] * 3, [50] * 3]
    assert jittered([(100, 100, 100), (60, 60, 60)], False, contrast=0.5) == [[90] * 3, [70] * 3]
    assert jittered([(100, 100, 100), (60, 60, 60)], False, contrast=1.0) == [[80] * 3, [80] * 3]


def test_saturation_moves_from_the_own_grey() -> None:
    # Grey of (100, 0, 0) is 29.9, of (0, 100, 0) is 58.7.
    assert jittered([(100, 0, 0), (0, 100, 0)], False, saturation=1.0) == [[30] * 3, [59] * 3]
    assert jittered([(100, 40, 60)], False, saturation=0.5) == [[80, 50, 60]]  # grey 60.22
    assert jittered([(100, 40, 60)], True, saturation=0.5) == [[120, 30, 60]]


def test_channel_noise_multiplies_each_channel() -> None:
    assert jittered([(10, 100, 200)], True, channel_noise=0.2) == [[12, 120, 240]]
    rng = np.random.default_rng(0)
    moved = jitter_colour(torch.full((3, 1, 1), 100, dtype=torch.uint8), rng, Augmentation((1, 1), channel_noise=0.5))
    assert len(set(moved.flatten().tolist())) == 3


def test_brightness_comes_before_contrast() -> None:
    # 100 and 60 become 150 and 90, with mean 120; then 1.5 times the distance to it.
    moved = jittered([(100, 100, 100), (60, 60, 60)], True, brightness=0.5, contrast=0.5)
    assert moved == [[165] * 3, [75] * 3]


def test_equal_generators_give_equal_samples_and_others_do_not(tmp_path: Path, scene: Scene) -> None:
    path = written(tmp_path, *scene())
    augmentation = Augmentation((32, 32), brightness=0.3, channel_noise=0.1)
    first, again, other = (sampled(path, augmentation, seed) for seed in (5, 5, 6))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.image, other.image)


def test_colour_changes_do_not_move_the_window(tmp_path: Path, scene: Scene) -> None:
    path = written(tmp_path, *scene())
    plain, coloured = (sampled(path, Augmentation((32, 32), brightness=b), 5) for b in (0.0, 0.4))
    assert torch.equal(plain.mask, coloured.mask)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
    Image.new("L", (8, 6)).save(tmp_path / "mask.png")
    sample = sampled(path, Augmentation((6, 8), (1.0, 1.0)), 0)
    assert (sample.image == 255).all()


def test_sizes_that_differ_are_named_in_width_and_height(tmp_path: Path, scene: Scene) -> None:
    path = written(tmp_path, scene()[0], np.zeros((48, 63), np.uint8))
    with pytest.raises(DataError, match=r"mask.png' is 63x48 \(width x height\), its picture '.*image.png' is 64x48"):
        sampled(path, Augmentation((32, 32)), 0)


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated", None])
def test_pictures_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = written(tmp_path, smooth_picture((48, 64)), np.zeros((48, 64), np.uint8), ".jpg")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"picture '.*image.jpg' cannot be read"):
        sampled(path, Augmentation((32, 32)), 0)


def test_rare_class_crops_show_a_pixel_of_the_class_that_weighs_most(tmp_path: Path) -> None:
    pixels, labels = np.zeros((60, 90, 3), np.uint8), np.zeros((60, 90), np.uint8)
    labels[3, 80] = 2  # a single pixel
    picture, mask = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(pixels).save(picture)
    Image.fromarray(labels).save(mask)

    def shown(share: float, weights: tuple[float, ...]) -> float:
        augmentation = Augmentation((20, 20), (1.0, 1.0), rare_class_crops=share, class_weights=weights)
        draws = [training_sample(picture, mask, READER, augmentation, np.random.default_rng(i)) for i in range(40)]
        return float(np.mean([bool((draw.mask == 2).any()) for draw in draws]))

    assert shown(0.0, ()) < 0.3
    assert shown(1.0, (0.0, 1.0, 1.0)) == 1.0  # class 1 is not there, class 0 weighs nothing
    assert 0.3 < shown(0.5, (0.0, 1.0, 1.0)) < 0.9
    assert shown(1.0, (1.0, 1.0, 0.0)) < 0.3


@pytest.mark.parametrize("size", [(30, 40), (120, 160)], ids=str)
def test_pictures_of_every_size_are_seen_at_one_short_side(size: tuple[int, int]) -> None:
    augmentation = Augmentation((60, 60), (1.0, 1.0), short_side=60)
    window = draw_window(np.random.default_rng(0), size, augmentation)
    assert (window.height, window.width) == (size[0], size[0])  # a square of the whole height
    assert (window.out_height, window.out_width) == (60, 60)
