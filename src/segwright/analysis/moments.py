"""E[v v^T] over a data set's patches: as a matrix, or as products with it where the matrix would be too large.

v is the one-hot vector of a patch; it has C * ratio ** 2 = N values, in the order class, row, column. The moment of two
values is taken over the patches in which both of their pixels have a class (pairwise complete). Without void that is
E[v v^T]; with void it is the consistent estimate, and void is no class of any kind. Method sgd, which leaves void
entries out of the squared error, minimises something slightly else; where void is missing at random, both tend to the
same.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from segwright.analysis.patches import IntArray, LabelPatches

Float32Array = NDArray[np.float32]

CHUNK_BYTES = 2**25
_SMALLEST_TERM = 1e-4  # relative to the first
_MOST_TERMS = 16  # on street scenes with 4 % of void, the energy is right to 1e-4 at 64 codes and to 1e-3 at 256


def chunks(rows: IntArray) -> Iterator[IntArray]:
    """Parts of (n, r * r) patches, so many that their one-hot vectors of one class fill ``CHUNK_BYTES`` in float32."""
    size = max(1, CHUNK_BYTES // (4 * rows.shape[1]))
    return (rows[start : start + size] for start in range(0, len(rows), size))


def observed_together(patches: LabelPatches) -> NDArray[np.float64]:
    """(r * r, r * r) how many patches have a class in both pixels."""
    counts: NDArray[np.float64] = np.zeros((patches.ratio**2,) * 2)
    for rows in chunks(patches.mixed):
        has_class = rows != patches.void
        is_complete = has_class.all(1)
        partly = has_class[~is_complete].astype(np.float32)
        counts += is_complete.sum() + partly.T @ partly
    total: NDArray[np.float64] = patches.constant.sum() + patches.weight * counts
    return total


def second_moment(patches: LabelPatches, progress: Callable[[int, int], None] | None = None) -> Float32Array:
    """(N, N) E[v v^T].

    Two classes share entries only through the patches that hold both, and the patches of one class alone add their
    number to all entries of it: far fewer operations than multiplying all one-hot vectors takes. Products of 0 and 1
    are exact in float32.

    Args:
        patches: what the mean is over.
        progress: called with parts of the patches done and in all.
    """
    classes, pixels = patches.num_classes, patches.ratio**2
    moment = np.zeros((classes, pixels, classes, pixels), np.float32)
    parts = list(chunks(patches.mixed))
    for done, rows in enumerate(parts, start=1):
        _add_pairs(moment, rows)
        if progress:
            progress(done, len(parts))
    scale = (1 / np.maximum(observed_together(patches), 1)).astype(np.float32)  # never both: the sum is 0 already
    for first in range(classes):
        for second in range(first, classes):
            alone = patches.constant[first] if first == second else 0
            moment[first, :, second] = (patches.weight * moment[first, :, second] + alone) * scale
            moment[second, :, first] = moment[first, :, second].T
    return moment.reshape(classes * pixels, classes * pixels)


def _add_pairs(moment: Float32Array, rows: IntArray) -> None:
    """Add the pairs of each class with itself and with later ones to a (C, r * r, C, r * r) sum."""
    classes = len(moment)
    present = np.stack([(rows == index).any(1) for index in range(classes)])
    for first in range(classes):
        holding = np.flatnonzero(present[first])
        of_first = (rows[holding] == first).astype(np.float32)
        moment[first, :, first] += of_first.T @ of_first
        for second in np.flatnonzero(present[first + 1 :, holding].any(1)) + first + 1:
            both = present[second, holding]
            of_second = (rows[holding[both]] == second).astype(np.float32)
            moment[first, :, second] += of_first[both].T @ of_second


class MomentProduct:
    """E[v v^T] times vectors, without the matrix.

    The class seldom changes along a row of pixels, so that v is the running sum of few steps: they are kept, as a
    sparse matrix. One over the number of patches that have a class in both pixels is kept as a sum of outer products:
    one without void, up to 16 with it. It is exact on the diagonal, which matters most.

    Args:
        patches: what the mean is over.
        memory_mb: of the steps; where they would take more, they are those of a uniform sample of the mixed patches.
        seed: of the sample.
    """

    def __init__(self, patches: LabelPatches, memory_mb: float, seed: int) -> None:
        self.patches = patches
        self._steps: list[csr_matrix] = []
        kept = size = 0
        parts = max(1, -(-4 * patches.mixed.size // CHUNK_BYTES))
        for part in np.array_split(np.random.default_rng(seed).permutation(len(patches.mixed)), parts):
            self._steps.append(_steps_of(patches.mixed[part], patches))
            kept += len(part)
            size += 8 * self._steps[-1].nnz
            if size > memory_mb * 2**20:
                break
        self._weight = patches.mixed_total / max(1, kept)
        together = observed_together(patches)
        self.trace = int((together.diagonal() > 0).sum())
        inverse = np.where(together > 0, 1 / np.maximum(together, 1), 0)
        self._strengths, self._terms = _outer_products(inverse)
        rest = inverse.diagonal() - self._strengths @ self._terms**2
        self._rest = (_class_counts(patches) * rest).reshape(-1, 1).astype(np.float32)

    def __call__(self, vectors: Float32Array) -> Float32Array:
        """Shape: (N, n) -> (N, n)."""
        by_class = vectors.reshape(self.patches.num_classes, self.patches.ratio**2, -1)
        total = np.zeros_like(by_class)
        for strength, term in zip(self._strengths, self._terms[:, :, None], strict=True):
            total += strength * term * self._sum_over_patches(by_class * term)
        product: Float32Array = total.reshape(vectors.shape)
        product += self._rest * vectors
        return product

    def _sum_over_patches(self, by_class: Float32Array) -> Float32Array:
        """The sum of v (v^T x) for (C, r * r, n) vectors x."""
        ratio = self.patches.ratio
        grid = (len(by_class), ratio, ratio, -1)
        sums = np.cumsum(by_class.reshape(grid), axis=2).reshape(-1, by_class.shape[-1])
        product = np.zeros_like(sums)
        for steps in self._steps:
            product += steps.T @ (steps @ sums)
        product = np.cumsum(product.reshape(grid)[:, :, ::-1], axis=2)[:, :, ::-1]
        constant = self.patches.constant[:, None, None] * by_class.sum(1, keepdims=True)
        result: Float32Array = (self._weight * product.reshape(by_class.shape) + constant).astype(np.float32)
        return result


def _outer_products(matrix: NDArray[np.float64]) -> tuple[Float32Array, Float32Array]:
    """Strengths (n,) and vectors (n, m) of the outer products that sum to a symmetric (m, m), its diagonal aside.

    The diagonal lies apart from its neighbours, as a pixel that has a class always has one together with itself; so it
    is taken from the outer products until they agree with it.
    """
    matrix = matrix.copy()
    for _ in range(8):
        strengths, vectors = np.linalg.eigh(matrix)
        order = np.argsort(-np.abs(strengths))[:_MOST_TERMS]
        order = order[np.abs(strengths[order]) >= _SMALLEST_TERM * np.abs(strengths).max()]
        strengths, vectors = strengths[order], vectors[:, order]
        np.fill_diagonal(matrix, vectors**2 @ strengths)
    return strengths.astype(np.float32), vectors.T.astype(np.float32)


def _class_counts(patches: LabelPatches) -> NDArray[np.float64]:
    """(C, r * r) how many patches have this class in this pixel."""
    counts = np.zeros((patches.num_classes, patches.ratio**2))
    for rows in chunks(patches.mixed):
        counts += [(rows == index).sum(0) for index in range(patches.num_classes)]
    total: NDArray[np.float64] = patches.constant[:, None] + patches.weight * counts
    return total


def _steps_of(rows: IntArray, patches: LabelPatches) -> csr_matrix:
    """(n, N) matrix S of 1 and -1, with v[class, row, column] the sum of S[class, row, column and right of it]."""
    ratio, pixels = patches.ratio, patches.ratio**2
    here = rows.reshape(len(rows), ratio, ratio)
    right = np.full_like(here, patches.void)
    right[:, :, :-1] = here[:, :, 1:]
    patch, row, column = np.nonzero(here != right)
    index, number, value = [], [], []
    for classes, sign in ((here, 1), (right, -1)):
        found = classes[patch, row, column].astype(np.int64)
        is_class = found != patches.void
        index.append((found * pixels + row * ratio + column)[is_class])
        number.append(patch[is_class])
        value.append(np.full(int(is_class.sum()), sign, np.float32))
    shape = (len(rows), patches.num_classes * pixels)
    return csr_matrix((np.concatenate(value), (np.concatenate(number), np.concatenate(index))), shape)
