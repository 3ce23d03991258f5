"""The model file: one safetensors file with the weights, and in its header all that is needed to use them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from segwright.errors import ConfigError, WeightsError
from segwright.info import ModelInfo
from segwright.models.segmentation_model import SegmentationModel, build_model
from segwright.runtime.files import replacing


def model_file_of(path: str | Path) -> Path:
    """The model file that is meant: the path itself, or ``model.safetensors`` in a run folder."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


def is_model_file(path: Path) -> bool:
    """Whether a safetensors file is one of ours; another program's says nothing of a model in its header.

    Raises:
        WeightsError: as :func:`read_safetensors`.
    """
    with open_safetensors(path) as file:
        metadata: dict[str, str] | None = file.metadata()
        return (metadata or {}).get("format") == "segwright"


def save_model(model: SegmentationModel, path: Path) -> None:
    """Write weights and ``model.info`` atomically.

    Raises:
        ConfigError: a network that was rewritten for speed, whose weights no longer fit its name and options.
        RunError: the file cannot be written; an older one of that name is left as it was.
    """
    if getattr(model, "rewrites", None) is not None:
        raise ConfigError(
            f"the {type(model).__name__} was rewritten for speed and cannot be saved to '{path}', which holds networks "
            "as they are trained",
            fix="save the network that it was made from, or write this one with segwright export",
        )
    with replacing(path) as temporary:
        write_safetensors(temporary, model.state_dict(), model.info.to_metadata())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors from any device and memory order; raises OSError where the disk is full."""
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata))


def load_model_file(path: Path) -> SegmentationModel:
    """Build the network that a model file describes and load its weights; in evaluation mode.

    Raises:
        WeightsError: missing, truncated, a pickle, of another program, a network that cannot be built, keys and shapes
            that do not fit, or weights that are no numbers.
    """
    tensors, metadata = read_safetensors(path)
    _refuse_nan(tensors, path)
    info = ModelInfo.from_metadata(metadata, str(path))
    model = _network_of(info, path)
    load_state(model, tensors, str(path))
    model.info = info
    return model.eval()


def _network_of(info: ModelInfo, path: Path) -> SegmentationModel:
    """The network that a model file describes, with fresh weights.

    Raises:
        WeightsError: no such model or option, or a value of an option that no network can be built with.
    """
    fix = "it is damaged, or of a newer segwright: copy it again, or update segwright"
    try:
        model = build_model(info.name, info.num_classes, info.options)
    except ConfigError as reason:
        words = f"{reason.message} ({reason.fix})" if reason.fix else reason.message
        raise WeightsError(
            f"model file '{path}' describes a network that cannot be built: {words}", fix=fix
        ) from reason
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as reason:
        # Builders trust the types in their signatures, and so do the libraries below them.
        what = (
            f"model file '{path}' describes a network that cannot be built: '{info.name}' with options {info.options}"
        )
        raise WeightsError(
            f"{what} ({type(reason).__name__}: {' '.join(str(reason).split())[:200]})", fix=fix
        ) from reason
    channels = info.preprocessing.channels
    if model.in_channels != channels:
        raise WeightsError(
            f"model file '{path}' describes a network of {model.in_channels} channels, and its preprocessing gives "
            f"{channels}",
            fix=fix,
        )
    return model


def _refuse_nan(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise for weights of a training that diverged: every score of such a network is no number, and class 0 wins."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(
                f"model file '{path}' holds NaN or infinity in {name}",
                fix="take an earlier checkpoint, or train again at a lower learning rate",
            )


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. No pickle is ever read.

    Raises:
        WeightsError: missing file, or not (or no longer) a whole safetensors file.
    """
    with open_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_info(path: Path) -> ModelInfo:
    """What a model file says of its model; the tensors are not read.

    Raises:
        WeightsError: as :func:`load_model_file`.
    """
    with open_safetensors(path) as file:
        return ModelInfo.from_metadata(file.metadata() or {}, str(path))


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open; raises as :func:`read_safetensors`."""
    if not path.is_file():
        raise WeightsError(f"model file '{path}' does not exist", fix="give a model.safetensors or a run folder")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as start_of:
            start = start_of.read(4)
        if start[:1] == b"\x80" or start == b"PK\x03\x04":
            raise WeightsError(
                f"'{path}' is a pickle (.pt/.pth), which could run code when it is read",
                fix="give it its own ending (.pth), so that it is read without running anything",
            ) from error
        raise WeightsError(
            f"'{path}' is no whole safetensors file ({error})", fix="it is truncated or of another kind: copy it again"
        ) from error


def load_state(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors strictly.

    Raises:
        WeightsError: missing or unknown keys, or shapes that differ; the first of each is named.
    """
    own = model.state_dict()
    missing, unknown = [k for k in own if k not in tensors], [k for k in tensors if k not in own]
    if missing or unknown:
        raise WeightsError(
            f"'{source}' does not fit the network: {len(missing)} keys missing ({missing[:2]}), "
            f"{len(unknown)} unknown ({unknown[:2]})",
            fix="load it into the model and options that it was saved from",
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"'{source}': {name} has shape {tuple(tensor.shape)}, the network wants {tuple(own[name].shape)}",
                fix="load it into the model and options that it was saved from",
            )
    model.load_state_dict(tensors)
