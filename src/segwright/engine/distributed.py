"""Device and precision through Accelerate, and what processes exchange while they train."""

import logging
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, broadcast_object_list
from torch import Tensor, nn

from segwright.config import TrainSettings
from segwright.engine.processes import process_count
from segwright.errors import ConfigError
from segwright.inference.torch_network import choose_device
from segwright.layers.sharing import Sharing
from segwright.metrics import ConfusionMatrix
from segwright.types import SegmentationOutput

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")


class StridedNetwork(nn.Module):
    """A network whose forward ends at its own stride; the loss resizes what it needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> SegmentationOutput:
        return self.model.strided_logits(images)  # type: ignore[operator, no-any-return]


def cpu_computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16 products (AVX-512 BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))


def pick_precision(precision: str, device: str) -> str:
    """``auto`` as bf16 where ``device`` has instructions for it, else fp32.

    Raises:
        ConfigError: fp16 on the CPU, whose gradients would need scaling that only CUDA has.
    """
    if precision == "fp16" and not device.startswith("cuda"):
        raise ConfigError(f"precision fp16 does not train on {device}", fix="use bf16 or fp32")
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device == "cpu" and cpu_computes_bf16() else "fp32"


def build_accelerator(settings: TrainSettings) -> Accelerator:
    """Accelerate for a device and precision that are already picked.

    Raises:
        ConfigError: this machine lacks the device, as when a run is resumed elsewhere.
    """
    device = choose_device(settings.device)
    if device.index is not None and process_count() == 1:
        torch.cuda.set_device(device)  # Accelerate takes the current one
    if settings.threads:
        torch.set_num_threads(settings.threads)
    AcceleratorState._reset_state(reset_partial_state=True)  # else a second run could not have another precision
    return Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision="no" if settings.precision == "fp32" else settings.precision,
        gradient_accumulation_steps=settings.accumulate,
    )


def device_name(accelerator: Accelerator) -> str:
    """As :func:`choose_device` knows it; with several processes Accelerate calls the CPU ``cpu:0``."""
    return "cpu" if accelerator.device.type == "cpu" else str(accelerator.device)


def sharing_of(accelerator: Accelerator) -> Sharing | None:
    """How the processes share each batch; ``None`` for a single one."""
    if accelerator.num_processes == 1:
        return None
    return Sharing(accelerator.process_index, accelerator.num_processes, gather)


def gather(tensor: Tensor) -> Tensor:
    """A tensor of one shape in all processes to those of all, (processes, ...)."""
    found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(found, tensor.contiguous())
    return torch.stack(found)


def same_everywhere(thing: Thing, accelerator: Accelerator) -> Thing:
    """The main process's object, in every process."""
    things = [thing]
    if accelerator.num_processes > 1:
        broadcast_object_list(things)
    return things[0]


def mean_over_processes(values: tuple[float, float], accelerator: Accelerator) -> tuple[float, float]:
    """The mean of what each process measured, the same number in all."""
    if accelerator.num_processes == 1:
        return values
    first, second = accelerator.reduce(torch.tensor(values, device=accelerator.device), "mean").tolist()
    return first, second


def mean_losses(losses: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Each loss's mean over the processes: the loss of their shared batch. Without gradients."""
    detached = {name: loss.detach() for name, loss in losses.items()}
    if accelerator.num_processes == 1:
        return detached
    means = accelerator.reduce(torch.stack(list(detached.values())), "mean")
    return dict(zip(detached, means, strict=True))


def in_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is set in at least one process; a reduction of one number where there are several."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(int(flag), device=accelerator.device), "sum") > 0)


def share_statistics(model: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the main one's running statistics.

    Without synchronised batch normalisation each process has those of its own batches, and a validation that is
    shared out would be of several networks.
    """
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))


def sum_over_processes(matrix: ConfusionMatrix, accelerator: Accelerator) -> None:
    """One reduction of one int64 tensor; nothing to do for a single process."""
    if accelerator.num_processes > 1:
        matrix.all_reduce(lambda tensor: accelerator.reduce(tensor.to(accelerator.device), "sum"))
