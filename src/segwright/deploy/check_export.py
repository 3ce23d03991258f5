"""Whether an exported file computes what its network computes, at sizes other than the traced one."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segwright.data.synthetic import draw_scene
from segwright.errors import RunError
from segwright.inference.network import Network
from segwright.info import Preprocessing
from segwright.models import SegmentationModel
from segwright.runtime import preprocess, read_picture, resize_argmax
from segwright.runtime.bands import BandArray
from segwright.runtime.bilinear import resize
from segwright.runtime.exported import Precision

FloatArray = NDArray[np.float32]

CHECK_SHAPES = ((1, 160, 224), (2, 161, 225), (1, 97, 334), (2, 129, 75))
"""Batch, height and width of the pictures: multiples of no stride, of all of them, and broad and tall ones."""

OWN_PICTURES = 3
"""Of the user's pictures so many are also compared at their own size."""

LARGEST_DIFFERENCE = 1e-3
"""Of float32 logits, as a share of their standard deviation. All networks here were between 1e-6 and 3e-5; graphs whose
pooling was frozen at the traced size, between 3e-2 and 1e33."""

LEAST_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "bf16": 0.97, "int8": 0.95}
"""Share of pixels of the same class as with float32. In float32 only near ties may differ. Fewer bits move pixels at
the borders of classes, which are a few percent of a picture; where labels are given, the mIoU decides instead."""


@dataclass(frozen=True)
class Compared:
    """A file beside its network, on pictures of one size.

    Args:
        size: (height, width) of the pictures.
        batch: how many at once.
        difference: largest of the logits' differences, as a share of their standard deviation; None of masks.
        agreement: share of the pixels (0..1) of the same class.
    """

    size: tuple[int, int]
    batch: int
    difference: float | None
    agreement: float

    def to_json(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "batch": self.batch,
            "difference": self.difference,
            "agreement": self.agreement,
        }


def check_pictures(preprocessing: Preprocessing, files: Sequence[Path] = ()) -> list[BandArray]:
    """Batches of pictures to compare on, (N, H, W, 3) uint8 or (N, H, W, bands): the user's, or drawn ones.

    Args:
        preprocessing: of the network.
        files: the user's pictures, at :data:`CHECK_SHAPES` and some at their own size.

    Raises:
        DataError: a picture that cannot be read.
    """
    if not files:
        return [
            np.stack([drawn_picture(preprocessing, (height, width), seed) for seed in range(batch)])
            for batch, height, width in CHECK_SHAPES
        ]
    bands = preprocessing.bands
    turns = itertools.cycle(evenly(files, 2 * len(CHECK_SHAPES)))
    batches = [
        np.stack([_at_size(read_picture(next(turns), bands), (height, width)) for _ in range(batch)])
        for batch, height, width in CHECK_SHAPES
    ]
    return [*batches, *(read_picture(file, bands)[None] for file in evenly(files, OWN_PICTURES))]


