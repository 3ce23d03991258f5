"""Checkpoints: everything a run needs to go on as if it had never stopped, in one file without a pickle.

``last.safetensors`` is written beside the old one, flushed and renamed; the one before it stays as
``previous.safetensors``, and is used when ``last`` turns out to be damaged.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from segwright.engine.optim import WeightAverage
from segwright.errors import WeightsError
from segwright.models.weights import load_state, read_safetensors, write_safetensors
from segwright.runtime.files import replacing

logger = logging.getLogger(__name__)

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


@dataclass
class TrainState:
    """What changes while a network is trained; given whole to :func:`save` and :func:`load`.

    Args:
        model: the network.
        optimizer: with its momentum.
        average: the moving average of the weights, if any.
        step: optimizer steps done; it also is the place in the stream of samples and in the schedule.
        best: highest validation mIoU so far, and its step.
        skipped: steps left out because their loss or gradient was not finite.
    """

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    skipped: int = 0

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are evaluated and saved: the average, where there is one."""
        return self.average.model if self.average else self.model


def save(state: TrainState, folder: Path, config: dict[str, Any]) -> Path:
    """Write ``last.safetensors``.

    Raises:
        RunError: it cannot be written; the checkpoints that were there are whole.
    """
    path = folder / LAST
    facts = {"step": state.step, "best": state.best, "best_step": state.best_step, "skipped": state.skipped}
    metadata = {"format": "segwright-checkpoint", "state": json.dumps(facts), "config": json.dumps(config)}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        write_safetensors(temporary, _tensors(state), metadata)
        if path.exists():
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
    load_state(state.model, parts["model"], str(folder))
    if state.average:
        load_state(state.average.model, parts["average"], str(folder))
    _load_optimizer(state.optimizer, parts.get("optimizer", {}))
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["random"]["cuda"])
    state.step, state.best = facts["step"], facts["best"]
    state.best_step, state.skipped = facts["best_step"], facts["skipped"]


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder's ``checkpoints`` holds anything to resume from."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def saved_step(folder: Path) -> int:
    """The step of the checkpoint that :func:`load` would read.

    Raises:
        WeightsError: none is whole.
    """
    return int(json.loads(_read_newest(folder)[1]["state"])["step"])


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
    raise WeightsError(f"no whole checkpoint in '{folder}': {errors[0].message}", fix="start a new run with segwright train")


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    if state.average:
        tensors |= {f"average/{name}": tensor for name, tensor in state.average.model.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}.{name}": v for name, v in values.items() if isinstance(v, Tensor)}
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
