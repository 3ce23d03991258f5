import numpy as np
import pytest
import torch

from segwright.errors import ShapeError
from segwright.info import Preprocessing
from segwright.runtime import preprocess, raw_images

CAFFE = Preprocessing(mean=(103.939 / 255, 116.779 / 255, 123.68 / 255), std=(1 / 255,) * 3, channel_order="BGR")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (33, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), CAFFE])
def test_equals_the_formula_in_torch_to_the_bit(image: np.ndarray, preprocessing: Preprocessing) -> None:
    ordered = image[..., ::-1] if preprocessing.channel_order == "BGR" else image
    images = torch.from_numpy(ordered.copy()).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    assert np.array_equal(preprocess(image, preprocessing), ((images / 255 - mean) / std).numpy())


def test_all_256_values_in_all_channels_are_exact() -> None:
    ramp = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=-1)[None]
    steps = Preprocessing()
    expected = (np.arange(256)[:, None] / 255 - np.array(steps.mean)) / np.array(steps.std)
    assert np.abs(preprocess(ramp, steps)[:, 0].T - expected).max() < 1e-6


def test_gives_contiguous_float32_channels_first(image: np.ndarray) -> None:
    result = preprocess(image[::-1, ::-1], Preprocessing())
    assert result.shape == (3, 33, 20)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert np.array_equal(result, preprocess(image, Preprocessing())[:, ::-1, ::-1])


def test_picture_of_several_strips_equals_its_rows() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 700, 3), dtype=np.uint8)
    rows = [preprocess(image[row : row + 1], Preprocessing()) for row in range(300)]
    assert np.array_equal(preprocess(image, Preprocessing()), np.concatenate(rows, axis=1))


def test_given_memory_is_filled_and_handed_back(image: np.ndarray) -> None:
    out = np.full((3, 33, 20), np.nan, np.float32)
    assert preprocess(image, CAFFE, out) is out
    assert np.array_equal(out, preprocess(image, CAFFE))


@pytest.mark.parametrize(
    "out",
    [np.empty((3, 20, 33), np.float32), np.empty((3, 33, 20)), np.empty((33, 20, 3), np.float32).transpose(2, 0, 1)],
)
def test_memory_of_another_shape_type_or_layout_is_refused(image: np.ndarray, out: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"contiguous float32 array of shape \(3, 33, 20\)"):
        preprocess(image, Preprocessing(), out)


def test_raw_images_are_the_picture_itself(image: np.ndarray) -> None:
    assert raw_images(image).shape == (1, 33, 20, 3)
    assert np.shares_memory(raw_images(image), image)
    assert np.array_equal(raw_images(image[:, ::-1])[0], image[:, ::-1])
    assert raw_images(image[:, ::-1]).flags.c_contiguous
