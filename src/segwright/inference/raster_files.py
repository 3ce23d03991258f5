"""What is written of a raster's prediction, part by part: mask and confidence as TIFF, a reduced overlay as JPEG."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from segwright.info import Colour, ModelInfo
from segwright.runtime import Decision, replacing
from segwright.runtime.bands import BandArray, rgb_view
from segwright.runtime.files import make_folder
from segwright.runtime.masks import MaskArray, mask_dtype, overlay
from segwright.runtime.raster_writer import RasterWriter
from segwright.runtime.tiles import Box
from segwright.runtime.windowed import Raster

_OVERLAY_SIDE = 4096
"""Pixels that the longer side of an overlay has at most."""


class RasterFiles:
    """The files of a raster's prediction. Used as a context: they are there when it ends well, each whole.

    Args:
        raster: that is predicted.
        info: of the model.
        mask, overlay, confidence: the files; None where one is not wanted.

    Raises:
        RunError: a file cannot be written.
    """

    def __init__(
        self, raster: Raster, info: ModelInfo, mask: Path | None, overlay: Path | None, confidence: Path | None
    ) -> None:
        self.raster, self.info, self._overlay = raster, info, overlay
        self.dtype = mask_dtype(info.num_classes + 1)  # a value more, for no data
        self.nodata = int(np.iinfo(self.dtype).max)
        self._counts = np.zeros(info.num_classes, np.int64)
        self._preview = Preview(raster.size, _OVERLAY_SIDE) if overlay else None
        self._mask, self._confidence = None, None
        size, place = raster.size, raster.place
        for path in (mask, overlay, confidence):
            if path:
                make_folder(path.parent)
        with ExitStack() as stack:
            if mask:
                writer = RasterWriter(
                    mask, size, self.dtype.__name__, place, nodata=self.nodata, colours=info.palette, names=info.classes
                )
                self._mask = stack.enter_context(writer)
            if confidence:
                self._confidence = stack.enter_context(RasterWriter(confidence, size, "uint8", place, nodata=0))
            self._stack = stack.pop_all()

    def __enter__(self) -> "RasterFiles":
        return self

    def add(self, box: Box, decision: Decision) -> None:
        """A part whose corner is a multiple of ``BLOCK``.

        Raises:
            DataError: the raster cannot be read there.
            RunError: a file cannot be written.
        """
        mask: MaskArray = decision.mask.astype(self.dtype, copy=False)
        valid = self.raster.valid(box)
        self._counts += np.bincount((mask if valid is None else mask[valid]).ravel(), minlength=len(self._counts))
        if valid is not None:
            mask = mask.copy()
            mask[~valid] = self.nodata
        if self._mask:
            self._mask.write(box.top, box.left, mask)
        if self._confidence and decision.confidence is not None:
            grey = np.rint(decision.confidence * 255).astype(np.uint8)
            self._confidence.write(box.top, box.left, grey if valid is None else grey * valid)
        if self._preview:
            self._preview.add(box, self.raster.read(box), mask)

    def areas(self) -> dict[str, float]:
        """Share of every class (0..1) among the pixels with data; all 0 where there are none."""
        pixels = max(1, int(self._counts.sum()))
        return {name: int(count) / pixels for name, count in zip(self.info.classes, self._counts, strict=True)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._preview and self._overlay:
                picture = self._preview.picture(self.info.palette)
                with replacing(self._overlay, durable=False) as temporary:
                    picture.save(temporary, quality=92)


class Preview:
    """Picture and mask, reduced by a power of two so that the longer side has at most ``side`` pixels.

    Args:
        size: (height, width) of the raster.
        side: in pixels.
    """

    def __init__(self, size: tuple[int, int], side: int) -> None:
        self.step = 1
        while -(-max(size) // self.step) > side:
            self.step *= 2
        self.size = (-(-size[0] // self.step), -(-size[1] // self.step))
        self._image: BandArray | None = None
        self._mask: MaskArray | None = None

    def add(self, box: Box, image: BandArray, mask: MaskArray) -> None:
        """A part whose corner is a multiple of ``BLOCK``; pixels are averaged, of the mask the middle one is taken."""
        shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1]  # what rgb_view shows
        rows, columns = (np.arange(0, side, self.step) for side in mask.shape)
        sums = np.add.reduceat(np.add.reduceat(shown, rows, 0, np.float32), columns, 1)
        counts = np.outer(np.diff(rows, append=mask.shape[0]), np.diff(columns, append=mask.shape[1]))
        means = sums / counts[..., None]
        if self._image is None or self._mask is None:
            self._image = np.zeros((*self.size, shown.shape[2]), image.dtype)
            self._mask = np.zeros(self.size, mask.dtype)
        first, left = box.top // self.step, box.left // self.step
        place = slice(first, first + len(rows)), slice(left, left + len(columns))
        self._image[place] = means if image.dtype == np.float32 else np.rint(means)
        middle = [
            np.minimum(places + self.step // 2, side - 1)
            for places, side in ((rows, len(mask)), (columns, mask.shape[1]))
        ]
        self._mask[place] = mask[np.ix_(*middle)]

    def picture(self, palette: Sequence[Colour]) -> Image.Image:
        """The picture under the mask's colours."""
        assert self._image is not None and self._mask is not None, "there is a part"
        return Image.fromarray(overlay(rgb_view(self._image), self._mask, palette))
