"""The masks of rasters: georeferenced and very large pictures, read, predicted and written in parts."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segwright.errors import ConfigError
from segwright.inference.network import Network
from segwright.inference.predictor import Predictor
from segwright.inference.raster_files import RasterFiles
from segwright.inference.views import Window, batch_of, decide
from segwright.info import ModelInfo
from segwright.runtime import Decision, preprocess
from segwright.runtime.bilinear import FloatArray, Neighbours, interpolate, neighbours, span
from segwright.runtime.blend import Blended, blended_strips, columns_of
from segwright.runtime.exported import Batch
from segwright.runtime.raster_writer import BLOCK
from segwright.runtime.tiles import Box, window_boxes
from segwright.runtime.windowed import Raster

logger = logging.getLogger(__name__)

Tell = Callable[[int, int], None]
"""Gets how many windows are done, and how many there are."""

_WHOLE = 1 << 22
"""Pixels up to which a raster is shown to the network as a whole, unless a window is asked for: 2048x2048."""

_WINDOW, _LEAST_WINDOW = 1024, 512

_KEPT = 256 << 20
"""Bytes of windows' logits to keep at a time; a raster that needs more is predicted in panels, from left to right."""

_WIDEST = 1 << 15
"""Pixels of a panel's width, at most."""


class RasterResult(NamedTuple):
    """What was predicted.

    Args:
        areas: share of every class (0..1) among the pixels with data.
        milliseconds: from the file to the written files.
    """

    areas: dict[str, float]
    milliseconds: float


def predict_raster(
    predictor: Predictor,
    source: Path,
    *,
    mask: Path | None = None,
    overlay: Path | None = None,
    confidence: Path | None = None,
    tell: Tell | None = None,
) -> RasterResult:
    """Predict a TIFF of any size in bounded memory, and write its mask as TIFF in the same place on earth.

    The raster is seen at its own resolution, also by networks that otherwise resize pictures to one short side; scales
    are relative to that. It goes through in windows (see :func:`window_for`) that are blended as those of other
    pictures. Pixels without data (by a value, a mask or alpha) get 255, or 65535 from 256 classes on.

    Args:
        predictor: with its window, scales and tta.
        source: the TIFF.
        mask: gets the classes, with colour table, names and georeference.
        overlay: gets the picture under the mask's colours, as JPEG; reduced to at most 4096 pixels.
        confidence: gets 0..1 as 0..255, as TIFF; 0 where there is no data.
        tell: for progress.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: a file that cannot be read, or of other bands than the network's.
        ConfigError: an exported file that gives masks, and a raster too large to be shown as a whole.
        RunError: the network failed, or a file cannot be written; none is half-written.
    """
    start, steps = time.perf_counter(), predictor.info.preprocessing
    rows = (predictor.window or default_window(predictor.info))[0]
    with (
        Raster(source, steps.bands, [mean * steps.unit for mean in steps.mean], rows) as raster,
        RasterFiles(raster, predictor.info, mask, overlay, confidence) as files,
    ):
        for box, decision in _decisions(predictor, raster, confidence is not None, tell or (lambda done, total: None)):
            files.add(box, decision)
    areas = files.areas()
    if not any(areas.values()):
        logger.warning("'%s' has no pixel with data", source)
    return RasterResult(areas, (time.perf_counter() - start) * 1000)


def window_for(predictor: Predictor, size: tuple[int, int]) -> Window | None:
    """The window for a raster of (height, width); None shows it as a whole, as up to 2048x2048 pixels."""
    return predictor.window or (None if size[0] * size[1] <= _WHOLE else default_window(predictor.info))


def default_window(info: ModelInfo) -> Window:
    """What the network saw in training, where its file tells, but at least 512 pixels a side; or else 1024x1024."""
    config = info.provenance.get("config")
    data = config.get("data") if isinstance(config, dict) else None
    crop = data.get("crop_size") if isinstance(data, dict) else None
    if isinstance(crop, list | tuple) and len(crop) == 2 and all(isinstance(side, int) for side in crop):
        return max(_LEAST_WINDOW, crop[0]), max(_LEAST_WINDOW, crop[1])
    side = max(_LEAST_WINDOW, info.preprocessing.short_side or _WINDOW)
    return side, side


class Windows:
    """Logits of a raster's windows, at one scale, mirrored back where they were mirrored.

    Windows without data are not shown to the network.

    Args:
        network: that sees them.
        raster: whose parts they are.
        size: (height, width) of the raster at this scale.
        is_mirrored: whether the network sees them mirrored.
        told: called for each.
    """

    def __init__(
        self, network: Network, raster: Raster, size: tuple[int, int], is_mirrored: bool, told: Callable[[], None]
    ) -> None:
        self.network, self.raster, self.size, self.is_mirrored, self.told = network, raster, size, is_mirrored, told
        self._first: tuple[Box, FloatArray] | None = None

    def __call__(self, box: Box) -> FloatArray:
        if self._first is not None and box == self._first[0]:
            logits = self._first[1]
        elif self._first is not None and self._is_empty(box):
            logits = np.zeros_like(self._first[1])
        else:
            logits = np.asarray(self.network.run(self._batch(box)), np.float32)[0]
            logits = logits[..., ::-1] if self.is_mirrored else logits
        if self._first is None:
            self._first = box, logits
        else:
            self.told()
        return logits

    def _batch(self, box: Box) -> Batch:
        if self.size == self.raster.size:
            image = self.raster.read(box)
            return batch_of(self.network, image, Box(0, 0, *image.shape[:2]), self.is_mirrored)
        place, rows, columns = self._seen(box)
        images = interpolate(preprocess(self.raster.read(place), self.network.info.preprocessing), rows, columns)
        return np.ascontiguousarray(images[..., ::-1] if self.is_mirrored else images)[None]

    def _is_empty(self, box: Box) -> bool:
        valid = self.raster.valid(self._seen(box)[0])
        return valid is not None and not valid.any()

    def _seen(self, box: Box) -> tuple[Box, Neighbours, Neighbours]:
        """The part of the raster that a window shows, and where the window's pixels lie in it."""
        (top, bottom, rows), (left, right, columns) = (
            span(neighbours(stored, seen, align_corners=False).part(start, start + length))
            for stored, seen, start, length in zip(
                self.raster.size, self.size, (box.top, box.left), (box.height, box.width), strict=True
            )
        )
        return Box(top, left, bottom - top, right - left), rows, columns


