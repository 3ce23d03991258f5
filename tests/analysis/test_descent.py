import numpy as np
import pytest
import torch

from segwright.analysis.descent import descend
from segwright.analysis.fitting import fit_patches
from tests.analysis.maps import VOID, draw_maps, one_hot_patches, patches_of


def test_gradient_descent_approaches_the_exact_error_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segwright.analysis.descent.STEPS", 600)
    masks = draw_maps(24, 3, (32, 48), seed=0)
    patches = patches_of(masks, 3, 4)
    steps: list[tuple[int, int]] = []
    projection, reconstruction, energy = descend(patches, 6, seed=0, progress=lambda *step: steps.append(step))
    vectors = torch.from_numpy(one_hot_patches(masks, 3, 4)).float()
    error = (vectors - vectors @ projection.T @ reconstruction.T).square().sum(1).mean()
    least = 16 * (1 - fit_patches(patches, "abc", 6).energy)
    assert least < error < 1.05 * least
    assert energy == pytest.approx(1 - float(error) / 16, abs=1e-5)
    assert steps[-1] == (600, 600)


def test_constant_and_mixed_patches_come_in_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one column of W leans to what is drawn most, and is the exact one if each patch is as likely as any other."""
    monkeypatch.setattr("segwright.analysis.descent.STEPS", 300)
    patches = patches_of(draw_maps(24, 3, (32, 48), seed=0), 3, 4)
    _, reconstruction, _ = descend(patches, 1, seed=0)
    exact = fit_patches(patches, "abc", 1).reconstruction
    assert torch.cosine_similarity(reconstruction, exact, dim=0).abs().item() > 0.999


def test_void_entries_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever class fills the void of a map of one class, that class everywhere has no error."""
    monkeypatch.setattr("segwright.analysis.descent.STEPS", 300)
    mask = np.full((32, 32), 1, np.uint8)
    mask[2::4] = VOID
    projection, reconstruction, energy = descend(patches_of([mask], 2, 4), 1, seed=0)
    assert energy == pytest.approx(1, abs=1e-4)
    seen = (mask[:4, :4] != VOID).ravel()
    again = reconstruction @ projection[:, 16:][:, torch.from_numpy(seen)].sum(1)
    torch.testing.assert_close(again[16:][torch.from_numpy(seen)], torch.ones(12), atol=0.02, rtol=0)


def test_masks_without_a_mixed_patch_can_be_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segwright.analysis.descent.STEPS", 300)
    masks = [np.full((8, 8), index, np.uint8) for index in range(2)]
    assert descend(patches_of(masks, 2, 4), 2, seed=0)[2] > 0.99
