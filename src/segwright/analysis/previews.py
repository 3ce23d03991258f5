"""A pair as three small pictures for people: the picture, its mask in the classes' colours, one laid over the other.

What a mask leaves out is striped in grey, and what nobody has named in magenta: a class may well be black.
"""

import contextlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.data.masks import Labels, MaskReader, pack_colours, read_raw_mask
from segwright.errors import DataError, SegmentationError
from segwright.info import Colour, generic_palette
from segwright.runtime.bands import read_bands, rgb_view
from segwright.runtime.images import read_image
from segwright.runtime.machine import available_cpus
from segwright.runtime.stored import stored_as

IntArray = NDArray[np.integer]

IGNORED_STRIPES: tuple[Colour, Colour] = ((150, 150, 150), (215, 215, 215))
UNKNOWN_STRIPES: tuple[Colour, Colour] = ((230, 0, 160), (20, 20, 20))
_ALPHA = 0.5  # share of the mask's colours in the overlay
_MOST_THREADS = 8  # each holds one picture in memory
_STRIPE = 4  # pixels of a stripe, across
_UNKNOWN = -1
_USUAL_SHAPE = 0.75  # height : width


class Candidate(NamedTuple):
    """A pair that may be shown, or a file without its partner."""

    name: str
    image: Path | None
    mask: Path | None


@dataclass(frozen=True)
class Preview:
    """Three small pictures of a pair; one that cannot be made is ``None``, and its reason a few words.

    Args:
        name: of the pair, to be shown.
        picture, mask, overlay: RGB; of a pair that fits they share their size.
        reasons: why one of them is missing, by its name.
        size: (height, width) of the picture, else of the mask, in full; ``None`` where neither can be read.
        present: indices of the classes with a pixel in the whole mask.
        has_ignored, has_unknown: whether there are pixels that are left out, or that mean nothing.
    """

    name: str
    picture: Image.Image | None = None
    mask: Image.Image | None = None
    overlay: Image.Image | None = None
    reasons: tuple[tuple[str, str], ...] = ()
    size: tuple[int, int] | None = None
    present: tuple[int, ...] = ()
    has_ignored: bool = False
    has_unknown: bool = False

    def reason(self, part: str) -> str:
        """Why ``picture``, ``mask`` or ``overlay`` is missing."""
        return dict(self.reasons).get(part, "")

    def without(self, part: str, reason: str) -> "Preview":
        """The same, with the reason why a part is missing."""
        return replace(self, reasons=(*self.reasons, (part, reason)))


def draw_previews(candidates: Sequence[Candidate], labels: Labels, box: tuple[int, int]) -> list[Preview]:
    """Read pairs and draw them small, a few at a time; a file that cannot be read is no error here.

    Args:
        candidates: the pairs.
        labels: what the masks' values mean.
        box: (height, width) into which each of the three is fitted; small pictures grow.
    """
    with ThreadPoolExecutor(min(_MOST_THREADS, available_cpus())) as pool:
        return list(pool.map(partial(_draw, labels=labels, box=box), candidates))


def show_size(size: tuple[int, ...] | None) -> str:
    """(height, width) as ``width x height``, as people and picture viewers have it."""
    return f"{size[1]} x {size[0]}" if size else "of unknown size"


def palette_of(labels: Labels) -> tuple[Colour, ...]:
    """A colour for each class, also where nobody has given any."""
    return labels.palette or generic_palette(len(labels.classes))


def swatch(index: int, labels: Labels, size: tuple[int, int]) -> Image.Image:
    """A patch in the colour of a class, in stripes for ``ignore_index`` and -1 (unknown); (height, width) in pixels."""
    return _coloured(np.full(size, index), labels)


