"""One front for every model: from a picture of any size to the class of each of its pixels."""

import math
import time
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from segwright.errors import ConfigError
from segwright.inference.choosing import FEW, MANY, fastest
from segwright.inference.network import Network
from segwright.inference.result import Prediction
from segwright.inference.runtimes import Options, candidates
from segwright.inference.views import decide, first_batch
from segwright.runtime import Source, as_picture
from segwright.runtime.bands import BandArray
from segwright.runtime.exported import Exported

if TYPE_CHECKING:
    from segwright.models import SegmentationModel


class Predictor:
    """Turns pictures into masks.

    A model given as such is moved to the device and put into evaluation mode, where it stays; to predict during
    training, give a copy (the moving average of the weights, say).

    Args:
        model: a model; what ``load_model`` takes: a model file, a run folder, or a zoo id; or an exported file
            (``.onnx``, ``.xml``), which needs no torch.
        device: ``auto`` (cuda, mps or cpu, the first that is there) or a device's name, as ``cuda:1``. Exported files
            run on the CPU.
        runtime: what runs the network: ``torch``, ``compiled`` (``torch.compile``), or for exported files ``onnx`` or
            ``openvino``. ``auto`` takes what starts fastest, and for 64 pictures or more what is fastest in a short
            measurement at the first picture's size, which is remembered (see :meth:`expect`).
        precision: ``auto`` computes in float32 or, for an exported file, in what it was made for; ``fp32``, ``bf16``,
            ``fp16`` (GPUs) or ``int8`` (exported files). Fewer bits are faster where the hardware knows them, and may
            move a few pixels.
        tta: ``flip`` also predicts the mirrored picture and averages the probabilities.
        window: (height, width) of a sliding window, moved by about two thirds of itself; the logits of overlapping
            windows fade into each other. Clipped to smaller pictures. None shows the network the whole picture.
        confidence: also give the probability of each predicted class.
        scales: sizes of the picture, relative to its own, whose probabilities are averaged; the papers use 0.5 to
            1.75 in steps of 0.25. The picture is resized bilinearly without antialiasing, as in training.
        threads: to compute with on the CPU; all that this process may use unless given.

    Attributes:
        info: the model's classes, palette and preprocessing.
        precision: what the network computes in: ``fp32``, ``bf16``, ``fp16`` or ``int8``.

    Raises:
        ConfigError: an unknown runtime, device, precision or tta, or one that this model cannot do; a window that is
            not two whole numbers, or scales that are no list of positive numbers.
        MissingExtraError: torch, onnxruntime or openvino is needed and not installed.
        WeightsError: a model file that cannot be read.

    Example:
        >>> from segwright.models.segmentation_model import build_model
        >>> predictor = Predictor(build_model("fast_scnn", 5, {}), device="cpu")
        >>> result = predictor(np.zeros((48, 64, 3), np.uint8))
        >>> result.mask.shape, result.mask.dtype.name, predictor.runtime
        ((48, 64), 'uint8', 'torch')
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
        threads: int | None = None,
    ) -> None:
        _check_options(tta, window, scales)
        self.tta, self.scales, self.confidence = tta, tuple(scales), confidence
        self.window = None if window is None else (int(window[0]), int(window[1]))
        self._options = Options(device, precision, threads)
        self._ways, self._path = candidates(model, runtime, self._options)
        self.network: Network = self._ways[0].start()
        self.info, self.precision = self.network.info, self.network.precision
        self._pictures, self._are_few = 0, False
        self._reason = "starts fastest" if len(self._ways) > 1 else ""
        self._check_network()

    @property
    def runtime(self) -> str:
        """What runs the network; never ``auto``."""
        return self.network.runtime

    def describe(self) -> str:
        """What runs the network in which precision, and why."""
        exported: Exported | None = getattr(self.network, "exported", None)
        reasons = [self._reason] if self._reason else []
        if exported and exported.argmax_agreement is not None and self.precision == exported.precision != "fp32":
            share = f"{100 * exported.argmax_agreement:.2f} %"
            reasons.insert(0, f"{share} of the pixels as in fp32, measured at export")
        return f"{self.runtime}, {self.precision}" + (f" ({'; '.join(reasons)})" if reasons else "")

    def expect(self, pictures: int) -> None:
        """Say how many pictures will come, if they come one by one.

        With 64 or more and several runtimes to choose from, ``runtime="auto"`` runs each of them four times on the
        first picture and takes the fastest; the result is kept per machine, model and size of picture in
        ``$SEGWRIGHT_CACHE/runtimes`` or ``~/.cache/segwright/runtimes``. A runtime that compiles for a minute is
        tried only where the pictures take five minutes or more. A list that is given at once needs no such call.

        Below 4, torch runs a model file as it was trained; otherwise what only trains is taken out and normalisations
        are folded into convolutions before the first picture, which takes as long as it saves on a few pictures.
        """
        self._pictures, self._are_few = pictures, pictures < FEW

    @overload
    def __call__(self, source: Source) -> Prediction: ...  # type: ignore[overload-overlap]  # a str is one path
    @overload
    def __call__(self, source: Sequence[Source]) -> list[Prediction]: ...
    def __call__(self, source: Source | Sequence[Source]) -> Prediction | list[Prediction]:
        """The mask of a picture, or of each in a list.

        Args:
            source: path, PIL image, or uint8 array: (H, W, 3) in RGB or (H, W) in grey; for a network of bands
                (H, W, bands) of the kind of values it was trained on. A list of them gives a list; the results keep
                their pictures, so go through very many one by one.

        Raises:
            DataError: a picture that cannot be read.
            ShapeError: an array that is no picture.
            RunError: a picture that does not fit into the memory, or an exported network that fails at its size.
        """
        if isinstance(source, list | tuple):
            self._pictures = max(self._pictures, len(source))
            return [self._predict(picture) for picture in source]
        return self._predict(source)  # type: ignore[arg-type]

    def _predict(self, source: Source) -> Prediction:
        start = time.perf_counter()
        image = as_picture(source, self.info.preprocessing.bands)
        self.prepare(image)
        mask, confidence = decide(
            self.network, image, scales=self.scales, flip=self.tta == "flip", window=self.window,
            confidence=self.confidence,
        )  # fmt: skip
        milliseconds = (time.perf_counter() - start) * 1000
        return Prediction(mask, self.info.classes, self.info.palette, image, confidence, milliseconds)

    def prepare(self, image: BandArray, runs: int = 1) -> None:
        """Before the network sees a picture: rewrite it, and take the fastest runtime, where the work is long enough.

        Args:
            image: of the size in work.
            runs: of the network that this picture takes.
        """
        make_lean = getattr(self.network, "make_lean", None)
        if make_lean is not None and (runs >= FEW or not self._are_few):
            make_lean()
        runs = max(runs, self._pictures)
        if runs >= MANY and len(self._ways) > 1:
            self._settle(image, runs)

    def _settle(self, image: BandArray, runs: int) -> None:
        """Take the fastest way to run the network at this size."""
        ways, self._ways = self._ways, []
        if self._path is not None:
            batch = first_batch(self.network, image, self.window)
            self.network, times = fastest(ways, self.network, batch, runs, self._path, self._options)
            measured = [f"{name} {value:.1f} ms" for name, value in times.items() if value is not None]
            self._reason = f"measured: {', '.join(measured)}"

    def _check_network(self) -> None:
        """Refuse what an exported file that decides by itself leaves no room for."""
        is_plain = self.scales == (1.0,)
        if self.network.gives == "mask" and not (
            is_plain and self.tta is None and not self.window and not self.confidence
        ):
            raise ConfigError(
                f"'{self._path}' gives masks, so there are no scores to average or to take a confidence from",
                fix="leave scales, flip, window and confidence out, or export it with logits as its output",
            )
        if self.network.takes == "pixels" and not is_plain:
            raise ConfigError(
                f"'{self._path}' takes pixels as decoded, which cannot be scaled without rounding",
                fix="leave scales out, or export it with images as its input",
            )


def _check_options(tta: object, window: object, scales: object) -> None:
    """Whatever was given, in words or from a script without types."""
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
