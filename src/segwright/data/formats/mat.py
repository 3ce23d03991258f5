"""MATLAB files as masks: the only matrix of whole numbers in each, as ``S`` of COCO-Stuff 10k or ``GTcls`` of SBD."""

from functools import partial
from pathlib import Path

import numpy as np

from segwright.data.formats.files import files_below
from segwright.data.formats.pairs import Key, MaskPair, place_of, samples_of
from segwright.data.formats.reading import IntArray, Notes, Options, Reading, counted
from segwright.data.formats.tables import Decoder, find_classes
from segwright.errors import DataError
from segwright.runtime.images import SUFFIXES

_NEW = b"MATLAB 7.3 MAT-file"
_DEEPEST = 4  # structures in structures


def detect(source: Path, options: Options) -> str | None:
    """MATLAB files that are called like pictures."""
    files = files_below(source, (".mat",)) if source.is_dir() else []
    stems = {path.stem for path in files_below(source, SUFFIXES)} if files else set()
    return f"'{files[0]}' is called like a picture" if files and files[0].stem in stems else None


def read(source: Path, options: Options) -> Reading:
    """Each picture with a MATLAB file of its name; 255 is ignored where it is no class.

    Raises:
        DataError: no such file, one that cannot be read or holds several matrices, or one without a picture.
    """
    notes = Notes()
    pairs = _pairs(source)
    highest = -1
    for pair in pairs:
        values = np.unique(matrix_of(pair.mask))
        highest = max(highest, int(values[values != 255].max(initial=-1)))
    table = find_classes(source, options)
    names = table.names if table else tuple(f"class {index}" for index in range(highest + 1))
    if not names:
        raise DataError(f"the masks of '{source}' are all ignored (255)", fix="give the right folder")
    decoder = Decoder(names, options, notes)
    understood = f"{counted(len(pairs), 'picture')} with MATLAB masks, {counted(len(names), 'class')}"
    return Reading(understood, decoder.classes, samples_of(pairs, partial(_decode, decoder)), notes)


def _pairs(source: Path) -> list[MaskPair]:
    files = files_below(source, (".mat",)) if source.is_dir() else []
    pictures: dict[tuple[str | None, Key], Path] = {}
    of_name: dict[tuple[str | None, str], list[tuple[str | None, Key]]] = {}
    for path in files_below(source, SUFFIXES) if files else []:
        split, _, key = place_of(path.relative_to(source))
        pictures[split, key] = path
        of_name.setdefault((split, key[-1]), []).append((split, key))
    pairs: dict[tuple[str | None, Key], MaskPair] = {}
    for path in files:
        split, _, key = place_of(path.relative_to(source))
        own = [(split, key)] if (split, key) in pictures else of_name.get((split, key[-1]), [])  # SBD: img/a, cls/a
        if len(own) != 1:
            raise DataError(f"'{path}' has no picture of its name", fix="add the picture, or remove the file")
        pair = MaskPair("/".join(own[0][1]), split, pictures[own[0]], path)
        if pairs.setdefault(own[0], pair) != pair:
            raise DataError(
                f"'{pairs[own[0]].mask}' and '{path}' stand for the same picture", fix="keep one of the two"
            )
    if not pairs:
        raise DataError(f"'{source}' holds no MATLAB file", fix="give the folder of pictures and .mat files")
    return list(pairs.values())


def _decode(decoder: Decoder, path: Path) -> IntArray:
    return decoder.of_values(matrix_of(path), path)


def matrix_of(path: Path) -> IntArray:
    """The only matrix of whole numbers in a MATLAB file, in structures too; vectors and names do not count.

    Raises:
        DataError: a file that cannot be read, or with no such matrix, or several.
    """
    from scipy.io import loadmat

    with path.open("rb") as file:
        is_hdf5 = file.read(len(_NEW)) == _NEW
    if is_hdf5:
        raise DataError(
            f"'{path}' is a MATLAB file of version 7.3 (HDF5), which is not read",
            fix="save it in MATLAB with save(..., '-v7'), or as an index PNG with imwrite",
        )
    try:
        content = loadmat(path, squeeze_me=False, struct_as_record=True)
    except Exception as reason:  # damaged files make SciPy raise anything
        raise DataError(
            f"'{path}' cannot be read ({reason})", fix="save it again in MATLAB with save(..., '-v7')"
        ) from reason
    found = [array for name, value in content.items() if not name.startswith("__") for array in _matrices(value)]
    if len(found) != 1:
        raise DataError(f"'{path}' holds {len(found)} matrices of whole numbers", fix="save the mask alone")
    return found[0]


def _matrices(value: object, depth: int = 0) -> list[IntArray]:
    if not isinstance(value, np.ndarray) or depth > _DEEPEST:
        return []
    if value.dtype.names:
        return [array for name in value.dtype.names for array in _matrices(value[name], depth + 1)]
    if value.dtype == object:
        return [array for inner in value.ravel()[:100] for array in _matrices(inner, depth + 1)]
    if value.ndim != 2 or min(value.shape) < 2 or value.dtype.kind not in "iufb":
        return []
    if value.dtype.kind == "f" and not (np.isfinite(value).all() and (value == np.trunc(value)).all()):
        return []
    is_mask = value.min() >= 0 and value.max() < 65536
    return [value.astype(np.int64)] if is_mask else []
