"""The network run by torch: devices, precision, memory order. The only file here that needs torch."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray

from segwright.errors import ConfigError, RunError
from segwright.models import SegmentationModel

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchNetwork:
    """A :class:`SegmentationModel` in evaluation mode on a device.

    Args:
        model: moved to the device and put into evaluation mode, where it stays.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32``; ``bf16`` (convolutions in bfloat16, weights stay float32); or ``auto``, which never trades
            accuracy without saying so and is fp32 everywhere. On CUDA torch's own settings for TF32 apply.

    Raises:
        ConfigError: a device that is not there, an unknown precision, or a model without ``info``.
    """

    def __init__(self, model: SegmentationModel, *, device: str = "auto", precision: str = "auto") -> None:
        if precision not in ("auto", *PRECISIONS):
            raise ConfigError(f"unknown precision '{precision}'", fix=f"choose one of: auto, {', '.join(PRECISIONS)}")
        if not hasattr(model, "info"):
            raise ConfigError(
                f"the {type(model).__name__} knows neither its classes nor its preprocessing (model.info)",
                fix="make it with create_model or load_model",
            )
        self.info, self.align_corners = model.info, model.align_corners
        self.precision = "fp32" if precision == "auto" else precision
        self.device = choose_device(device)
        # Convolutions on the CPU are up to 1.5 times as fast with the channels last.
        self.memory_format = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        self.model: SegmentationModel = model.to(self.device).eval()
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]  # torch types no such call

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, H, W) preprocessed -> (N, num_classes, h, w) float32.

        Raises:
            RunError: the picture does not fit into the GPU's memory.
        """
        batch = torch.from_numpy(images).to(self.device).contiguous(memory_format=self.memory_format)
        try:
            with torch.inference_mode(), self._autocast():
                logits = self.model.strided_logits(batch).logits
        except torch.OutOfMemoryError as reason:
            height, width = images.shape[-2:]
            raise RunError(
                f"a picture of {height} x {width} (height x width) does not fit into the memory of {self.device}",
                fix="predict in windows (window=(1024, 1024), --window 1024 1024) or on the CPU",
            ) from reason
        scores: NDArray[np.float32] = logits.float().cpu().numpy()
        return scores

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)


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
