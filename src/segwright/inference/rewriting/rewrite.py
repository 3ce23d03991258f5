"""A trained network rewritten for speed: the same logits from fewer and faster operations.

What is rewritten is found by watching an evaluation run, not by the networks' names, so that a new network needs
nothing for it.
"""

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from segwright.errors import ConfigError, RunError
from segwright.inference.rewriting.convolutions import PointwiseConv2d, ShiftedConv2d
from segwright.inference.rewriting.gain import LEAST_GAIN, gain_of_pointwise, gains_by_rate, smallest_paying_rate
from segwright.inference.rewriting.pyramids import CoarselyFusedPyramid
from segwright.inference.rewriting.trace import Trace, trace
from segwright.layers import PyramidPooling
from segwright.models import SegmentationModel

Step = Literal["drop", "fold", "pyramid", "shift", "pointwise", "channels_last"]
"""``drop`` what only training uses, ``fold`` normalisations into convolutions, fuse a ``pyramid``'s pooled maps at
their own size, ``shift`` large rates into 1x1 convolutions, ``pointwise`` 1x1 convolutions through oneDNN on a single
thread, ``channels_last`` memory order."""

STEPS: tuple[Step, ...] = get_args(Step)
MIN_RATE = 6
"""Smallest rate that ``shift`` takes unless asked: with AMX it pays from here on."""
TRACE_SIZES = ((64, 96), (33, 47), (1, 1))
"""(height, width) of the images on which a network is watched and compared: even, odd, and the smallest."""
TOLERANCE, COARSE_TOLERANCE = 1e-3, 0.1
"""Largest difference of the rewritten network's logits from the original's, as a share of the largest logit; the second
one where numbers are rounded to half precision or TF32."""


@dataclass(frozen=True)
class Rewrites:
    """What :func:`rewrite` did; with ``steps`` and ``min_rate`` given again it does the same without measuring.

    Attributes:
        steps: done.
        min_rate: from which rate on convolutions were replaced.
        dropped: names of the modules that only training uses.
        dropped_parameters: how many those had.
        folded: names of the normalisations that became part of a convolution.
        norms_left: names of those that could not.
        pyramids: names of the pyramid poolings that fuse at the cells' own size.
        shifted, pointwise: names of the replaced convolutions.
        gains: measured time of the old convolution over that of the new one: by rate, 0 for 1x1 convolutions.
    """

    steps: tuple[Step, ...]
    min_rate: int = MIN_RATE
    dropped: tuple[str, ...] = ()
    dropped_parameters: int = 0
    folded: tuple[str, ...] = ()
    norms_left: tuple[str, ...] = ()
    pyramids: tuple[str, ...] = ()
    shifted: tuple[str, ...] = ()
    pointwise: tuple[str, ...] = ()
    gains: Mapping[int, float] | None = None

    def describe(self) -> dict[str, int | str]:
        """Counts for people: what -> how many."""
        return {
            "parameters dropped": self.dropped_parameters,
            "normalisations folded": len(self.folded),
            "normalisations left": len(self.norms_left),
            "pyramids fused at their own size": len(self.pyramids),
            "dilated convolutions shifted": len(self.shifted),
            "1x1 convolutions through oneDNN": len(self.pointwise),
            "memory order": "channels last" if "channels_last" in self.steps else "as it was",
        }


def rewrites_of(model: nn.Module) -> Rewrites | None:
    """What was done to a network; ``None`` for one that :func:`rewrite` has not made."""
    done: Rewrites | None = getattr(model, "rewrites", None)
    return done


