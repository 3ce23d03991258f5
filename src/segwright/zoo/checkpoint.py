"""Reads other programs' checkpoints without running anything that is in them."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segwright.errors import WeightsError
from segwright.info import Colour
from segwright.models.weights import read_safetensors
from segwright.zoo.download import looks_like_a_page

_CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
_PREFIXES = ("module.", "model.", "_orig_mod.")

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
_HARMLESS: list[Any] = [  # plain data that training scripts keep beside the weights: scores of NumPy's, arguments
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")),
    *((np.float64(0).__reduce__()[0], f"{package}.scalar") for package in _MULTIARRAY),
    *((np.zeros(0).__reduce__()[0], f"{package}._reconstruct") for package in _MULTIARRAY),
]


class Checkpoint(NamedTuple):
    """What a foreign file holds.

    Args:
        tensors: the network's state under its publisher's names.
        classes, palette: of the training data, where the file tells them.
    """

    tensors: dict[str, Tensor]
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Tensors of a ``.pth``, ``.pt``, ``.bin`` or foreign ``.safetensors`` file.

    Raises:
        WeightsError: no such file, a web page, a truncated file, a pickle with code, or a file without tensors.
    """
    if path.suffix == ".safetensors":
        return Checkpoint(_bare(read_safetensors(path)[0]))
    content = _load(path)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    tensors = _find_state(content)
    if not tensors:
        raise WeightsError(f"'{path}' holds no tensors of a network", fix="give the file with the trained weights")
    return Checkpoint(_bare(tensors), *_labels(meta if isinstance(meta, Mapping) else {}))


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if looks_like_a_page(start):
            raise WeightsError(
                f"'{path}' is a web page that was saved under that name", fix="download the file itself again"
            )
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise WeightsError(f"'{path}' does not exist", fix="give the file with the trained weights") from error
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|Unsupported class|global) ([\w.]+(?:\.[\w]+)+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise WeightsError(
            f"'{path}' holds objects besides tensors{what}, which could run code when they are read; none was",
            fix="save only its state dict where it was trained: torch.save(model.state_dict(), FILE)",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise WeightsError(
            f"'{path}' is no whole checkpoint ({reason})", fix="it is truncated or of another kind: copy it again"
        ) from error


def _find_state(content: Any) -> dict[str, Tensor]:
    """The tensors by name: the content itself, or under one of the words that programs use for it."""
    if not isinstance(content, Mapping):
        return {}
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        return tensors
    return next((found for word in _CONTAINERS if (found := _find_state(content.get(word)))), {})


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefix that wrappers put before all of them."""
    for prefix in _PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return _bare({key.removeprefix(prefix): value for key, value in tensors.items()})
    return dict(tensors)


def _labels(meta: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Classes and palette as mmsegmentation writes them, in its old or its new place; empty where they are none."""
    newer = meta.get("dataset_meta")
    place = {
        str(key).lower(): value for key, value in {**meta, **(newer if isinstance(newer, Mapping) else {})}.items()
    }
    classes, palette = place.get("classes"), place.get("palette")
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return (), ()
    if len(set(classes)) < len(classes):  # a model file needs names that differ
        return (), ()
    colours = [_colour(value) for value in palette] if isinstance(palette, list | tuple | np.ndarray) else []
    whole = [colour for colour in colours if colour is not None]
    return tuple(classes), tuple(whole) if len(whole) == len(colours) == len(classes) else ()


def _colour(value: Any) -> Colour | None:
    """Three numbers of 0..255, or None where it is no colour."""
    try:
        red, green, blue = (int(part) for part in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (red, green, blue) if all(0 <= part <= 255 for part in (red, green, blue)) else None