def _decisions(
    predictor: Predictor, raster: Raster, with_confidence: bool, tell: Tell
) -> Iterator[tuple[Box, Decision]]:
    """The classes of the raster's parts, whose corners are multiples of ``BLOCK``."""
    steps, flip = predictor.info.preprocessing, predictor.tta == "flip"
    # At the raster's own resolution, whatever short side other pictures are resized to.
    scales = [scale / steps.scale_of(raster.size) for scale in predictor.scales]
    sizes = [steps.size_of(raster.size, scale) for scale in scales]
    window = window_for(predictor, raster.size)
    if window is None or all(_fits(size, window) for size in sizes):
        box = Box(0, 0, *raster.size)
        image = raster.read(box)
        predictor.prepare(image)
        yield box, decide(predictor.network, image, scales=scales, flip=flip, window=None, confidence=with_confidence)
        return
    runs = sum(len(window_boxes(size, window)) for size in sizes) * (2 if flip else 1)
    _refuse_masks(predictor.network, raster)
    predictor.prepare(raster.read(Box(0, 0, *map(min, window, raster.size))), runs)
    shows = [(size, is_mirrored) for size in sizes for is_mirrored in ((False, True) if flip else (False,))]
    yield from _in_windows(predictor.network, raster, shows, window, with_confidence, tell)


def _in_windows(
    network: Network, raster: Raster, shows: Sequence[tuple[tuple[int, int], bool]], window: Window,
    with_confidence: bool, tell: Tell,
) -> Iterator[tuple[Box, Decision]]:  # fmt: skip
    """As :func:`_decisions`; ``shows`` are the sizes at which the network sees the raster, mirrored or not."""
    (height, width), align_corners, done = raster.size, network.align_corners, 0

    def told() -> None:
        nonlocal done
        done += 1
        tell(done, total)

    views: list[FloatArray | Blended] = []
    for size, is_mirrored in shows:
        logits_of = Windows(network, raster, size, is_mirrored, told)
        is_whole = _fits(size, window)
        views.append(
            logits_of(Box(0, 0, *size)) if is_whole else Blended(size, window, logits_of, align_corners=align_corners)
        )
    windows = [view for view in views if isinstance(view, Blended)]
    panels = list(_panels(windows, width))
    parts = (columns_of(view, width, columns, align_corners)[0] for view in windows for columns in panels)
    total = sum(part.windows for part in parts if isinstance(part, Blended))
    for columns in panels:
        strips = blended_strips(
            views, raster.size, network.info.num_classes, columns, align_corners=align_corners,
            with_confidence=with_confidence,
        )  # fmt: skip
        for top, decision in _in_blocks(strips, height):
            yield Box(top, columns[0], *decision.mask.shape), decision


def _fits(size: tuple[int, int], window: Window) -> bool:
    return window[0] >= size[0] and window[1] >= size[1]


def _refuse_masks(network: Network, raster: Raster) -> None:
    if network.gives == "mask":
        height, width = raster.size
        raise ConfigError(
            f"{raster.name} ({width}x{height} px, width x height) needs windows, and the model gives masks, which "
            "cannot be blended",
            fix="export it with logits as its output",
        )


def _panels(views: Sequence[Blended], width: int) -> Iterator[tuple[int, int]]:
    """First and end columns of the panels: one, unless the raster is very wide or a window has very many logits.

    Two rows of windows are kept at a time. The windows at a border between panels are predicted for both.
    """
    kept = sum(2 * len(view.lefts) * view.logits_of(view.bands[0][0]).nbytes for view in views)
    blocks = -(-width // BLOCK)
    panels = max(-(-kept // _KEPT), -(-width // _WIDEST))
    step = -(-blocks // min(blocks, panels)) * BLOCK
    for start in range(0, width, step):
        yield start, min(start + step, width)


def _in_blocks(strips: Iterable[tuple[slice, Decision]], height: int) -> Iterator[tuple[int, Decision]]:
    """Rows handed out by the block: the first row of each, and what is decided of it."""
    top, kept = 0, list[Decision]()
    for rows, decision in strips:
        kept.append(decision)
        if rows.stop - top >= BLOCK or rows.stop == height:
            joined = _joined(kept)
            stop = rows.stop if rows.stop == height else rows.stop - (rows.stop - top) % BLOCK
            for start in range(top, stop, BLOCK):
                yield start, _rows_of(joined, start - top, min(start + BLOCK, stop) - top)
            kept, top = [_rows_of(joined, stop - top, rows.stop - top)], stop


def _joined(parts: Sequence[Decision]) -> Decision:
    confidences = [part.confidence for part in parts if part.confidence is not None]
    return Decision(np.concatenate([part.mask for part in parts]), np.concatenate(confidences) if confidences else None)


def _rows_of(decision: Decision, start: int, stop: int) -> Decision:
    return Decision(decision.mask[start:stop], None if decision.confidence is None else decision.confidence[start:stop])