def rewrite(
    model: SegmentationModel,
    *,
    steps: Literal["auto"] | Collection[Step] = "auto",
    min_rate: int = MIN_RATE,
    size: tuple[int, int] = (512, 1024),
    precision: Literal["fp32", "bf16"] = "fp32",
    in_place: bool = False,
) -> SegmentationModel:
    """A copy for evaluation only that gives the same logits faster; ``model`` stays as it is.

    With ``auto``, ``drop``, ``fold`` and ``pyramid`` are always done, because they only take work away;
    ``channels_last`` on the CPU, where it is the order of the fast kernels; ``shift`` and ``pointwise`` if a short
    measurement on this machine, with the threads that torch has now, shows a gain.

    Args:
        model: of any family, in any mode.
        steps: ``auto``, or those to do; :attr:`Rewrites.steps` of an earlier result repeats it.
        min_rate: smallest rate that ``shift`` takes; with ``auto`` the smallest that is tried.
        size: (height, width) of the images that ``auto`` measures for.
        precision: that ``auto`` measures in; ``bf16`` by autocast.
        in_place: change ``model`` itself, which nobody needs any more: no time and memory for a copy.

    Returns:
        The network; :func:`rewrites_of` tells what was done.

    Raises:
        ConfigError: an unknown step or a rate below 1.
        RunError: the result does not compute what ``model`` does.
    """
    unknown = [] if steps == "auto" else [step for step in steps if step not in STEPS]
    if unknown or min_rate < 1:
        given = f"unknown step '{unknown[0]}'" if unknown else f"min_rate is {min_rate}"
        raise ConfigError(given, fix=f"steps are {', '.join(STEPS)}; rates begin at 1")
    fast = (model if in_place else copy.deepcopy(model)).eval().requires_grad_(False)
    seen = trace(fast, TRACE_SIZES)
    names = {part: name for name, part in fast.named_modules()}
    done = Rewrites(tuple(step for step in STEPS if steps == "auto" or step in steps), min_rate)
    if steps == "auto":
        done = _chosen(fast, seen, done, size, precision)
    if "drop" in done.steps:
        done = replace(done, dropped=seen.dead, dropped_parameters=_drop(fast, seen.dead))
    if "fold" in done.steps:
        done = replace(done, folded=_fold(fast, seen, names))
    if "pyramid" in done.steps:
        poolings = [part for part in fast.modules() if isinstance(part, PyramidPooling)]
        pyramids: dict[nn.Module, nn.Module] = {
            pooling: CoarselyFusedPyramid(pooling) for pooling in poolings if CoarselyFusedPyramid.can_replace(pooling)
        }
        done = replace(done, pyramids=_replace(fast, pyramids, names))
    if "shift" in done.steps:
        shifted: dict[nn.Module, nn.Module] = {conv: ShiftedConv2d(conv) for conv in _dilated(fast, done.min_rate)}
        done = replace(done, shifted=_replace(fast, shifted, names))
    if "pointwise" in done.steps:
        convs = _pointwise(fast)
        for conv in convs:
            conv.__class__ = PointwiseConv2d
        done = replace(done, pointwise=tuple(names[conv] for conv in convs))
    if "channels_last" in done.steps:
        fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no such call
    left = tuple(name for name, part in fast.named_modules() if isinstance(part, _BatchNorm))
    vars(fast)["rewrites"] = replace(done, norms_left=left)
    _check(fast, seen)
    return fast


def _chosen(model: SegmentationModel, seen: Trace, wanted: Rewrites, size: tuple[int, int], precision: str) -> Rewrites:
    """The steps that pay here, and from which rate on."""
    on_cpu = seen.images[0].device.type == "cpu"
    gains: dict[int, float] = {}

    def maps(convs: Iterable[nn.Conv2d]) -> dict[nn.Conv2d, tuple[int, int]]:
        """Sizes of what they read in images of ``size``, by the strides seen."""
        ratios = [wide / seen_side for wide, seen_side in zip(size, TRACE_SIZES[0], strict=True)]
        read = {conv: seen.map_sizes[conv] for conv in convs if conv in seen.map_sizes}
        return {conv: (round(rows * ratios[0]), round(columns * ratios[1])) for conv, (rows, columns) in read.items()}

    gains.update(gains_by_rate(maps(_dilated(model, wanted.min_rate)), precision, channels_last=on_cpu))
    min_rate = smallest_paying_rate(gains)
    product_gain = gain_of_pointwise(maps(_pointwise(model)), precision, channels_last=on_cpu)
    if product_gain is not None:
        gains[0] = product_gain
    pays = {
        "drop": True,
        "fold": True,
        "pyramid": True,
        "shift": min_rate is not None,
        "pointwise": gains.get(0, 0.0) >= LEAST_GAIN,
        "channels_last": on_cpu,
    }
    return replace(
        wanted, steps=tuple(step for step in STEPS if pays[step]), min_rate=min_rate or wanted.min_rate, gains=gains
    )


