"""What a network does in evaluation: which modules and parameters take part, and what reads a convolution's output."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from segwright.models import SegmentationModel


@dataclass(frozen=True)
class Trace:
    """What evaluation runs of one network did.

    Attributes:
        images: of each run.
        logits: of each run.
        dead: names of the outermost modules that hold parameters and had no part in any run.
        folds: convolution -> the normalisation that is the only reader of its output, in every call of either.
        map_sizes: convolution -> (height, width) of its input in the first run.
    """

    images: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]
    dead: tuple[str, ...]
    folds: Mapping[nn.Conv2d, _BatchNorm]
    map_sizes: Mapping[nn.Conv2d, tuple[int, int]]


@torch.inference_mode(False)  # in which operations would pass by unseen
def trace(model: SegmentationModel, sizes: Iterable[tuple[int, int]]) -> Trace:
    """Run a network on noise of some sizes and look on.

    Args:
        model: in evaluation mode.
        sizes: (height, width) of the images; what depends on the size is only seen at these.
    """
    like = next(model.parameters())
    noise = torch.Generator().manual_seed(0)
    images = tuple(torch.randn(1, model.in_channels, *size, generator=noise).to(like) for size in sizes)
    recorder, called = _Recorder(), set[nn.Module]()
    logits: list[Tensor] = []
    with ExitStack() as stack:
        for module in model.modules():
            handle = module.register_forward_pre_hook(lambda module, inputs: called.add(module))
            stack.callback(handle.remove)
        stack.enter_context(torch.no_grad())
        for picture in images:
            with recorder:
                output = model.strided_logits(picture)
            recorder.count(pytree.tree_leaves(output))  # to leave the network is to be read too
            logits.append(output.logits)
    convs = {id(conv.weight): conv for conv in model.modules() if isinstance(conv, nn.Conv2d)}
    sizes_by_conv = {convs[weight]: size for weight, size in recorder.map_sizes.items() if weight in convs}
    dead = tuple(_dead(model, "", called, recorder.reads))
    return Trace(images, tuple(logits), dead, _folds(model, convs, recorder), sizes_by_conv)


@dataclass
class _Convolution:
    """One call of a convolution: its tensors are kept, so that no other takes their ids."""

    output: Tensor
    weight: Tensor
    bias: Tensor | None
    read_by: list[Tensor | None] = field(default_factory=list)
    """Per operation that reads the output: the running mean of the normalisation that it is, else None."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it not
    """Counts how often each tensor is read, and follows the outputs of convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: Counter[int] = Counter()
        self.convolutions: list[_Convolution] = []
        self.map_sizes: dict[int, tuple[int, int]] = {}
        self._by_output: dict[int, _Convolution] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, which takes a second, only to keep it away from here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count(pytree.tree_leaves((args, kwargs or {})), _statistics(func, args))
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self._by_output[id(output)] = call = _Convolution(output, args[1], args[2])
            self.convolutions.append(call)
            self.map_sizes.setdefault(id(args[1]), (args[0].shape[-2], args[0].shape[-1]))
        return output

    def count(self, values: Iterable[object], statistics: Tensor | None = None) -> None:
        """Note that an operation reads these values."""
        for value in values:
            if isinstance(value, Tensor):
                self.reads[id(value)] += 1
                if id(value) in self._by_output:
                    self._by_output[id(value)].read_by.append(statistics)


def _statistics(func: Any, args: Any) -> Tensor | None:
    """The running mean of a batch normalisation, whose arguments begin with input, weight, bias, mean, variance."""
    is_norm = "batch_norm" in func.overloadpacket.__name__ and len(args) > 4
    return args[3] if is_norm and isinstance(args[3], Tensor) else None


def _dead(module: nn.Module, name: str, called: set[nn.Module], reads: Counter[int]) -> Iterable[str]:
    """Names of the outermost modules below ``module`` that hold parameters and had no part."""
    for key, child in module.named_children():
        path = f"{name}.{key}" if name else key
        parameters = list(child.parameters())
        took_part = called.intersection(child.modules()) or any(reads[id(parameter)] for parameter in parameters)
        if parameters and not took_part:
            yield path
        else:
            yield from _dead(child, path, called, reads)


def _folds(model: nn.Module, convs: Mapping[int, nn.Conv2d], recorder: _Recorder) -> Mapping[nn.Conv2d, _BatchNorm]:
    """Convolutions whose outputs one normalisation reads, and nothing else.

    Left out are weights that several modules or operations share, and normalisations that also read other maps.
    """
    norms = {id(norm.running_mean): norm for norm in model.modules() if isinstance(norm, _BatchNorm)}
    owners = Counter(id(value) for module in model.modules() for value in module._parameters.values())
    calls: defaultdict[nn.Conv2d, list[_Convolution]] = defaultdict(list)
    for call in recorder.convolutions:
        conv = convs.get(id(call.weight))
        if conv is not None and call.bias is conv.bias:
            calls[conv].append(call)
    pairs: dict[nn.Conv2d, _BatchNorm] = {}
    for conv, outputs in calls.items():
        readers = {id(mean) if mean is not None else None for call in outputs for mean in call.read_by}
        norm = norms.get(readers.pop() or 0) if len(readers) == 1 else None
        tensors = [conv.weight, *([] if conv.bias is None else [conv.bias])]
        is_own = all(recorder.reads[id(tensor)] == len(outputs) and owners[id(tensor)] == 1 for tensor in tensors)
        is_only = all(len(call.read_by) == 1 for call in outputs)
        if norm is not None and is_own and is_only and recorder.reads[id(norm.running_mean)] == len(outputs):
            pairs[conv] = norm
    return pairs