def fit(size: tuple[int, ...], box: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of the same shape within the box; at least one pixel."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def typical_tile(images: Iterable[Path], width: int) -> tuple[int, int]:
    """(height, width) of a tile for these pictures: the shape in the middle of theirs, neither very long nor very wide.

    Only their heads are read; one that cannot be does not count.
    """
    shapes = []
    for path in images:
        with contextlib.suppress(SegmentationError, OSError):
            height, breadth = stored_as(path).size
            shapes.append(height / breadth)
    shape = median(shapes) if shapes else _USUAL_SHAPE
    return round(width * min(1.5, max(0.4, shape))), width


def _draw(candidate: Candidate, labels: Labels, box: tuple[int, int]) -> Preview:
    preview = _with_picture(Preview(candidate.name), candidate.image, box)
    full_size = preview.size
    if candidate.mask is None:
        return preview.without("mask", "no mask").without("overlay", "no mask")
    try:
        raw = read_raw_mask(candidate.mask)
    except DataError:
        return preview.without("mask", "cannot be read").without("overlay", "no mask to lay over it")
    preview = _with_mask(preview, raw, candidate.mask, labels, box)
    if preview.picture is None or preview.mask is None:
        return preview.without("overlay", "no picture to lay it over")
    if full_size != raw.shape[:2]:
        return preview.without("overlay", f"picture {show_size(full_size)}, mask {show_size(raw.shape[:2])}")
    return replace(preview, overlay=Image.blend(preview.picture, preview.mask, _ALPHA))


def _with_picture(preview: Preview, image: Path | None, box: tuple[int, int]) -> Preview:
    if image is None:
        return preview.without("picture", "no picture")
    try:
        stored = stored_as(image)
        height, width = fit(stored.size, box)
        if stored.fits_rgb:
            pixels = read_image(image, at_least=(2 * height, 2 * width))
        else:
            pixels = rgb_view(read_bands(image, stored.bands))
    except (SegmentationError, OSError):
        return preview.without("picture", "cannot be read")
    rule = Image.Resampling.BICUBIC if width > stored.size[1] else Image.Resampling.LANCZOS
    small = Image.fromarray(pixels).resize((width, height), rule, reducing_gap=3)
    return replace(preview, picture=small, size=stored.size)


def _with_mask(preview: Preview, raw: IntArray, path: Path, labels: Labels, box: tuple[int, int]) -> Preview:
    """Add the mask at the nearest pixels, so that it shows no colours but those of the classes."""
    height, width = raw.shape[:2]
    size = fit(raw.shape, box)
    rows, columns = _nearest(size[0], height), _nearest(size[1], width)
    preview = replace(preview, size=preview.size or (height, width))
    small = raw[rows][:, columns]
    if raw.ndim == 3 and not labels.colour_table():
        return replace(preview, mask=Image.fromarray(small.astype(np.uint8)), has_unknown=True)
    try:
        whole = MaskReader(labels).decode(raw, path)
    except DataError:
        drawn = _classes_of(small, labels)
        found, has_unknown = np.unique(drawn), True
    else:
        drawn = whole[rows][:, columns]
        found, has_unknown = np.flatnonzero(np.bincount(whole.ravel())), False
    return replace(
        preview,
        mask=_coloured(drawn, labels),
        present=tuple(int(value) for value in found if 0 <= value < len(labels.classes)),
        has_ignored=labels.ignore_index in found,
        has_unknown=has_unknown,
    )


def _nearest(new: int, old: int) -> IntArray:
    """Which of ``old`` pixels in a line lie below the middles of ``new`` ones."""
    return ((np.arange(new) + 0.5) * old / new).astype(int)


def _classes_of(raw: IntArray, labels: Labels) -> IntArray:
    """Class indices of a small mask, and -1 where a value means nothing."""
    if raw.ndim == 2:
        return labels.index_table()[raw]
    packed = pack_colours(raw)
    classes = np.full(packed.shape, _UNKNOWN)
    for colour, index in labels.colour_table().items():
        classes[packed == colour] = index
    return classes


def _coloured(classes: IntArray, labels: Labels) -> Image.Image:
    """Class indices in their colours, ``ignore_index`` and -1 in stripes."""
    table = np.array(palette_of(labels), np.uint8)
    coloured = table[np.clip(classes, 0, len(table) - 1)]
    odd = np.indices(classes.shape).sum(axis=0) // _STRIPE % 2
    for value, stripes in ((labels.ignore_index, IGNORED_STRIPES), (_UNKNOWN, UNKNOWN_STRIPES)):
        chosen = classes == value
        coloured[chosen] = np.array(stripes, np.uint8)[odd[chosen]]
    return Image.fromarray(coloured)
