"""The network run by torch: devices, precision, memory order, compilation. Needs torch, as ``rewriting`` does."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segwright.errors import ConfigError, RunError
from segwright.inference.rewriting.rewrite import Step, rewrite, rewrites_of
from segwright.models import SegmentationModel
from segwright.runtime.exported import Batch, Input, Output
from segwright.runtime.machine import cpu_threads

_rewriting = threading.Lock()
logger = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchNetwork:
    """A :class:`SegmentationModel` in evaluation mode on a device.

    Args:
        model: moved to the device and put into evaluation mode, where it stays.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32``; ``bf16`` or, on a GPU, ``fp16`` (convolutions in it, weights stay float32); or ``auto``,
            which never trades accuracy without saying so and is fp32 everywhere. On CUDA torch's own settings for TF32
            apply.
        compiled: let ``torch.compile`` translate the network at the first picture, which takes a minute or more;
            once more at the first picture of another size, then for all sizes. On CUDA with CUDA graphs.
        threads: to compute with on the CPU, by the whole process; torch's own choice unless given.
        reload: reads the model anew; given where nobody else holds ``model``, so that it may be changed.

    Raises:
        ConfigError: a device that is not there, an unknown precision, threads below 1, or a model without ``info``.
    """

    takes: Input = "images"
    gives: Output = "logits"

    def __init__(
        self,
        model: SegmentationModel,
        *,
        device: str = "auto",
        precision: str = "auto",
        compiled: bool = False,
        threads: int | None = None,
        reload: Callable[[], SegmentationModel] | None = None,
    ) -> None:
        if not hasattr(model, "info"):
            raise ConfigError(
                f"the {type(model).__name__} knows neither its classes nor its preprocessing (model.info)",
                fix="make it with create_model or load_model",
            )
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.runtime = "compiled" if compiled else "torch"
        self.info, self.align_corners = model.info, model.align_corners
        if threads is not None:
            torch.set_num_threads(cpu_threads(threads))
        # On the CPU convolutions are up to 1.5 times as fast with the channels last; tensor cores want them so.
        is_channels_last = self.device.type == "cpu" or self.precision != "fp32"
        self.memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
        self.model, self._reload = self._placed(model), reload
        self.forward = self._compiled() if compiled else self._logits

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """(N, 3, H, W) float32, preprocessed -> logits (N, num_classes, h, w) float32.

        Raises:
            RunError: the picture does not fit into the memory, or the network cannot be compiled here.
        """
        try:
            images = torch.from_numpy(batch).to(self.device).contiguous(memory_format=self.memory_format)
            with torch.inference_mode(), self._autocast():
                logits = self.forward(images)
        except RuntimeError as reason:
            if not _tells_of_memory(reason):
                raise
            height, width = batch.shape[-2:]
            raise RunError(
                f"a picture of {height} x {width} (height x width) does not fit into the memory of {self.device}",
                fix="predict in windows (window=(1024, 1024), --window 1024 1024)"
                + ("" if self.device.type == "cpu" else " or on the CPU"),
            ) from reason
        scores: NDArray[np.float32] = logits.float().cpu().numpy()
        return scores

    def make_lean(self) -> None:
        """Before the first of several pictures: take out what only trains and fold normalisations into convolutions.

        The same logits but for rounding (1e-6 of the largest). It takes as long as it saves on one to ten pictures, so
        that it is not for a single one. A model that was handed over stays as it is.
        """
        steps: tuple[Step, ...] = ("drop", "fold", "pyramid")
        if self.memory_format is torch.channels_last:
            steps = (*steps, "channels_last")
        with _rewriting:
            if self._reload is None or rewrites_of(self.model) is not None:
                return
            try:
                rewrite(self.model, steps=steps, in_place=True)
            except RunError as reason:
                logger.warning("the network is run as it was trained: %s", reason.message)
                self.model, self._reload = self._placed(self._reload()), None

    def _placed(self, model: SegmentationModel) -> SegmentationModel:
        model.to(self.device).eval()
        return model.to(memory_format=self.memory_format)  # type: ignore[no-any-return, call-overload]  # so torch types it

    def _logits(self, images: Tensor) -> Tensor:
        return self.model.strided_logits(images).logits

    def _compiled(self) -> Callable[[Tensor], Tensor]:
        mode = "reduce-overhead" if self.device.type == "cuda" else None  # CUDA graphs
        compiled: Callable[[Tensor], Tensor] = torch.compile(self._logits, mode=mode)

        def forward(images: Tensor) -> Tensor:
            try:
                return compiled(images)
            except torch._dynamo.exc.TorchDynamoException as reason:
                raise RunError(
                    f"torch cannot compile this network here ({' '.join(str(reason).split())[:200]})",
                    fix="use --runtime torch; compiling for the CPU needs a C++ compiler",
                ) from reason

        return forward

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)


def _tells_of_memory(reason: RuntimeError) -> bool:
    """Whether there was too little of it; only CUDA has a class of its own for that."""
    words = ("out of memory", "allocate memory")
    return isinstance(reason, torch.OutOfMemoryError) or any(word in str(reason) for word in words)


def choose_precision(name: str, device: torch.device) -> str:
    """What torch computes in there; ``auto`` is fp32.

    Raises:
        ConfigError: unknown, or not on this device.
    """
    allowed = ["fp32", "bf16", *(["fp16"] if device.type != "cpu" else [])]
    if name in PRECISIONS and name not in allowed:
        raise ConfigError(f"precision {name} is for GPUs, the device is {device}", fix="choose bf16 or fp32")
    if name not in ("auto", *allowed):
        raise ConfigError(f"unknown precision '{name}'", fix=f"choose one of: auto, {', '.join(allowed)}")
    return "fp32" if name == "auto" else name


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the first that is there of cuda, mps and cpu.

    Raises:
        ConfigError: no such device on this machine.
    """
    there = _devices()
    if name != "auto" and name not in there:
        raise ConfigError(f"no device '{name}' on this machine", fix=f"choose one of: auto, {', '.join(there)}")
    return torch.device(there[0] if name == "auto" else name)


def _devices() -> list[str]:
    """Devices of this machine, the fastest first; ``cuda`` is torch's current one."""
    cards = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*(["cuda", *cards] if cards else []), *mps, "cpu"]
