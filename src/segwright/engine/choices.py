"""Settings whose holes are filled one by one, and why each is filled as it is."""

from dataclasses import dataclass, field
from typing import Any

from segwright.config import Config, with_settings


@dataclass
class Plan:
    """Settings without holes.

    Args:
        config: the settings.
        reasons: why each automatic one is what it is, by its dotted key.
    """

    config: Config
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, key: str, value: Any, reason: str) -> None:
        """Set a leaf."""
        self.config = with_settings(self.config, {key: value})
        self.reasons[key] = reason

    def choose_iters(self, iters: int, reason: str) -> None:
        """Set the length in steps; it replaces epochs and minutes, so that the settings say one length."""
        self.config = with_settings(self.config, {"train.epochs": None, "train.minutes": None})
        self.choose("train.iters", iters, reason)