def _drop(model: nn.Module, names: Collection[str]) -> int:
    """Take modules out, with the hooks by which others call them; returns how many parameters those had."""
    before = sum(parameter.numel() for parameter in model.parameters())
    gone: set[nn.Module] = set()
    for name in names:
        path, _, key = name.rpartition(".")
        parent = model.get_submodule(path)
        gone.update(parent.get_submodule(key).modules())
        # A container keeps the place, for its numbering; an attribute becomes None, as where it was never built.
        is_container = isinstance(parent, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        parent._modules[key] = nn.Identity() if is_container else None
    for module in model.modules():
        for handle, hook in list(module._forward_hooks.items()):
            if getattr(hook, "__self__", None) in gone:
                del module._forward_hooks[handle]
    return before - sum(parameter.numel() for parameter in model.parameters())


def _fold(model: nn.Module, seen: Trace, names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """Make normalisations part of the convolutions before them; returns their names."""
    rests: dict[nn.Module, nn.Module] = {}
    for conv, norm in seen.folds.items():
        rest = _rest_of(norm)
        if rest is None:
            continue
        tensors = (conv.weight, conv.bias, norm.running_mean, norm.running_var)
        weight, bias, mean, variance = (None if tensor is None else tensor.double() for tensor in tensors)
        scale, offset = (None if tensor is None else tensor.double() for tensor in (norm.weight, norm.bias))
        assert weight is not None and mean is not None and variance is not None  # seen to be used
        folded = fuse_conv_bn_weights(weight, bias, mean, variance, norm.eps, scale, offset)
        like = conv.weight
        conv.weight, conv.bias = (nn.Parameter(tensor.detach().to(like), requires_grad=False) for tensor in folded)
        rests[norm] = rest
    return _replace(model, rests, names)


def _rest_of(norm: _BatchNorm) -> nn.Module | None:
    """What a normalisation's module does after normalising, hooks included; ``None`` if it is not known."""
    parts = dict(norm.named_children())
    if not set(parts) <= {"drop", "act"} or norm._forward_pre_hooks or norm._forward_hooks_with_kwargs:
        return None
    # timm's normalisation with activation has the two parts; torch's and ours have none.
    rest = nn.Sequential(*(parts[key] for key in ("drop", "act") if not isinstance(parts.get(key), nn.Identity | None)))
    rest._forward_hooks.update(norm._forward_hooks)  # by which others read the normalised map
    return rest if len(rest) or rest._forward_hooks else nn.Identity()


def _replace(model: nn.Module, new: Mapping[nn.Module, nn.Module], names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """Put modules into the places of others, wherever those stand; returns the old ones' names."""
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is not None and child in new:
                parent._modules[key] = new[child].train(parent.training)
    return tuple(names[module] for module in new)


def _plain(model: nn.Module) -> list[nn.Conv2d]:
    """Convolutions that do nothing beside; hooks and parametrisations would be lost."""
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        and type(module)._conv_forward is nn.Conv2d._conv_forward
        and type(module).__module__.startswith(("torch.nn.modules.", "segwright."))
        and not module._forward_hooks
        and not module._forward_pre_hooks
    ]


def _dilated(model: nn.Module, min_rate: int) -> list[nn.Conv2d]:
    return [conv for conv in _plain(model) if ShiftedConv2d.can_replace(conv, min_rate=min_rate)]


def _pointwise(model: nn.Module) -> list[nn.Conv2d]:
    return [conv for conv in _plain(model) if PointwiseConv2d.can_replace(conv)]


@torch.no_grad()
def _check(model: SegmentationModel, seen: Trace) -> None:
    """Compare with what the original gave.

    Raises:
        RunError: the logits differ.
    """
    like = seen.logits[0]
    is_coarse = like.dtype in (torch.float16, torch.bfloat16) or like.device.type != "cpu"  # GPUs round to TF32
    share = COARSE_TOLERANCE if is_coarse else TOLERANCE
    for images, wanted in zip(seen.images, seen.logits, strict=True):
        got = model.strided_logits(images).logits
        scale = float(wanted.abs().nan_to_num().max())
        if not torch.allclose(got, wanted, rtol=0.0, atol=share * scale, equal_nan=True):
            raise RunError(
                f"the rewritten {type(model).__name__} differs from the original by more than {share:g} of its "
                f"largest logit at {images.shape[-2]} x {images.shape[-1]} (height x width)",
                fix="run the network as it is, or leave out the step that does it: steps=('drop', 'channels_last')",
            )
