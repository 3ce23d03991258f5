"""Which runtimes can run a model, and how each of them is started."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segwright.errors import ConfigError, MissingExtraError
from segwright.inference.network import Network
from segwright.runtime.exported import READERS, is_exported
from segwright.runtime.onnx_network import OnnxNetwork
from segwright.runtime.openvino_network import OpenVinoNetwork

if TYPE_CHECKING:
    from segwright.models import SegmentationModel

RUNTIMES = ("torch", "compiled", "onnx", "openvino")

_SECONDS_TO_COMPILE = 60.0
_READERS: dict[str, tuple[type[OnnxNetwork] | type[OpenVinoNetwork], str]] = {
    "onnx": (OnnxNetwork, "onnxruntime"),
    "openvino": (OpenVinoNetwork, "openvino"),
}


@dataclass(frozen=True)
class Candidate:
    """A way to run a model.

    Args:
        runtime: its name.
        start: makes the network ready.
        seconds: that starting takes beyond what is worth a thought.
    """

    runtime: str
    start: Callable[[], Network]
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How a network is to be run; as :class:`segwright.inference.Predictor`'s arguments of these names."""

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None


def candidates(
    model: "SegmentationModel | str | Path", runtime: str, options: Options
) -> tuple[list[Candidate], Path | None]:
    """The ways to run a model here, the one that starts fastest first, and the file that it came from.

    Raises:
        ConfigError: a runtime that does not exist or cannot run this model.
        MissingExtraError: the package that it needs is not installed.
        WeightsError: a model file that cannot be read.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise ConfigError(f"unknown runtime '{runtime}'", fix=f"choose one of: auto, {', '.join(RUNTIMES)}")
    if isinstance(model, str | Path) and is_exported(model):
        path = Path(model)
        return [_reader(name, path, options) for name in _readers(path, runtime)], path
    if runtime in _READERS:
        raise _needs_export(model, runtime)
    return _torch_candidates(model, runtime, options)


def _readers(path: Path, runtime: str) -> list[str]:
    """Runtimes to read an exported file with: the one asked for, or all that are installed."""
    able = READERS[path.suffix.lower()]
    if runtime != "auto":
        if runtime not in able:
            raise ConfigError(
                f"runtime '{runtime}' cannot read '{path}'", fix=f"choose one of: auto, {', '.join(able)}"
            )
        return [runtime]
    installed = [name for name in able if importlib.util.find_spec(_READERS[name][1])]
    if not installed:
        extras = " or ".join(f'pip install "segwright[{name}]"' for name in able)
        packages = " nor ".join(_READERS[name][1] for name in able)
        raise MissingExtraError(
            f"'{path}' needs {packages}, which is not installed"
            if len(able) == 1
            else f"'{path}' needs a runtime, and neither {packages} is installed",
            fix=extras,
        )
    return installed


def _reader(name: str, path: Path, options: Options) -> Candidate:
    reader = _READERS[name][0]
    return Candidate(
        name, lambda: reader(path, device=options.device, precision=options.precision, threads=options.threads)
    )


def _needs_export(model: "SegmentationModel | str | Path", runtime: str) -> ConfigError:
    ending = {"onnx": "onnx", "openvino": "xml"}[runtime]
    is_name = isinstance(model, str | Path)
    what = f"'{model}' is none" if is_name else f"a {type(model).__name__} is none"
    source = str(model) if is_name else "model.safetensors"
    return ConfigError(
        f"runtime '{runtime}' runs exported files, and {what}",
        fix=f"segwright export {source} --format {runtime} --out model.{ending}, then give model.{ending}",
    )


def _torch_candidates(
    model: "SegmentationModel | str | Path", runtime: str, options: Options
) -> tuple[list[Candidate], Path | None]:
    try:
        from segwright.inference import torch_network  # torch is an extra
        from segwright.models.weights import model_file_of
        from segwright.zoo import load_model
    except ModuleNotFoundError as reason:
        if reason.name != "torch":
            raise
        raise MissingExtraError(
            "running this model needs torch, which is not installed", fix='pip install "segwright[train]"'
        ) from reason
    path = model_file_of(model) if isinstance(model, str | Path) and Path(model).exists() else None
    reload = partial(load_model, model) if isinstance(model, str | Path) else None
    network = load_model(model) if isinstance(model, str | Path) else model

    started: list[torch_network.TorchNetwork] = []

    def start(compiled: bool) -> Network:
        # One model for both, as the first left it: rewritten, or read anew where that failed.
        shared = started[0].model if started else network
        made = torch_network.TorchNetwork(
            shared, device=options.device, precision=options.precision, threads=options.threads, compiled=compiled,
            reload=None if started else reload,
        )  # fmt: skip
        started.append(made)
        return made

    known = [
        Candidate("torch", lambda: start(compiled=False)),
        Candidate("compiled", lambda: start(compiled=True), _SECONDS_TO_COMPILE),
    ]
    return [way for way in known if runtime in ("auto", way.runtime)], path
