from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segwright.analysis import fitting
from segwright.analysis.fitting import fit_label_codes, fit_patches
from segwright.analysis.label_codes import LabelCodes
from segwright.errors import ConfigError, DataError
from tests.analysis.maps import VOID, Masks, draw_maps, one_hot_patches, patches_of, write_data

CLASSES = ("sky", "road", "car", "pole", "tree")


def fit(masks: Masks, code_channels: int, num_classes: int = 3, ratio: int = 4, **options: Any) -> LabelCodes:
    return fit_patches(patches_of(masks, num_classes, ratio), CLASSES[:num_classes], code_channels, **options)


def error_of(vectors: np.ndarray, projection: np.ndarray, reconstruction: np.ndarray) -> float:
    """Mean of |v - W P v|^2."""
    return float(np.square(vectors - vectors @ projection.T @ reconstruction.T).sum(1).mean())


def error(codes: LabelCodes, vectors: np.ndarray) -> float:
    return error_of(vectors, codes.projection.double().numpy(), codes.reconstruction.double().numpy())


@pytest.fixture(scope="module")
def masks() -> Masks:
    return draw_maps(24, 3, (32, 48), seed=0)


@pytest.fixture(scope="module")
def vectors(masks: Masks) -> np.ndarray:
    return one_hot_patches(masks, 3, 4)


