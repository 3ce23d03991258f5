"""The leading eigenvectors of a large symmetric matrix that is known by its products only."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Product = Callable[[Float32Array], Float32Array]

_SMALL = 1024  # rows up to which all eigenvectors at once take no longer than a few
_MOST_OF_BASIS = 8  # times the eigenvectors wanted; label patches need 3
_TOLERANCE = 1e-3  # of the residual, relative to the last eigenvalue wanted: its energy is right to the square of that
_ROUNDING = 2e-6  # of the residual, relative to the first: float32 gives no less than 4e-7


def is_dense(length: int, wanted: int) -> bool:
    """Whether :func:`dense_eigenvectors` is the way: few rows, or a large part of the eigenvectors is wanted."""
    return length <= _SMALL or _MOST_OF_BASIS * wanted >= length


def basis_bytes(length: int, wanted: int) -> int:
    """What :func:`krylov_eigenvectors` holds at most: the basis and its images."""
    return 2 * 4 * length * _most(length, wanted)


def _most(length: int, wanted: int) -> int:
    return min(length, _MOST_OF_BASIS * wanted + 256)


def dense_eigenvectors(matrix: Floats, wanted: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ``wanted`` largest eigenvalues of a symmetric matrix, falling, and their vectors as columns."""
    length = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix.astype(np.float64), subset_by_index=(length - wanted, length - 1))
    return values[::-1], vectors[:, ::-1]


def krylov_eigenvectors(
    product: Product, length: int, wanted: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The ``wanted`` largest eigenvalues, falling, and their vectors as columns, by block Krylov iteration.

    From a random start each block of the basis is the matrix times the last one, orthogonal to all before. The
    eigenvectors within the basis' span are taken as soon as their residuals are small, or the basis is as large as it
    may be.

    Args:
        product: the matrix times (length, n) float32.
        length: rows of the matrix.
        wanted: number of eigenvectors.
        seed: of the start.
    """
    random = np.random.default_rng(seed)
    width = min(length, max(8, -(-wanted // 4)))
    most = _most(length, wanted)
    basis, images = (np.empty((length, most), np.float32, order="F") for _ in range(2))
    projected = np.zeros((most, most))
    block, filled, check_at = random.standard_normal((length, width), np.float32), 0, min(2 * wanted, most)
    while True:
        block = _orthonormal(block[:, : most - filled], basis[:, :filled], random)
        start, filled = filled, filled + block.shape[1]
        basis[:, start:filled] = block
        images[:, start:filled] = product(block)
        projected[:filled, start:filled] = basis[:, :filled].T @ images[:, start:filled]
        projected[start:filled, :start] = projected[:start, start:filled].T
        if filled >= check_at:
            values, inner = dense_eigenvectors(projected[:filled, :filled], wanted)
            rotation = inner.astype(np.float32)
            vectors = basis[:, :filled] @ rotation
            residual = np.linalg.norm(images[:, :filled] @ rotation - vectors * values.astype(np.float32), axis=0).max()
            if filled == most or residual <= max(_TOLERANCE * values[-1], _ROUNDING * values[0]):
                return values, vectors
            check_at = min(filled + wanted // 2, most)
        block = images[:, start:filled]


def _orthonormal(block: Floats, basis: Floats, random: np.random.Generator) -> Floats:
    """The block's span as orthonormal columns, orthogonal to the basis.

    Columns that add nothing, as where the matrix is of a lower rank, are replaced by random ones.
    """
    size = np.linalg.norm(block, axis=0)
    for _ in range(5):  # twice is enough, unless columns depend on each other
        block = block - basis @ (basis.T @ block)
        rest = np.linalg.norm(block, axis=0)
        lost = rest <= 1e-5 * size
        block[:, lost] = random.standard_normal((len(block), int(lost.sum())), np.float32)
        block = np.linalg.qr(block)[0]
        size = np.ones_like(size)
        if not lost.any() and (not basis.size or np.abs(basis.T @ block).max() < 1e-6):
            break
    return block
