"""What differs between a run and what it is resumed with: settings, and the data set it was started on."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segwright.config import Config, known_keys, with_settings
from segwright.data import SegmentationData
from segwright.engine.folder import RunFolder, write_text
from segwright.engine.plan import make_plan
from segwright.engine.processes import process_count
from segwright.errors import ConfigError

_FIXED = ("model.", "data.bands", "train.optimizer", "train.ema")
"""Beginnings of the settings that the checkpoint's tensors come from."""
_FREE = ("data.workers", "data.memory_mb", "data.check", "train.save_every")
"""Settings that no weight and no score depends on."""
_OPEN = (None, "auto", "")
_LENGTHS = ("train.epochs", "train.minutes")


@dataclass
class Changes:
    """What differs, each by its name as ``(was, now)``.

    Args:
        settings: by their dotted keys.
        data: facts of the data set.
    """

    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    data: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.settings or self.data)

    def __str__(self) -> str:
        every = {**self.settings, **self.data}
        return "; ".join(f"{key}: {_shown(was)} -> {_shown(now)}" for key, (was, now) in every.items())

    def refuse(self, folder: RunFolder, *, is_allowed: bool) -> None:
        """Refuse what no resumed run can change, and what the outcome depends on unless it is allowed.

        Raises:
            ConfigError: lists the differences.
        """
        fixed = Changes(
            {key: change for key, change in self.settings.items() if key.startswith(_FIXED)},
            {key: change for key, change in self.data.items() if key == "classes"},
        )
        path = shlex.quote(str(folder.path))
        if fixed:
            what = "another data set" if fixed.data else "another network"
            raise ConfigError(
                f"run '{folder.path}' cannot go on with {what}: {fixed}",
                fix=f"start a new run from its weights: --weights {path} --out OTHER",
            )
        others = Changes({key: change for key, change in self.settings.items() if key not in _FREE}, self.data)
        if others and not is_allowed:
            raise ConfigError(
                f"run '{folder.path}' would not go on as it began: {others}",
                fix=f"undo these changes ({folder.resume_command}), or accept them with --allow-changes",
            )

    def applied_to(self, config: Config) -> Config:
        """The settings with the new values."""
        return with_settings(config, {key: now for key, (_, now) in self.settings.items()})


def changed_settings(config: Config, wanted: Config, data: SegmentationData) -> dict[str, tuple[Any, Any]]:
    """The settings of a run that are asked for otherwise.

    Args:
        config: of the run, without holes.
        wanted: what is asked for; what it leaves open is as the run has it.
        data: for the number of steps of ``train.epochs``.
    """
    was, now = _leaves(config), _leaves(wanted)
    changed = {key: (was[key], now[key]) for key in was if now[key] not in _OPEN and now[key] != was[key]}
    epochs, _ = (changed.pop(key, (None, None))[1] for key in _LENGTHS)  # minutes say nothing once steps are known
    if epochs is not None:
        leaves = {key: new for key, (_, new) in changed.items()} | {"train.iters": None, "train.epochs": epochs}
        iters = make_plan(with_settings(config, leaves), data, process_count()).config.train.iters
        if iters != config.train.iters:
            changed["train.iters"] = (config.train.iters, iters)
    return changed


def fingerprint(data: SegmentationData, config: Config) -> dict[str, Any]:
    """What a run depends on of its data set: the meaning of the labels, and the files' names and sizes."""
    facts: dict[str, Any] = {
        "classes": list(data.classes),
        "ignore": list(data.labels.ignore),
        "map": {str(raw): name for raw, name in (data.labels.map or {}).items()},
    }
    for split in (config.data.train_split, config.data.val_split):
        folders, pairs, digest = data.folders_of(split), data.pairs(split), hashlib.sha256()
        for pair in pairs:
            for path, root in ((pair.image, folders.images), (pair.mask, folders.masks)):
                name = path.relative_to(root).as_posix()
                digest.update(f"{name}\0{path.stat().st_size}\0".encode(errors="surrogatepass"))
        facts[f"pictures of {split}"] = len(pairs)
        facts[f"files of {split} (names and sizes)"] = digest.hexdigest()[:16]
    return facts


def changed_data(folder: RunFolder, data: SegmentationData, config: Config) -> dict[str, tuple[Any, Any]]:
    """How the data set differs from the one that the run began with; nothing for a run that kept no fingerprint."""
    if not folder.data.is_file():
        return {}
    was: Mapping[str, Any] = json.loads(folder.data.read_text(encoding="utf-8"))
    now = fingerprint(data, config)
    return {key: (was.get(key), now.get(key)) for key in {**was, **now} if was.get(key) != now.get(key)}


def keep_fingerprint(folder: RunFolder, data: SegmentationData, config: Config) -> None:
    """Write ``data.json``.

    Raises:
        RunError: it cannot be written.
    """
    write_text(folder.data, json.dumps(fingerprint(data, config), indent=2) + "\n")


def _leaves(config: Config) -> dict[str, Any]:
    tree = config.model_dump(mode="json")
    return {key: tree[key.partition(".")[0]][key.partition(".")[2]] for key in known_keys()}


def _shown(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
