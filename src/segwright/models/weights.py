"""The model file: one safetensors file with the weights, and in its header all that is needed to use them."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from segwright.errors import WeightsError
from segwright.info import ModelInfo
from segwright.models.segmentation_model import SegmentationModel, build_model
from segwright.runtime.files import replacing

logger = logging.getLogger(__name__)


def create_model(
    name: str, *, num_classes: int, weights: str | Path | None = None, **options: object
) -> SegmentationModel:
    """A network by name.

    Args:
        name: as in ``segwright.list_models()``.
        num_classes: channels of the logits.
        weights: a model file or a run folder of the same system to start from; ``None`` for fresh weights. What stays
            fresh, such as the classifiers for another number of classes, is logged as a warning.
        options: of the network's builder.

    Raises:
        ConfigError: unknown model or option, or fewer than one class.
        WeightsError: weights that cannot be read or do not fit.

    Example:
        >>> import torch
        >>> model = create_model("fast_scnn", num_classes=19).eval()
        >>> model(torch.zeros(1, 3, 64, 96)).logits.shape
        torch.Size([1, 19, 64, 96])
    """
    model = build_model(name, num_classes, options)
    if weights is not None:
        transfer_weights(model, load_model_file(model_file_of(weights)), str(weights))
    return model


def model_file_of(path: str | Path) -> Path:
    """The model file that is meant: the path itself, or ``model.safetensors`` in a run folder."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


def save_model(model: SegmentationModel, path: Path) -> None:
    """Write weights and ``model.info`` atomically.

    Raises:
        RunError: the file cannot be written; an older one of that name is left as it was.
    """
    with replacing(path) as temporary:
        write_safetensors(temporary, model.state_dict(), model.info.to_metadata())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors from any device and memory order; raises OSError where the disk is full."""
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata))


def load_model_file(path: Path) -> SegmentationModel:
    """Build the network that a model file describes and load its weights; in evaluation mode.

    Raises:
        WeightsError: missing, truncated, a pickle, of another program, or keys and shapes that do not fit.
    """
    tensors, metadata = read_safetensors(path)
    info = ModelInfo.from_metadata(metadata, str(path))
    model = build_model(info.name, info.num_classes, info.options)
    load_state(model, tensors, str(path))
    model.info = info
    return model.eval()


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. No pickle is ever read.

    Raises:
        WeightsError: missing file, or not (or no longer) a whole safetensors file.
    """
    if not path.is_file():
        raise WeightsError(f"model file '{path}' does not exist", fix="give a model.safetensors or a run folder")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start[:1] == b"\x80" or start == b"PK\x03\x04":
            raise WeightsError(
                f"'{path}' is a pickle (.pt/.pth), which could run code when it is read",
                fix="give a .safetensors file; nothing of the pickle was read",
            ) from error
        raise WeightsError(
            f"'{path}' is no whole safetensors file ({error})", fix="it is truncated or of another kind: copy it again"
        ) from error


def transfer_weights(model: SegmentationModel, source: SegmentationModel, name: str) -> None:
    """Start ``model`` from a trained network of the same system, perhaps of other classes.

    Tensors are taken where key and shape agree; classifiers for another number of classes stay fresh, which is
    logged as a warning. The preprocessing comes along.

    Args:
        model: the network to start, changed in place.
        source: the trained network.
        name: of the source, for messages.

    Raises:
        WeightsError: less than nine tenths of the tensors agree, so that the two are not of one kind.
    """
    own, theirs = model.state_dict(), source.state_dict()
    taken = {key: value for key, value in theirs.items() if key in own and own[key].shape == value.shape}
    if len(taken) < 0.9 * len(own):
        raise WeightsError(
            f"only {len(taken)} of {len(own)} tensors of '{name}' ({source.info.name}) fit model '{model.info.name}'",
            fix="start from weights of the same model and options",
        )
    model.load_state_dict(taken, strict=False)
    model.info = replace(model.info, preprocessing=source.info.preprocessing)
    fresh = sorted({key.rpartition(".")[0] for key in own if key not in taken})
    sentence = f"weights from '{name}': {len(taken)} of {len(own)} tensors taken"
    if not fresh:
        logger.info(sentence)
        return
    there, here = source.info.num_classes, model.info.num_classes
    classes = f" ({there} classes there, {here} here)" if there != here else ""
    logger.warning("%s; %s: fresh%s", sentence, ", ".join(fresh), classes)


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