def drawn_picture(preprocessing: Preprocessing, size: tuple[int, int], seed: int) -> BandArray:
    """A street scene for a network of 8-bit RGB; for one of bands smooth noise of their mean and deviation.

    Args:
        preprocessing: of the network.
        size: (height, width).
        seed: of the drawing.
    """
    bands, dtype = preprocessing.bands, np.dtype(preprocessing.dtype or np.float32)
    if bands is None:
        return draw_scene(seed, size)[0]
    coarse = np.random.default_rng(seed).standard_normal((bands, *(side // 8 + 2 for side in size)), np.float32)
    noise = np.moveaxis(resize(coarse, size), 0, -1)
    mean, std = np.array(preprocessing.mean, np.float32), np.array(preprocessing.std, np.float32)
    values = np.float32(preprocessing.unit) * (mean + std * noise)
    return (values if dtype.kind == "f" else values.clip(0, np.iinfo(dtype).max).round()).astype(dtype)


def _at_size(picture: BandArray, size: tuple[int, int]) -> BandArray:
    """A picture at another size: 8-bit RGB smoothly, anything else by its nearest pixels."""
    if picture.dtype == np.uint8 and picture.shape[2] == 3:
        return np.asarray(Image.fromarray(picture).resize(size[::-1]))
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, picture.shape[:2], strict=True))
    near: BandArray = picture[rows][:, columns]
    return near


def evenly(files: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of the files, evenly spaced."""
    if len(files) <= count:
        return list(files)
    return [files[index * len(files) // count] for index in range(count)]


def compare(network: Network, model: SegmentationModel, pictures: Iterable[BandArray]) -> list[Compared]:
    """Run a file and its network side by side.

    Args:
        network: the file, ready to run.
        model: in evaluation mode, on the CPU.
        pictures: (N, H, W, channels) each.

    Raises:
        RunError: the file fails, or gives something of another shape, or no numbers.
    """
    return [_compare(network, model, batch) for batch in pictures]


def _compare(network: Network, model: SegmentationModel, pixels: BandArray) -> Compared:
    size = (pixels.shape[1], pixels.shape[2])
    images = np.stack([preprocess(picture, model.info.preprocessing) for picture in pixels])
    with torch.inference_mode():
        wanted: FloatArray = model.strided_logits(torch.from_numpy(images)).logits.numpy()
    result = network.run(np.ascontiguousarray(pixels) if network.takes == "pixels" else images)
    where = f"at {size[0]} x {size[1]} (height x width), batch {len(pixels)}"
    shape = wanted.shape if network.gives == "logits" else (len(pixels), *size)
    if result.shape != shape:
        raise wrong(f"it gives {network.gives} of shape {result.shape} and not {shape} {where}")
    if not np.isfinite(result).all():
        raise wrong(f"it gives values that are no numbers {where}")
    expected = masks_of(wanted, size, model.align_corners)
    if network.gives == "mask":
        return Compared(size, len(pixels), None, float((result == expected).mean()))
    logits = np.asarray(result, np.float32)
    agreement = float((masks_of(logits, size, model.align_corners) == expected).mean())
    return Compared(size, len(pixels), float(np.abs(logits - wanted).max()) / _scale(wanted), agreement)


def masks_of(logits: FloatArray, size: tuple[int, int], align_corners: bool) -> NDArray[Any]:
    """(N, C, h, w) -> (N, H, W), decided as the predictor does."""
    return np.stack([resize_argmax(scores, size, align_corners=align_corners).mask for scores in logits])


def _scale(logits: FloatArray) -> float:
    """Their standard deviation; a thousandth of the largest where they hardly vary, as float32 rounds them by that."""
    return float(max(logits.std(), 1e-3 * np.abs(logits).max(), np.finfo(np.float32).tiny))


def wrong(what: str) -> RunError:
    """The error for a file that is not kept."""
    return RunError(
        f"the exported network is wrong: {what}; nothing was kept",
        fix="export to the other format, or run the model file itself; please report it with the model's name",
    )


def judge(compared: Sequence[Compared], precision: Precision, *, has_labels: bool) -> None:
    """Refuse a file that computes something else.

    Args:
        compared: at all sizes.
        precision: of the file.
        has_labels: whether the mIoU decides over a file of fewer bits.

    Raises:
        RunError: says at which size and how far off.
    """
    for one in compared:
        where = f"at {one.size[0]} x {one.size[1]} (height x width), batch {one.batch}"
        if precision == "fp32" and one.difference is not None and not one.difference <= LARGEST_DIFFERENCE:
            raise wrong(
                f"{where} its logits differ from the network's by {one.difference:.2g} of their standard deviation "
                f"(allowed: {LARGEST_DIFFERENCE:g}), and {100 * one.agreement:.2f} % of the pixels have its class"
            )
        if precision == "fp32" and one.agreement < LEAST_AGREEMENT["fp32"]:
            raise wrong(
                f"{where} only {100 * one.agreement:.2f} % of the pixels are of the network's class "
                f"(needed: {100 * LEAST_AGREEMENT['fp32']:g} %)"
            )
    agreement = mean_agreement(compared)
    if precision != "fp32" and not has_labels and agreement < LEAST_AGREEMENT[precision]:
        raise RunError(
            f"in {precision} only {100 * agreement:.2f} % of the pixels are of the class that float32 gives "
            f"(needed without labels: {100 * LEAST_AGREEMENT[precision]:g} %); nothing was kept",
            fix="give --check DATA with labels, whose mIoU then decides; or take --precision fp32",
        )


def mean_agreement(compared: Sequence[Compared]) -> float:
    """Share of all pixels of the same class."""
    pixels = [one.batch * one.size[0] * one.size[1] for one in compared]
    return float(np.average([one.agreement for one in compared], weights=pixels))


def largest_difference(compared: Sequence[Compared]) -> float | None:
    """Over all sizes; None of masks."""
    differences = [one.difference for one in compared if one.difference is not None]
    return max(differences) if differences else None
