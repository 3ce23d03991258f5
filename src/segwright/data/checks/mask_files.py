"""A mask file: whether it can be read in full, and how many pixels of each value it holds."""

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from segwright.data.checks.damage import damaged, open_picture
from segwright.data.checks.files import Limits
from segwright.data.checks.pictures import warnings_about
from segwright.data.checks.problem import BadFileError, Problem
from segwright.data.masks import (
    IntArray,
    LossyMaskError,
    RawValue,
    count_values,
    is_lossy_webp,
    raw_values,
    stretch_of,
)
from segwright.errors import DataError

_FEW_COLOURS = 4096
"""Of RGB masks; more are counted in a slower way."""


class Mask(NamedTuple):
    """What is known of a mask that can be read.

    Args:
        size: (height, width).
        values: pixels of each value or colour in it.
        decoded: the picture, or the values in it, for a second look.
        problems: warnings about it.
    """

    size: tuple[int, int]
    values: Mapping[RawValue, int]
    decoded: Image.Image | IntArray
    problems: tuple[Problem, ...]

    @property
    def is_colour(self) -> bool:
        """Whether it is an RGB picture."""
        return isinstance(next(iter(self.values), 0), tuple)

    def pixels(self) -> IntArray:
        """(H, W) values or (H, W, 3) colours."""
        return np.asarray(self.decoded)


class MaskFiles:
    """Reads mask files and counts their values.

    Args:
        limits: by the header, before anything is decoded.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: set[int] = set()

    def read(self, content: bytes, path: str) -> Mask:
        """Decode a mask to its end and count.

        Args:
            content: of the file.
            path: the file.

        Raises:
            BadFileError: it cannot be read, is too large, or is of a kind that alters class values.
        """
        picture = open_picture(content, path, "mask")
        self._limits.check_pixels(picture.size, "mask", path)
        size = (picture.height, picture.width)
        is_index = picture.mode in ("L", "P") and picture.format == "PNG" and stretch_of(picture) == 1
        try:
            values, decoded = (self._histogram(picture), picture) if is_index else _count(picture, content, path)
            problems = warnings_about(picture, path, "mask")
        except BadFileError:
            raise
        except DataError as reason:
            raise BadFileError("unreadable-mask", reason.message, fix=reason.fix) from reason
        except Exception as reason:  # damaged files make Pillow's decoders raise anything
            raise damaged(content, path, "mask", reason) from reason
        return Mask(size, values, decoded, problems)

    def _histogram(self, picture: Image.Image) -> dict[RawValue, int]:
        """Pixels by 8-bit value: those of earlier masks first, and all 256 only where these are not all."""
        counts = picture.histogram()
        values: dict[RawValue, int] = {value: counts[value] for value in self._seen if counts[value]}
        if sum(values.values()) != picture.width * picture.height:
            values = {value: count for value, count in enumerate(counts) if count}
            self._seen.update(value for value in values if isinstance(value, int))
        return values


def _count(picture: Image.Image, content: bytes, path: str) -> tuple[dict[RawValue, int], IntArray]:
    """Pixels by value of masks in which 8-bit grey levels are not the values, and the values."""
    is_lossy = picture.format == "WEBP" and is_lossy_webp(io.BytesIO(content))
    try:
        raw = raw_values(picture, path, is_lossy=is_lossy)
    except LossyMaskError as reason:
        values = len(np.unique(np.asarray(picture.convert("L"))))
        text = f"{reason.message} ({values} distinct values)"
        raise BadFileError("lossy-mask", text, fix=reason.fix) from reason
    if raw.ndim == 3:
        few = picture.convert("RGB").getcolors(_FEW_COLOURS)
        counted = count_values(raw, is_colour=True) if few is None else {colour: count for count, colour in few}
        return counted, raw  # type: ignore[return-value]  # Pillow's colours of RGB are tuples
    counts = np.bincount(raw.ravel())
    present = np.flatnonzero(counts)
    return dict(zip(present.tolist(), counts[present].tolist(), strict=True)), raw
