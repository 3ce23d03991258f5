"""What a batch needs of a device's memory, measured on one picture before the run, and what is free there."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segwright.config import Config, with_settings
from segwright.data import SegmentationData
from segwright.engine.build import build_loss, build_network
from segwright.engine.distributed import StridedNetwork
from segwright.engine.recovery import memory_suffices
from segwright.inference.torch_network import choose_device
from segwright.zoo import load_model

BACKWARD_FACTOR = 2.0
"""Need of a step over what its forward pass keeps; at most 1.84 was seen (``benchmarks/batch_memory.py``)."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class MemoryNeed:
    """What a training step needs of the device's memory, in bytes.

    Args:
        fixed: weights, gradients, the optimizer's state and the average, and the weights of a teacher.
        per_picture: what one crop adds.
    """

    fixed: int
    per_picture: int


def measure_need(config: Config, data: SegmentationData) -> MemoryNeed:
    """Run the network and its loss forward on one crop, on the run's device, and add up what autograd keeps.

    Args:
        config: with device, precision and crop size chosen.
        data: for its number of classes.

    Raises:
        RunError: not even one crop fits.
    """
    train, size = config.train, config.data.crop_size
    assert size is not None, "make_plan chooses the crop size first"
    device = choose_device(train.device)
    plain = with_settings(config, {"loss.class_weights": "none"})  # they need the pixel counts, and no memory
    model = build_network(plain, data, weights=None).to(device).train()
    loss = build_loss(plain, model, data, None, device)
    images = torch.randn(1, model.in_channels, *size, device=device)
    masks = torch.randint(len(data.classes), (1, *size), device=device)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # views of one storage are kept once
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    precision = torch.autocast(device.type, DTYPES.get(train.precision), enabled=train.precision in DTYPES)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with memory_suffices(f"measuring what a crop of {size[0]}x{size[1]} needs"), hooks, precision:
        graph = loss(StridedNetwork(model)(images), masks)  # as long as it lives, no address is used twice
        teacher = _need_of_teacher(config, device)  # it looks on before the backward pass
    needed = sum(kept.values())
    del graph
    moments = 1 if train.optimizer == "sgd" else 2
    fixed = _weights(model) * (2 + moments + (train.ema is not None))
    return MemoryNeed(fixed + teacher.fixed, max(int(BACKWARD_FACTOR * needed), needed + teacher.per_picture))


def _need_of_teacher(config: Config, device: torch.device) -> MemoryNeed:
    """Its weights, and twice the most that one of its layers reads and writes."""
    if config.model.teacher is None:
        return MemoryNeed(0, 0)
    model = load_model(config.model.teacher).to(device).eval()
    largest = 0

    def look(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        maps = (tensor for tensor in (*inputs, output) if isinstance(tensor, Tensor))
        largest = max(largest, sum(tensor.nbytes for tensor in maps))

    for module in model.modules():
        if not any(module.children()):
            module.register_forward_hook(look)
    assert config.data.crop_size is not None
    with torch.no_grad():
        model.strided_logits(torch.randn(1, model.in_channels, *config.data.crop_size, device=device))
    return MemoryNeed(_weights(model), 2 * largest)


def _weights(model: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still have on a device; ``None`` where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # else what this process no longer uses would count as taken
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_main_memory()


def free_main_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that are free, within this container's limit; ``None`` where the system does not tell.

    Args:
        root: of the file system.
    """
    found = []
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        texts = [_read(root / "sys/fs/cgroup" / name).strip() for name in (limit, used)]
        if all(text.isdecimal() for text in texts):  # "max" where there is no limit
            found.append(max(0, int(texts[0]) - int(texts[1])))
    return min(found, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
