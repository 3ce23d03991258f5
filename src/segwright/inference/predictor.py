"""One front for every model: from a picture of any size to the class of each of its pixels."""

import math
import time
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ConfigError, MissingExtraError
from segwright.inference.network import Network
from segwright.inference.result import Prediction
from segwright.runtime import Decision, Source, as_image, mean_argmax, preprocess, resize_argmax
from segwright.runtime.decide import resize
from segwright.runtime.tiles import window_boxes

if TYPE_CHECKING:
    from segwright.models import SegmentationModel

FloatArray = NDArray[np.float32]

RUNTIMES = ("torch",)


class Predictor:
    """Turns pictures into masks.

    The model is moved to the device and put into evaluation mode, where it stays; to predict during training, give a
    copy (the moving average of the weights, say).

    Args:
        model: a model, or what ``load_model`` takes: a model file, a run folder, or a zoo id.
        device: ``auto`` (cuda, mps or cpu, the first that is there) or a device's name, as ``cuda:1``.
        runtime: what runs the network: ``auto`` or ``torch``.
        precision: ``auto`` and ``fp32`` compute in float32; ``bf16`` is faster where the hardware knows it, and may
            move a few pixels.
        tta: ``flip`` also predicts the mirrored picture and averages the probabilities.
        window: (height, width) of a sliding window, moved by two thirds of itself; the logits of overlapping windows
            are averaged. Clipped to smaller pictures. None shows the network the whole picture.
        confidence: also give the probability of each predicted class.
        scales: sizes of the picture, relative to its own, whose probabilities are averaged; the papers use 0.5 to
            1.75 in steps of 0.25. The picture is resized bilinearly without antialiasing, as in training.

    Attributes:
        info: the model's classes, palette and preprocessing.
        precision: what the network computes in: ``fp32`` or ``bf16``.

    Raises:
        ConfigError: an unknown runtime, device, precision or tta, a window that is not two whole numbers, or scales
            that are no list of positive numbers.
        MissingExtraError: torch is not installed.
        WeightsError: a model file that cannot be read.

    Example:
        >>> from segwright.models.segmentation_model import build_model
        >>> predictor = Predictor(build_model("fast_scnn", 5, {}), device="cpu")
        >>> result = predictor(np.zeros((48, 64, 3), np.uint8))
        >>> result.mask.shape, result.mask.dtype.name
        ((48, 64), 'uint8')
    """

    def __init__(
        self,
        model: "SegmentationModel | str | Path",
        device: str = "auto",
        runtime: str = "auto",
        precision: str = "auto",
        tta: Literal["flip"] | None = None,
        window: tuple[int, int] | None = None,
        confidence: bool = False,
        *,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        _check_options(runtime, tta, window, scales)
        self.tta, self.window, self.scales, self.confidence = tta, window, tuple(scales), confidence
        self.network: Network = _torch_network(model, device, precision)
        self.info, self.precision = self.network.info, self.network.precision

    @overload
    def __call__(self, source: Source) -> Prediction: ...  # type: ignore[overload-overlap]  # a str is one path
    @overload
    def __call__(self, source: Sequence[Source]) -> list[Prediction]: ...
    def __call__(self, source: Source | Sequence[Source]) -> Prediction | list[Prediction]:
        """The mask of a picture, or of each in a list.

        Args:
            source: path, PIL image, or uint8 array: (H, W, 3) in RGB or (H, W) in grey. A list of them gives a list;
                the results keep their pictures, so go through very many one by one.

        Raises:
            DataError: a picture that cannot be read.
            ShapeError: an array that is no picture.
            RunError: a picture that does not fit into the GPU's memory.
        """
        if isinstance(source, list | tuple):
            return [self._predict(picture) for picture in source]
        return self._predict(source)  # type: ignore[arg-type]

    def _predict(self, source: Source) -> Prediction:
        start = time.perf_counter()
        image = as_image(source)
        maps = self._maps(preprocess(image, self.info.preprocessing))
        mask, confidence = self._decide(maps, (image.shape[0], image.shape[1]))
        milliseconds = (time.perf_counter() - start) * 1000
        return Prediction(mask, self.info.classes, self.info.palette, image, confidence, milliseconds)

    def _decide(self, maps: Sequence[FloatArray], size: tuple[int, int]) -> Decision:
        align_corners = self.network.align_corners
        if len(maps) == 1:
            return resize_argmax(maps[0], size, align_corners=align_corners, with_confidence=self.confidence)
        return mean_argmax(maps, size, align_corners=align_corners, with_confidence=self.confidence)

    def _maps(self, image: FloatArray) -> list[FloatArray]:
        """Logits (C, h, w) of the preprocessed picture (3, H, W) at each scale, and of each mirrored one."""
        maps = []
        for scale in self.scales:
            height, width = (max(1, int(side * scale + 0.5)) for side in image.shape[1:])
            scaled = resize(image, (height, width))
            maps.append(self._logits(scaled))
            if self.tta == "flip":
                maps.append(self._logits(scaled[..., ::-1].copy())[..., ::-1])
        return maps

    def _logits(self, image: FloatArray) -> FloatArray:
        """(3, H, W) -> (C, h, w): at the network's stride, or at H x W where several windows were averaged."""
        size = (image.shape[1], image.shape[2])
        boxes = window_boxes(size, self.window or size)
        if len(boxes) == 1:
            whole: FloatArray = self.network.logits(image[None])[0]
            return whole
        scores = np.zeros((self.info.num_classes, *size), np.float32)
        visits = np.zeros(size, np.float32)
        for box in boxes:
            logits = self.network.logits(image[None, :, *box.place])[0]
            align_corners = self.network.align_corners
            scores[:, *box.place] += resize(logits, (box.height, box.width), align_corners=align_corners)
            visits[box.place] += 1
        return np.divide(scores, visits, out=scores)


def _check_options(runtime: object, tta: object, window: object, scales: object) -> None:
    """Whatever was given, in words or from a script without types."""
    if runtime not in ("auto", *RUNTIMES):
        raise ConfigError(f"unknown runtime '{runtime}'", fix=f"choose one of: auto, {', '.join(RUNTIMES)}")
    if tta not in (None, "flip"):
        raise ConfigError(f"unknown tta '{tta}'", fix="choose None or 'flip'; sizes are given as scales")
    sides = _numbers(window)
    if window is not None and not (len(sides) == 2 and all(side >= 1 and side == int(side) for side in sides)):
        raise ConfigError(
            f"window must be (height, width) in pixels, got {window}",
            fix="give two whole numbers >= 1, for example window=(512, 512)",
        )
    if not _numbers(scales) or min(_numbers(scales)) <= 0:
        raise ConfigError(
            f"scales must be a list of positive numbers, got {scales}",
            fix="give for example scales=(0.75, 1, 1.25); 1 is the picture's own size",
        )


def _numbers(values: object) -> list[float]:
    """The values of a list of finite numbers; none where it is anything else."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        return []
    are_numbers = all(isinstance(value, Real) and math.isfinite(value) for value in values)
    return list(values) if are_numbers else []


def _torch_network(model: "SegmentationModel | str | Path", device: str, precision: str) -> Network:
    try:
        from segwright.inference.torch_network import TorchNetwork  # torch is an extra

        return TorchNetwork(_loaded(model), device=device, precision=precision)
    except ModuleNotFoundError as reason:
        if reason.name != "torch":
            raise
        raise MissingExtraError(
            "running this model needs torch, which is not installed", fix='pip install "segwright[train]"'
        ) from reason


def _loaded(model: "SegmentationModel | str | Path") -> "SegmentationModel":
    if not isinstance(model, str | Path):
        return model
    from segwright.zoo import load_model  # needs torch

    return load_model(model)
