"""Checkpoints: everything a run needs to go on as if it had never stopped, in one file without a pickle.

``last.safetensors`` is written beside the old one, flushed and renamed; the one before it stays as
``previous.safetensors``, and is used when ``last`` turns out to be damaged.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from segwright.engine.optim import WeightAverage
from segwright.errors import WeightsError
from segwright.models.weights import load_state, read_safetensors, write_safetensors
from segwright.runtime.files import replacing

logger = logging.getLogger(__name__)

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
_NUMBERS = ("step", "best", "best_step", "skipped", "skipped_in_a_row", "lr_factor", "halvings")
"""Of a :class:`TrainState`, in the checkpoint's header."""


@dataclass
class TrainState:
    """What changes while a network is trained; given whole to :func:`save` and :func:`load`.

    Args:
        model: the network.
        optimizer: with its momentum.
        average: the moving average of the weights, if any.
        scaler: of the gradients, in fp16 only.
        step: optimizer steps done; it also is the place in the stream of samples and in the schedule.
        best: highest validation mIoU so far, and its step.
        skipped: steps left out because their loss or gradient was not finite.
        skipped_in_a_row: those since the last that was not.
        lr_factor: of the learning rate; below 1 once the run has gone back to a checkpoint.
        halvings: how often the batch was halved for want of memory.
        unlogged: losses of the steps since the last line of metrics.jsonl.
    """

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    scaler: GradScaler | None = None
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    lr_factor: float = 1.0
    halvings: int = 0
    unlogged: list[dict[str, Tensor]] = field(default_factory=list)


def save(state: TrainState, folder: Path, config: dict[str, Any]) -> Path:
    """Write ``last.safetensors``.

    Raises:
        RunError: it cannot be written; the checkpoints that were there are whole.
    """
    path = folder / LAST
    facts: dict[str, Any] = {name: getattr(state, name) for name in _NUMBERS}
    if state.scaler:
        facts["scaler"] = state.scaler.state_dict()
    metadata = {"format": "segwright-checkpoint", "state": json.dumps(facts), "config": json.dumps(config)}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        write_safetensors(temporary, _tensors(state), metadata)
        if _is_whole(path):  # else ``previous`` is the better one of the two
            path.replace(folder / PREVIOUS)
    return path


def load(state: TrainState, folder: Path) -> None:
    """Restore ``state`` in place from ``last``, or from ``previous`` where ``last`` is damaged or missing.

    Raises:
        WeightsError: neither is whole, or they belong to another network.
    """
    tensors, metadata = _read_newest(folder)
    facts = json.loads(metadata["state"])
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    load_state(state.model, parts.get("model", {}), str(folder))
    if state.average:
        load_state(state.average.model, parts.get("average", {}), str(folder))
    _load_optimizer(state.optimizer, parts.get("optimizer", {}))
    if state.scaler and "scaler" in facts:
        state.scaler.load_state_dict(facts["scaler"])
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["random"]["cuda"])
    for name in _NUMBERS:
        setattr(state, name, facts.get(name, getattr(state, name)))  # checkpoints of 0.1 lack the newer ones
    losses = parts.get("unlogged", {})
    state.unlogged = [dict(zip(losses, values, strict=True)) for values in zip(*losses.values(), strict=True)]


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder's ``checkpoints`` holds anything to resume from."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _is_whole(path: Path) -> bool:
    try:
        with safetensors.safe_open(path, framework="pt"):  # compares the file's length with its header
            return True
    except (safetensors.SafetensorError, OSError, ValueError):
        return False


def _read_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    errors: list[WeightsError] = []
    for name in (LAST, PREVIOUS):
        try:
            tensors, metadata = read_safetensors(folder / name)
            if metadata.get("format") == "segwright-checkpoint":
                if errors:
                    logger.warning("%s; going on from '%s'", errors[0].message, folder / name)
                return tensors, metadata
            errors.append(WeightsError(f"'{folder / name}' is no checkpoint of segwright train"))
        except WeightsError as error:
            errors.append(error)
    found = "; ".join(error.message for error in errors)
    raise WeightsError(f"no whole checkpoint in '{folder}': {found}", fix="start a new run with segwright train")


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    if state.average:
        tensors |= {f"average/{name}": tensor for name, tensor in state.average.model.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}.{name}": v for name, v in values.items() if isinstance(v, Tensor)}
    if state.unlogged:
        names = state.unlogged[0]
        tensors |= {
            f"unlogged/{name}": torch.stack([losses[name].cpu() for losses in state.unlogged]) for name in names
        }
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return tensors


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    content = optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = tensor
    content["state"] = moments
    optimizer.load_state_dict(content)
