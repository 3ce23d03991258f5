import numpy as np
import pytest
import torch

from segwright.info import Preprocessing
from segwright.runtime import preprocess

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