@pytest.fixture(scope="module")
def eigenvalues(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(vectors.T @ vectors / len(vectors))[::-1]


def test_p_is_codes_by_values_and_w_is_its_transpose(masks: Masks) -> None:
    codes = fit(masks, 10)
    assert codes.projection.shape == (10, 3 * 4**2)
    assert torch.equal(codes.reconstruction, codes.projection.T)
    assert (codes.projection.dtype, codes.method, codes.num_classes) == (torch.float32, "exact", 3)


def test_columns_of_w_are_orthonormal(masks: Masks) -> None:
    w = fit(masks, 20).reconstruction
    torch.testing.assert_close(w.T @ w, torch.eye(20), atol=1e-6, rtol=0)


@pytest.mark.parametrize("code_channels", [1, 6, 12, 24])
def test_reconstruction_error_is_the_sum_of_the_discarded_eigenvalues(
    masks: Masks, vectors: np.ndarray, eigenvalues: np.ndarray, code_channels: int
) -> None:
    codes = fit(masks, code_channels)
    assert error(codes, vectors) == pytest.approx(eigenvalues[code_channels:].sum(), rel=1e-4)
    assert codes.energy == pytest.approx(eigenvalues[:code_channels].sum() / eigenvalues.sum(), rel=1e-6)


def test_no_orthonormal_basis_of_the_same_rank_is_better(masks: Masks, vectors: np.ndarray) -> None:
    codes = fit(masks, 8)
    best, random = error(codes, vectors), np.random.default_rng(0)
    w = codes.reconstruction.double().numpy()
    for _ in range(20):
        other = np.linalg.qr(random.standard_normal(w.shape))[0]
        assert error_of(vectors, other.T, other) > 1.5 * best
        turned = np.linalg.qr(w + 0.02 * random.standard_normal(w.shape))[0]
        assert error_of(vectors, turned.T, turned) > best


def test_turning_the_codes_within_their_space_changes_no_error(masks: Masks, vectors: np.ndarray) -> None:
    codes = fit(masks, 8)
    w = codes.reconstruction.double().numpy() @ np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    assert error_of(vectors, w.T, w) == pytest.approx(error(codes, vectors), rel=1e-5)


def test_error_falls_with_every_code_and_is_zero_at_the_rank(masks: Masks, vectors: np.ndarray) -> None:
    rank = int(np.linalg.matrix_rank(vectors))
    errors = [error(fit(masks, length), vectors) for length in range(1, rank + 1, 3)]
    assert (np.diff(errors) < 0).all()
    assert error(fit(masks, rank), vectors) < 1e-8 < errors[-2]


def test_labels_are_not_independent_few_codes_keep_most_of_their_energy(masks: Masks) -> None:
    shuffled = [np.random.default_rng(0).permuted(mask.ravel()).reshape(mask.shape) for mask in masks]
    assert fit(masks, 12).energy > 0.97  # a quarter of the values
    assert fit(shuffled, 12).energy < 0.9


def test_full_rank_reproduces_maps_that_are_not_square() -> None:
    masks = draw_maps(60, 3, (16, 24), seed=0)
    codes = fit(masks, 3 * 4**2)
    batch = torch.from_numpy(np.stack(draw_maps(3, 3, (16, 28), seed=1))).long()
    scores = codes.decode(codes.encode(batch, VOID), (16, 28))
    torch.testing.assert_close(scores, F.one_hot(batch, 3).permute(0, 3, 1, 2).float(), atol=1e-5, rtol=0)


def scored(prediction: Tensor, masks: Tensor, num_classes: int) -> float:
    """Mean IoU in percent."""
    table = torch.bincount((masks * num_classes + prediction).ravel(), minlength=num_classes**2).view(num_classes, -1)
    union = table.sum(0) + table.sum(1) - table.diagonal()
    return 100 * float((table.diagonal() / union)[union > 0].mean())


@pytest.mark.parametrize(
    ("num_classes", "ratio", "side", "bilinear"), [(3, 8, 64, 86), (5, 8, 128, 94), (5, 16, 128, 83)]
)
def test_better_than_bilinear_by_a_point_at_four_codes_a_class_and_worse_at_one(
    num_classes: int, ratio: int, side: int, bilinear: float
) -> None:
    maps = draw_maps(80, num_classes, (side, side), seed=0)
    longest = fit(maps[:60], 4 * num_classes, num_classes, ratio)
    held_out = torch.from_numpy(np.stack(maps[60:])).long()
    shares = F.avg_pool2d(F.one_hot(held_out, num_classes).permute(0, 3, 1, 2).float(), ratio)
    smooth = scored(F.interpolate(shares, scale_factor=ratio, mode="bilinear").argmax(1), held_out, num_classes)
    assert smooth == pytest.approx(bilinear, abs=1)
    few, many = (
        scored(codes.decode(codes.encode(held_out, VOID), (side, side)).argmax(1), held_out, num_classes)
        for codes in (longest.shortened(num_classes), longest)
    )
    assert few < smooth - 1 < smooth + 1 < many


def test_finer_grids_reproduce_maps_better_by_bilinear_upsampling() -> None:
    held_out = torch.from_numpy(np.stack(draw_maps(20, 5, (128, 128), seed=0))).long()
    labels = F.one_hot(held_out, 5).permute(0, 3, 1, 2).float()
    scores = [
        scored(F.interpolate(F.avg_pool2d(labels, ratio), scale_factor=ratio, mode="bilinear").argmax(1), held_out, 5)
        for ratio in (4, 8, 16, 32)
    ]
    assert (np.diff(scores) < -1).all()


def test_one_coarse_code_of_ratio_two_scores_its_own_block_and_nothing_else() -> None:
    codes = fit(draw_maps(20, 3, (16, 16), seed=0), 5, ratio=2)
    coarse = torch.zeros(1, 5, 3, 4)
    coarse[0, :, 1, 2] = 1
    touched = codes.decode(coarse, (6, 8)).abs().sum((0, 1)) > 0
    assert touched.nonzero().tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


def test_compressed_label_lies_on_the_coarse_grid(masks: Masks) -> None:
    batch = torch.from_numpy(np.stack(masks[:2])).long()
    assert fit(masks, 7).encode(batch, VOID).shape == (2, 7, 8, 12)


def test_randomized_products_give_the_energy_and_error_of_exact(masks: Masks, vectors: np.ndarray) -> None:
    exact, randomized = (fit(masks, 8, method=method) for method in ("exact", "randomized"))
    assert randomized.energy == pytest.approx(exact.energy, abs=1e-5)
    assert error(randomized, vectors) == pytest.approx(error(exact, vectors), rel=1e-3)


def test_randomized_knows_void_as_exact_does() -> None:
    masks = draw_maps(60, 3, (60, 90), seed=0, void=True)
    exact, randomized = (fit(masks, 12, ratio=8, method=method) for method in ("exact", "randomized"))
    assert randomized.energy == pytest.approx(exact.energy, abs=1e-3)
    within = torch.linalg.svdvals(exact.projection @ randomized.reconstruction)
    assert within.square().mean() > 0.999


def test_large_matrices_are_decomposed_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = draw_maps(40, 5, (64, 64), seed=0)
    dense = fit(masks, 16, 5, 8, method="exact")
    monkeypatch.setattr(fitting, "is_dense", lambda length, wanted: False)
    iterated = fit(masks, 16, 5, 8, method="exact")
    assert iterated.energy == pytest.approx(dense.energy, abs=1e-6)
    torch.testing.assert_close(iterated.projection, dense.projection, atol=1e-3, rtol=0)


def test_auto_is_exact_where_the_matrix_fits_and_randomized_where_not() -> None:
    patches = patches_of(draw_maps(20, 5, (64, 64), seed=0), 5, 8)
    roomy, tight = (fit_patches(patches, CLASSES, 20, memory_mb=megabytes) for megabytes in (4096, 2))
    assert (roomy.method, tight.method) == ("exact", "randomized")
    assert tight.energy == pytest.approx(roomy.energy, abs=1e-3)


def test_exact_fit_beyond_the_memory_is_refused_with_what_it_takes() -> None:
    patches = patches_of(draw_maps(20, 5, (64, 64), seed=0), 5, 8)
    with pytest.raises(ConfigError, match=r"takes \d+ MB, and memory_mb is 2; give memory_mb=(\d+)") as refused:
        fit_patches(patches, CLASSES, 20, method="exact", memory_mb=2)
    enough = int(refused.value.fix.split("=")[1].split(",")[0])
    fit_patches(patches, CLASSES, 20, method="exact", memory_mb=enough)


@pytest.mark.parametrize("method", ["exact", "randomized", "sgd"])
def test_same_seed_gives_the_same_codes(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segwright.analysis.descent.STEPS", 20)
    masks = draw_maps(6, 3, (16, 24), seed=0, void=True)
    first, again = (fit(masks, 5, method=method, seed=3) for _ in range(2))
    assert torch.equal(first.projection, again.projection)
    assert torch.equal(first.reconstruction, again.reconstruction)


def test_exact_codes_do_not_depend_on_the_seed(masks: Masks) -> None:
    assert torch.equal(fit(masks, 5, seed=0).projection, fit(masks, 5, seed=1).projection)


def test_largest_value_of_each_code_is_positive(masks: Masks) -> None:
    projection = fit(masks, 12).projection
    assert (projection.gather(1, projection.abs().argmax(1, keepdim=True)) > 0).all()


def test_void_is_of_no_class() -> None:
    """Maps of class 1 and void alone: no code knows class 0, which void would be if it were counted as the first."""
    masks = [np.where(mask == 2, VOID, 1).astype(np.uint8) for mask in draw_maps(20, 3, (32, 32), seed=0)]
    codes = fit(masks, 1, num_classes=2)
    assert codes.projection[:, :16].abs().max() == 0
    torch.testing.assert_close(codes.projection[:, 16:], torch.full((1, 16), 0.25), atol=1e-6, rtol=0)
    assert codes.energy == pytest.approx(1)


def test_patches_of_void_only_change_nothing(masks: Masks) -> None:
    empty = [np.full((32, 48), VOID, np.uint8)] * 30
    codes = fit([*masks, *empty], 6)
    assert torch.equal(codes.projection, fit(masks, 6).projection)
    assert codes.patches == fit(masks, 6).patches


def test_data_set_is_fitted_as_its_masks_are_and_progress_reaches_the_total(tmp_path: Path, masks: Masks) -> None:
    steps: list[tuple[int, int]] = []
    folder = write_data(tmp_path, masks, CLASSES[:3])
    codes = fit_label_codes(folder, ratio=4, code_channels=6, progress=lambda *step: steps.append(step))
    assert torch.equal(codes.projection, fit(masks, 6).projection)
    assert codes.classes == CLASSES[:3]
    assert steps[-1] == (24, 24)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"code_channels": 0}, r"code_channels is 0 for patches of 4x4 pixels and 3 classes; give 1 to 48"),
        ({"code_channels": 49}, "code_channels is 49"),
        ({"ratio": 0}, "ratio is 0; give 1 or above"),
        ({"method": "randomised"}, r"unknown method 'randomised'; did you mean 'randomized'\?"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_a_mask_is_read(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    folder = write_data(tmp_path, [np.full((8, 8), 77, np.uint8)], CLASSES[:3])
    with pytest.raises(ConfigError, match=said):
        fit_label_codes(folder, **{"ratio": 4, "code_channels": 6, **options})


def test_fewer_patches_than_codes_are_refused() -> None:
    with pytest.raises(DataError, match=r"there are 8 labelled patches of 4x4 pixels, and 9 .* at most 8 code"):
        fit(draw_maps(1, 3, (8, 16), seed=0), 9)


def test_other_number_of_class_names_is_refused(masks: Masks) -> None:
    with pytest.raises(ConfigError, match="5 class names are given for patches of 3 classes"):
        fit_patches(patches_of(masks, 3, 4), CLASSES, 6)
