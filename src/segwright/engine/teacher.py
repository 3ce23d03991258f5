"""A trained network that shows another one what it sees: distillation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator
from torch import Tensor

from segwright.config import Config
from segwright.engine.normalise import Normalise
from segwright.errors import ConfigError
from segwright.layers import resize_as
from segwright.losses import distillation
from segwright.models import SegmentationModel
from segwright.zoo import load_model


class Teacher:
    """Adds to a network's losses how far its class probabilities are from a larger network's.

    Both see the same pixels; the teacher's logits are resized to the network's stride.

    Args:
        model: the teacher, which is put into evaluation mode.
        classes: of the network that learns, in its order.
        weight: of the added loss.
        temperature: by which both sides' logits are divided.
        autocast: the context of the training's precision.

    Raises:
        ConfigError: the teacher does not know all of the classes.
    """

    def __init__(
        self,
        model: SegmentationModel,
        classes: Sequence[str],
        *,
        weight: float,
        temperature: float,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        known = list(model.info.classes)
        missing = [name for name in classes if name not in known]
        if missing:
            raise ConfigError(
                f"the teacher does not know {', '.join(missing[:5])}{' and more' if missing[5:] else ''}; "
                f"its classes are {', '.join(known[:12])}{', ...' if known[12:] else ''}",
                fix="give a teacher that was trained on the same classes",
            )
        self.model = model.eval().requires_grad_(False)
        self.normalise = Normalise(model.info.preprocessing)
        self.rows = torch.tensor([known.index(name) for name in classes])
        self.weight, self.temperature, self.autocast = weight, temperature, autocast

    def to(self, device: torch.device) -> "Teacher":
        """The same, moved."""
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise.to(device)
        self.rows = self.rows.to(device)
        return self

    def add_to(self, losses: dict[str, Tensor], logits: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        """The losses with ``distillation`` among them and in their sum.

        Args:
            losses: by name.
            logits: (N, C, h, w) of the network that learns.
            pictures: (N, channels, H, W) that it saw, in stored values.
        """
        with torch.no_grad(), self.autocast():
            seen = self.model.strided_logits(self.normalise(pictures)).logits[:, self.rows]
        loss = distillation(logits, resize_as(seen.float(), logits), temperature=self.temperature)
        return {**losses, "loss": losses["loss"] + self.weight * loss, "distillation": loss}


def build_teacher(config: Config, model: SegmentationModel, accelerator: Accelerator) -> Teacher | None:
    """The teacher that the settings name, if any.

    Raises:
        SegmentationError: it cannot be loaded, or knows other classes.
    """
    if config.model.teacher is None:
        return None
    teacher = load_model(config.model.teacher)
    read, seen = (network.info.preprocessing.bands for network in (teacher, model))
    if read != seen:
        words = ["8-bit RGB" if bands is None else f"{bands} bands" for bands in (read, seen)]
        raise ConfigError(
            f"the teacher reads {words[0]}, and the network that learns {words[1]}",
            fix="give a teacher that was trained on such pictures",
        )
    return Teacher(
        teacher,
        model.info.classes,
        weight=config.loss.distillation,
        temperature=config.loss.distillation_temperature,
        autocast=accelerator.autocast,
    ).to(accelerator.device)
