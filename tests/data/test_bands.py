"""Statistics of bands, and training samples of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segwright.data import Augmentation, Labels, MaskReader, TrainingSamples
from segwright.data.bands import band_statistics
from segwright.data.dataset import Pair
from segwright.data.decoded import DecodedFiles
from segwright.data.transforms import jitter_colour, resize_pixels, training_sample
from segwright.errors import DataError
from segwright.info import generic_palette

LABELS = Labels(("a", "b"), generic_palette(2), (255,), {})


def arrays(folder: Path, dtype: str, bands: int, sizes: list[tuple[int, int]]) -> tuple[list[Path], NDArray[Any]]:
    """Files of noise far from zero, and all their pixels."""
    rng, paths, pixels = np.random.default_rng(3), [], []
    for index, size in enumerate(sizes):
        low, high = (100, 256) if dtype == "uint8" else (30000, 30100)
        picture = rng.integers(low, high, (*size, bands)).astype(dtype)
        paths.append(folder / f"{index}.npy")
        np.save(paths[-1], picture)
        pixels.append(picture.reshape(-1, bands))
    return paths, np.concatenate(pixels).astype(np.float64)


@pytest.mark.parametrize(("dtype", "unit"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_statistics_are_those_of_all_pixels_together(tmp_path: Path, dtype: str, unit: int) -> None:
    paths, pixels = arrays(tmp_path, dtype, 5, [(7, 9), (30, 20), (1, 1)])
    heard: list[tuple[int, int]] = []
    found = band_statistics(paths, 5, progress=lambda done, total: heard.append((done, total)))
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0) / unit, rtol=1e-9)
    np.testing.assert_allclose(found.std, pixels.std(axis=0) / unit, rtol=1e-4)
    assert (found.pixels, found.images, found.kind.dtype) == (len(pixels), 3, dtype)
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_pictures_of_other_values_are_named(tmp_path: Path) -> None:
    paths, _ = arrays(tmp_path, "uint8", 2, [(4, 4)] * 3)
    np.save(paths[2], np.load(paths[2]).astype(np.uint16))
    with pytest.raises(DataError, match=r"2\.npy' holds uint16, and '.*0\.npy' holds uint8"):
        band_statistics(paths, 2)
    with pytest.raises(DataError, match="no picture"):
        band_statistics([], 2)


def test_rgb_is_counted_as_it_is_read(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 51).save(tmp_path / "a.png")
    assert band_statistics([tmp_path / "a.png"], None).mean == pytest.approx((0.2, 0.2, 0.2))


def pair(folder: Path, dtype: str, bands: int, size: tuple[int, int] = (40, 60)) -> Pair:
    rng = np.random.default_rng(1)
    np.save(folder / "a.npy", rng.uniform(1, 200, (*size, bands)).astype(dtype))
    Image.fromarray(rng.integers(0, 2, size, np.uint8)).save(folder / "a.png")
    return Pair(folder / "a.npy", folder / "a.png")


def settings(bands: int, dtype: str, **changes: Any) -> Augmentation:
    highest = {"uint8": 255.0, "uint16": 65535.0, "float32": None}[dtype]
    fill = tuple(float(index) for index in range(bands))
    return Augmentation(**{"crop_size": (40, 60), "scale": (1.0, 1.0), "flip": 0.0, "fill": fill, "bands": bands,
                           "highest": highest, **changes})  # fmt: skip


@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 1), ("uint8", 2), ("uint8", 5), ("uint16", 4), ("float32", 3)])
def test_a_sample_holds_the_stored_values(tmp_path: Path, dtype: str, bands: int) -> None:
    files = pair(tmp_path, dtype, bands)
    rng = np.random.default_rng(0)
    sample = training_sample(files.image, files.mask, MaskReader(LABELS), settings(bands, dtype), rng)
    assert sample.image.dtype == (torch.uint8 if dtype == "uint8" else torch.float32)
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), np.load(files.image))


@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 1), ("uint8", 5), ("uint16", 4), ("float32", 7)])
def test_cropped_scaled_flipped_samples_keep_picture_and_mask_together(tmp_path: Path, dtype: str, bands: int) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    picture = (mask[..., None] * 100 + np.arange(bands)).astype(dtype)
    np.save(tmp_path / "a.npy", picture)
    Image.fromarray(mask).save(tmp_path / "a.png")
    augmentation = settings(bands, dtype, crop_size=(50, 70), scale=(0.5, 2.0), flip=0.5)
    for seed in range(20):
        sample = training_sample(
            tmp_path / "a.npy", tmp_path / "a.png", MaskReader(LABELS), augmentation, np.random.default_rng(seed)
        )
        assert sample.image.shape == (bands, 50, 70)
        shown = sample.mask != 255
        agrees = (sample.image[bands - 1] > 50 + bands - 1) == (sample.mask == 1)
        assert agrees[shown].float().mean() > 0.97
        for band in range(bands):
            assert (sample.image[band][~shown] == band).all()


def test_the_stream_is_the_same_with_files_in_memory_and_with_mixing(tmp_path: Path) -> None:
    files = [pair(tmp_path, "uint16", 4)]
    augmentation = settings(
        4, "uint16", crop_size=(24, 24), scale=(0.5, 2.0), rare_class_crops=0.5, class_weights=(1.0, 1.0), contrast=0.3
    )
    streams = [TrainingSamples(files, LABELS, augmentation, 0, memory_mb=mb, classmix=0.5) for mb in (0, 100)]
    for position in range(8):
        one, other = (stream[position] for stream in streams)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.mask, other.mask)


@pytest.mark.parametrize(("dtype", "highest"), [("uint8", 255), ("uint16", 65535), ("float32", None)])
def test_brightness_is_relative_and_stays_storable(dtype: str, highest: int | None) -> None:
    top = 255.0 if dtype == "uint8" else 65535.0
    image = torch.full((4, 3, 3), top * 0.9).to(torch.uint8 if dtype == "uint8" else torch.float32)
    before = image.clone()
    changed = [
        jitter_colour(image, np.random.default_rng(seed), settings(4, dtype, brightness=0.5, saturation=1.0))
        for seed in range(20)
    ]
    assert torch.equal(image, before)
    assert all(part.dtype == image.dtype for part in changed)
    values = torch.stack(changed).float()
    assert values.std(dim=(1, 2, 3)).max() == 0  # no band is changed on its own, and none by saturation
    assert values.min() < 0.6 * top
    assert (values.max() > top) == (highest is None)
    assert highest is None or values.max() == highest


def test_contrast_moves_bands_away_from_their_common_mean() -> None:
    image = torch.stack([torch.full((4, 4), 100.0), torch.full((4, 4), 300.0)])
    augmentation = settings(2, "float32", contrast=0.5)
    changed = jitter_colour(image, np.random.default_rng(0), augmentation)
    assert float(changed.mean()) == pytest.approx(200)
    assert float(changed[1, 0, 0] - changed[0, 0, 0]) != pytest.approx(200)


def test_decoded_bands_keep_their_bytes(tmp_path: Path) -> None:
    files, decoded = pair(tmp_path, "uint16", 4), DecodedFiles(1)
    for _ in range(2):
        training_sample(
            files.image, files.mask, MaskReader(LABELS), settings(4, "uint16"), np.random.default_rng(0), decoded
        )
    assert decoded.get(files.image, lambda: pytest.fail("it is kept")).dtype == np.uint16


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 9])
def test_uint8_bands_are_resized_as_floats_are(bands: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, bands), np.uint8)
    for size in ((20, 30), (41, 33), (9, 50)):
        small = resize_pixels(pixels, size)
        exact = resize_pixels(pixels.astype(np.float32), size)
        assert small.dtype == torch.uint8
        assert (small.float() - exact).abs().max() < 1.01
