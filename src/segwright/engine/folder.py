"""The run folder: what a run was told, on what it ran, what it measured, and what came out."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from segwright.config import Config
from segwright.errors import ConfigError, RunError, did_you_mean
from segwright.runtime.files import replacing

_PACKAGES = ("segwright", "torch", "numpy", "pillow", "accelerate", "safetensors", "pydantic")


class RunFolder:
    """Paths and records of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.events = path / "events"
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.model = path / "model.safetensors"
        self.label_codes = path / "label_codes.safetensors"
        self.report = path / "report.html"
        self.data = path / "data.json"
        self.bad_batch = path / "bad_batch.json"

    @property
    def resume_command(self) -> str:
        """What a user types to go on with the run."""
        return f"segwright train --resume {shlex.quote(str(self.path))}"

    def refuse_if_used(self) -> None:
        """Look whether a new run may be written here; writes nothing.

        Raises:
            ConfigError: the folder exists and holds something, it is a file, or its name is not UTF-8.
        """
        try:
            str(self.path).encode()
        except UnicodeEncodeError as error:
            message = f"the name of run folder '{self.path}' is not UTF-8, and its records cannot hold it"
            raise ConfigError(message, fix="give another --out") from error
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run folder '{self.path}' is a file", fix="give another --out")
        if self.path.is_dir() and any(self.path.iterdir()):
            resume = f", or go on with it: {self.resume_command}" if self.config.is_file() else ""
            raise ConfigError(f"run folder '{self.path}' exists and is not empty", fix=f"give another --out{resume}")

    def create(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: it exists and holds something, or cannot be made.
        """
        self.refuse_if_used()
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"run folder '{self.path}' cannot be made ({error})", fix="give another --out") from error

    def write_config(
        self, config: Config, reasons: Mapping[str, str], comments: Mapping[str, str] | None = None
    ) -> None:
        """All settings, defaults included, with the reason behind each that was chosen automatically.

        Args:
            config: the settings.
            reasons: by dotted keys.
            comments: other words behind settings, by dotted keys.
        """
        comments = {**(comments or {}), **{key: f"auto: {reason}" for key, reason in reasons.items()}}
        tree = config.model_dump(mode="json")
        lines = [f"# segwright train {shlex.quote(config.data.path)} --recipe {self.config.name} makes this run again"]
        for group, settings in tree.items():
            lines.append(f"{group}:")
            for key, value in settings.items():
                text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]
                comment = comments.get(f"{group}.{key}")
                lines.append(f"  {key}: {text}" + (f"  # {comment}" if comment else ""))
        write_text(self.config, "\n".join(lines) + "\n")

    @property
    def processes(self) -> int | None:
        """In how many processes the run was started; ``None`` where that is not recorded."""
        try:
            return int(json.loads(self.environment.read_text(encoding="utf-8"))["processes"])
        except (OSError, ValueError, KeyError):
            return None

    def comments(self) -> dict[str, str]:
        """What config.yaml says behind its settings, by their dotted keys."""
        comments, group = {}, ""
        for line in self.config.read_text(encoding="utf-8").splitlines():
            setting, _, comment = line.partition("  # ")
            if not line.startswith((" ", "#")):
                group = line.rstrip(":")
            elif comment:
                comments[f"{group}.{setting.strip().partition(':')[0]}"] = comment
        return comments

    def write_environment(self, device: str, precision: str) -> None:
        """Versions, machine, number of processes and command line."""
        facts = {
            "command": sys.argv,
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in _PACKAGES},
            "system": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
            "precision": precision,
        }
        write_text(self.environment, json.dumps(facts, indent=2) + "\n")

    def append(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, on the disk when this returns.

        Raises:
            RunError: it cannot be written.
        """
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            fix = f"free space, then go on with: segwright train --resume {shlex.quote(str(self.path))}"
            raise RunError(f"could not write {self.metrics}: {error.strerror or error}", fix=fix) from error

    def records(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a line that a crash cut short is left out."""
        if not self.metrics.exists():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def forget_after(self, step: int) -> None:
        """Drop what was recorded after ``step``: a resumed run records those steps again."""
        kept = [record for record in self.records() if record["step"] <= step]
        write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in kept))


def open_run(path: str | Path) -> RunFolder:
    """The folder of a run that was started before.

    Raises:
        ConfigError: no such folder, or no run in it.
    """
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        siblings = [entry.name for entry in folder.path.parent.iterdir()] if folder.path.parent.is_dir() else []
        near = "" if folder.path.is_dir() else did_you_mean(folder.path.name, siblings)
        message = f"'{path}' is no run folder (it has no config.yaml){near}"
        raise ConfigError(message, fix="give the --out of a former run")
    return folder


def new_run_path(data_name: str, model_name: str, root: Path = Path("runs")) -> Path:
    """``runs/<date>_<data>_<model>``, numbered where that exists."""
    first = root / f"{date.today().isoformat()}_{data_name}_{model_name}"
    number, path = 2, first
    while path.exists():
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
