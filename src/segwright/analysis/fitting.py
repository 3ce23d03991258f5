"""P and W of DUpsampling from a data set's labels (section 3.1).

They minimise the squared error of W P v over the patches v of the label maps. Without a bias the minimum is reached by
the leading eigenvectors of E[v v^T], not of the covariance: W has them as columns, and P is W^T.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from segwright.analysis.descent import descend
from segwright.analysis.eigenvectors import basis_bytes, dense_eigenvectors, is_dense, krylov_eigenvectors
from segwright.analysis.label_codes import LabelCodes
from segwright.analysis.moments import CHUNK_BYTES, Float32Array, MomentProduct, second_moment
from segwright.analysis.patches import MEMORY_MB, LabelPatches, read_patches
from segwright.data import SegmentationData, load_data
from segwright.errors import ConfigError, DataError, did_you_mean

Method = Literal["auto", "exact", "randomized", "sgd"]
Progress = Callable[[int, int], None]

_MEGABYTE = 2**20


def fit_label_codes(
    data: SegmentationData | str | Path,
    *,
    ratio: int,
    code_channels: int,
    split: str = "train",
    method: Method = "auto",
    seed: int = 0,
    memory_mb: int = MEMORY_MB,
    max_masks: int | None = None,
    progress: Progress | None = None,
) -> LabelCodes:
    """Fit P and W to the masks of a split.

    Args:
        data: a data set, its folder or its data.yaml.
        ratio: rows and columns of a patch; the output stride.
        code_channels: length of a code; 64 in the paper for 21 classes.
        split: whose masks.
        method: as in :func:`fit_patches`.
        seed: of samples, and of methods that start at random.
        memory_mb: what the fit may hold.
        max_masks: read a random sample of this many masks; all when ``None``.
        progress: called with masks read and in all.

    Raises:
        ConfigError: as :func:`fit_patches`, or ``max_masks`` below 1.
        DataError: no such data set or split, a mask that cannot be read, no label, or too few patches.
    """
    source = data if isinstance(data, SegmentationData) else load_data(data)
    _check(method, len(source.classes), ratio, code_channels)
    patches = read_patches(
        source, ratio=ratio, split=split, seed=seed, memory_mb=memory_mb, max_masks=max_masks, progress=progress
    )
    return fit_patches(patches, source.classes, code_channels, method=method, seed=seed, memory_mb=memory_mb)


def fit_patches(
    patches: LabelPatches,
    classes: Sequence[str],
    code_channels: int,
    *,
    method: Method = "auto",
    seed: int = 0,
    memory_mb: int = MEMORY_MB,
    progress: Progress | None = None,
) -> LabelCodes:
    """Fit P and W to patches.

    Methods: ``exact`` takes the eigenvectors of E[v v^T], N x N values, N = C * ratio ** 2; ``randomized`` finds them
    by products with the patches, without that matrix; ``sgd`` starts from random P and W and goes down the gradient of
    the squared error, as the paper also does: slower and never better, for comparison. ``auto`` is exact where
    ``memory_mb`` allows it, else randomized.

    Void pixels are of no class. ``exact`` and ``randomized`` take the moment of two values over the patches where both
    are labelled; ``sgd`` leaves void out of the squared error.

    Args:
        patches: of :func:`~segwright.analysis.patches.read_patches`.
        classes: names, in the order of the class indices.
        code_channels: length of a code, 1 to N.
        method: see above.
        seed: of methods that start at random.
        memory_mb: what the fit may hold, patches included.
        progress: called with steps done and in all; a step is a part of the patches, of sgd an update;
            randomized has none.

    Raises:
        ConfigError: an unknown method, ``code_channels`` out of range, another number of classes, or too little memory.
        DataError: fewer patches than ``code_channels``.
    """
    _check(method, len(classes), patches.ratio, code_channels)
    if len(classes) != patches.num_classes:
        raise ConfigError(
            f"{len(classes)} class names are given for patches of {patches.num_classes} classes",
            fix="give the classes of the data set that the patches are from",
        )
    if patches.count < code_channels:
        raise DataError(
            f"there are {patches.count} labelled patches of {patches.ratio}x{patches.ratio} pixels, and "
            f"{code_channels} code channels cannot be told from so few",
            fix=f"give more masks, or at most {patches.count} code channels",
        )
    if method == "auto":
        method = "exact" if _bytes_of_exact(patches, code_channels) <= memory_mb * _MEGABYTE else "randomized"
    facts = (patches.ratio, tuple(classes), method, seed)
    if method == "sgd":
        projection, reconstruction, energy = descend(patches, code_channels, seed, progress)
        return LabelCodes(projection, reconstruction, *facts, energy, patches.count)
    if method == "exact":
        energies, vectors = _exact(patches, code_channels, seed, memory_mb, progress)
    else:
        energies, vectors = _randomized(patches, code_channels, seed, memory_mb)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(0), np.arange(code_channels)])  # else either sign would do
    reconstruction = torch.from_numpy(vectors.astype(np.float32, order="C"))
    energy = float(energies.sum().clip(0, 1))
    shares = torch.from_numpy(energies.copy())
    return LabelCodes(reconstruction.T.contiguous(), reconstruction, *facts, energy, patches.count, shares)


def _check(method: str, num_classes: int, ratio: int, code_channels: int) -> None:
    if method not in get_args(Method):
        near = did_you_mean(method, get_args(Method))
        raise ConfigError(f"unknown method '{method}'{near}", fix=f"give one of: {', '.join(get_args(Method))}")
    if ratio < 1:
        raise ConfigError(f"ratio is {ratio}", fix="give 1 or above: the output stride, 16 or 32 in the paper")
    if not 1 <= code_channels <= num_classes * ratio**2:
        raise ConfigError(
            f"code_channels is {code_channels} for patches of {ratio}x{ratio} pixels and {num_classes} classes",
            fix=f"give 1 to {num_classes * ratio**2}, the values of such a patch; 64 in the paper",
        )


def _exact(
    patches: LabelPatches, code_channels: int, seed: int, memory_mb: int, progress: Progress | None
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Shares of the trace, and eigenvectors as columns."""
    needed = _bytes_of_exact(patches, code_channels) / _MEGABYTE
    if needed > memory_mb:
        raise ConfigError(
            f"an exact fit of {code_channels} codes to patches of {patches.ratio}x{patches.ratio} pixels and "
            f"{patches.num_classes} classes takes {needed:.0f} MB, and memory_mb is {memory_mb}",
            fix=f"give memory_mb={int(needed) + 1}, or method 'randomized'",
        )
    moment = second_moment(patches, progress)
    length, trace = len(moment), np.trace(moment, dtype=np.float64)
    values: NDArray[np.float64]
    vectors: NDArray[np.floating]
    if is_dense(length, code_channels):
        values, vectors = dense_eigenvectors(moment, code_channels)
    else:
        values, vectors = krylov_eigenvectors(moment.__matmul__, length, code_channels, seed)
    return values / trace, vectors


def _randomized(
    patches: LabelPatches, code_channels: int, seed: int, memory_mb: int
) -> tuple[NDArray[np.float64], Float32Array]:
    """Shares of the trace, and eigenvectors as columns."""
    length = patches.num_classes * patches.ratio**2
    taken = (_bytes_of_work(patches) + basis_bytes(length, code_channels)) / _MEGABYTE
    product = MomentProduct(patches, max(memory_mb - taken, 0), seed)
    values, vectors = krylov_eigenvectors(product, length, code_channels, seed)
    return values / product.trace, vectors


def _bytes_of_exact(patches: LabelPatches, code_channels: int) -> int:
    length = patches.num_classes * patches.ratio**2
    if is_dense(length, code_channels):
        return 32 * length**2 + _bytes_of_work(patches)  # once in float32, and three times in float64 with LAPACK's own
    return 4 * length**2 + basis_bytes(length, code_channels) + _bytes_of_work(patches)


def _bytes_of_work(patches: LabelPatches) -> int:
    """The patches, and what is worked out of them chunk by chunk."""
    return patches.mixed.nbytes + min(4 * CHUNK_BYTES, 16 * patches.mixed.nbytes)
