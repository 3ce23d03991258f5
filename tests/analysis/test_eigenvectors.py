import numpy as np
import pytest

from segwright.analysis.eigenvectors import krylov_eigenvectors


def matrix(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """A symmetric matrix of these eigenvalues."""
    random = np.random.default_rng(seed)
    vectors = np.linalg.qr(random.standard_normal((len(values), len(values))))[0]
    return ((vectors * values) @ vectors.T).astype(np.float32)


@pytest.mark.parametrize("wanted", [1, 5, 40])
def test_eigenvalues_and_vectors_equal_the_dense_ones(wanted: int) -> None:
    square = matrix(np.arange(1, 501) ** -2.0)
    values, vectors = krylov_eigenvectors(square.__matmul__, 500, wanted, seed=0)
    np.testing.assert_allclose(values, np.arange(1, wanted + 1) ** -2.0, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(wanted), atol=1e-5)
    assert np.abs(square @ vectors - vectors * values).max() < 2e-6 + 1e-3 * values[-1]


def test_matrix_of_lower_rank_is_filled_up_with_orthonormal_vectors() -> None:
    square = matrix(np.where(np.arange(300) < 3, 1.0, 0.0))
    values, vectors = krylov_eigenvectors(square.__matmul__, 300, 20, seed=0)
    np.testing.assert_allclose(values, [1] * 3 + [0] * 17, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)


def test_zero_matrix_has_zero_eigenvalues() -> None:
    values, vectors = krylov_eigenvectors(np.zeros_like, 60, 10, seed=0)
    np.testing.assert_array_equal(values, np.zeros(10))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-5)


def test_all_eigenvectors_can_be_wanted() -> None:
    square = matrix(np.linspace(1, 2, 30))
    values, _ = krylov_eigenvectors(square.__matmul__, 30, 30, seed=0)
    np.testing.assert_allclose(values, np.linspace(2, 1, 30), rtol=1e-5)


def test_eigenvalues_below_zero_come_last() -> None:
    square = matrix(np.linspace(-1, 1, 200) ** 3)
    values, _ = krylov_eigenvectors(square.__matmul__, 200, 4, seed=0)
    np.testing.assert_allclose(values, np.linspace(-1, 1, 200)[::-1][:4] ** 3, rtol=1e-4)


def test_same_seed_gives_the_same_vectors() -> None:
    square = matrix(np.arange(1, 101) ** -1.0)
    first, again = (krylov_eigenvectors(square.__matmul__, 100, 5, seed=3)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)
