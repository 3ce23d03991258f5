"""What one picture costs a network, counted operation by operation on the meta device, where nothing is computed."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from segwright.info import ModelInfo
from segwright.models.segmentation_model import build_model


class Operation(NamedTuple):
    """A convolution or a matrix product.

    Args:
        flops: additions and multiplications.
        values: numbers that it reads (maps and weights) and writes.
    """

    flops: int
    values: int


@dataclass(frozen=True)
class Cost:
    """Of one picture in evaluation.

    Args:
        params: parameters that take part; heads that only train are left out.
        operations: convolutions and matrix products, in order.
    """

    params: int
    operations: tuple[Operation, ...]

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds."""
        return sum(operation.flops for operation in self.operations) / 2e9


def count_cost(info: ModelInfo, size: tuple[int, int]) -> Cost:
    """Count a network for a picture of (height, width), up to the logits at its own stride.

    Raises:
        ConfigError: no network of that name and options is known here.
    """
    with torch.device("meta"):
        model = build_model(info.name, info.num_classes, info.options).eval()
        images = torch.empty(1, model.in_channels, *info.preprocessing.size_of(size))
    recorder = _Recorder(model)
    with torch.no_grad(), recorder:
        model.strided_logits(images)
    return Cost(sum(recorder.used.values()), tuple(recorder.operations))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it not
    """Notes which parameters are read, and what torch's own formulas say of each operation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.used: dict[int, int] = {}
        self.operations: list[Operation] = []
        self._parameters = {id(parameter): parameter.numel() for parameter in model.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        read = [value for value in pytree.tree_leaves((args, kwargs or {})) if isinstance(value, Tensor)]
        self.used |= {id(value): value.numel() for value in read if id(value) in self._parameters}
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            written = [value for value in pytree.tree_leaves(output) if isinstance(value, Tensor)]
            flops = int(formula(*args, **(kwargs or {}), out_val=output))
            self.operations.append(Operation(flops, sum(value.numel() for value in (*read, *written))))
        return output
