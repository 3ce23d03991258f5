"""Field-of-view masks: pixels outside of what the camera saw are ignored."""

from pathlib import Path

import numpy as np

from segwright.data.dataset import MASK_SUFFIXES
from segwright.data.formats.files import files_below
from segwright.data.formats.reading import IntArray
from segwright.data.masks import read_raw_mask
from segwright.errors import ConfigError, DataError


class OutsideMasks:
    """Masks whose zeros are outside; each file's name is, or begins with, the stem of its picture.

    Args:
        folder: of the masks, at any depth.

    Raises:
        ConfigError: no such folder, or nothing in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = files_below(folder, MASK_SUFFIXES) if folder.is_dir() else []
        if not self._files:
            raise ConfigError(f"--ignore-outside '{folder}' holds no mask", fix="give the folder of the masks")

    def apply(self, mask: IntArray, stem: str, ignore_index: int) -> IntArray:
        """The mask with ``ignore_index`` outside of the field of view.

        Raises:
            DataError: no field-of-view mask for the picture, several, or one of another size.
        """
        name = stem.rpartition("/")[2]
        exact = [path for path in self._files if path.stem == name]
        found = exact or [path for path in self._files if path.stem.startswith((f"{name}_", f"{name}-"))]
        if len(found) != 1:
            what = "no mask" if not found else f"'{found[0]}' and '{found[1]}'"
            raise DataError(
                f"'{self._folder}' has {what} for the picture '{stem}'",
                fix=f"name one of them '{name}' or '{name}_mask'",
            )
        view = read_raw_mask(found[0])
        if view.shape[:2] != mask.shape:
            raise DataError(
                f"field-of-view mask '{found[0]}' is {view.shape[1]}x{view.shape[0]} px (width x height), the labels "
                f"of its picture {mask.shape[1]}x{mask.shape[0]}",
                fix="use masks of the pictures' own size",
            )
        outside = view == 0 if view.ndim == 2 else (view == 0).all(axis=2)
        return np.where(outside, mask.dtype.type(ignore_index), mask)
