"""What an exported file says about itself, whichever runtime reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from segwright.errors import ConfigError, MissingExtraError, RunError, WeightsError
from segwright.info import ModelInfo
from segwright.runtime.packages import import_silently

EXPORT_FORMAT_VERSION = 1
"""Version of the metadata; readers refuse newer ones."""

READERS = {".onnx": ("onnx", "openvino"), ".xml": ("openvino",)}
"""Ending of an exported file -> the runtimes that can read it, the one that starts fastest first."""

Input = Literal["images", "pixels"]
"""``images``: (N, channels, H, W) float32, preprocessed; ``pixels``: (N, H, W, channels) uint8, RGB unless the network
reads bands, preprocessed inside."""

Output = Literal["logits", "mask"]
"""``logits``: (N, num_classes, h, w) float32 at the network's own stride; ``mask``: (N, H, W), decided inside."""

Precision = Literal["fp32", "bf16", "int8"]

Batch = NDArray[np.float32 | np.uint16 | np.uint8]
Result = NDArray[np.float32 | np.uint8 | np.uint16]


def is_exported(path: str | Path) -> bool:
    """Whether a file is an exported network, by its ending; it need not exist."""
    return Path(path).suffix.lower() in READERS


@dataclass(frozen=True)
class Exported:
    """The record inside an exported file.

    Args:
        info: classes, palette, preprocessing, provenance.
        input: what the network takes; also the input's name.
        output: what it gives; also the output's name.
        align_corners: of the resize from the logits to the picture's size.
        precision: what the file is made for.
        max_logit_difference: largest difference from the network in float32, as measured at export.
        argmax_agreement: share of pixels (0..1) of the same class as the network in float32, likewise.
    """

    info: ModelInfo
    input: Input = "images"
    output: Output = "logits"
    align_corners: bool = False
    precision: Precision = "fp32"
    max_logit_difference: float | None = None
    argmax_agreement: float | None = None

    def to_metadata(self) -> dict[str, str]:
        """The record as the string-to-string map that the formats can hold."""
        measured = {"max_logit_difference": self.max_logit_difference, "argmax_agreement": self.argmax_agreement}
        return {
            **self.info.to_metadata(),
            "export_format_version": str(EXPORT_FORMAT_VERSION),
            "input": self.input,
            "output": self.output,
            "align_corners": str(int(self.align_corners)),
            "precision": self.precision,
            **{key: repr(float(value)) for key, value in measured.items() if value is not None},
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> "Exported":
        """Read the record back.

        Args:
            metadata: the map in the file.
            source: file name for messages.

        Raises:
            WeightsError: not exported by segwright, by a newer one, or a field that no export could hold.
        """
        if metadata.get("format") != "segwright":
            raise WeightsError(
                f"'{source}' was not exported by segwright, so its classes and preprocessing are unknown",
                fix="export the model with segwright export and give that file",
            )
        info = ModelInfo.from_metadata(metadata, source)
        try:
            version = _number(metadata, "export_format_version")
            if version > EXPORT_FORMAT_VERSION:
                raise WeightsError(
                    f"'{source}' has export format {version:g}, this segwright reads up to {EXPORT_FORMAT_VERSION}",
                    fix="update segwright",
                )
            return cls(
                info,
                _one_of(metadata, "input", get_args(Input)),
                _one_of(metadata, "output", get_args(Output)),
                _one_of(metadata, "align_corners", ("0", "1")) == "1",
                _one_of(metadata, "precision", get_args(Precision)),
                _number(metadata, "max_logit_difference") if metadata.get("max_logit_difference") else None,
                _number(metadata, "argmax_agreement") if metadata.get("argmax_agreement") else None,
            )
        except ValueError as error:
            raise WeightsError(f"'{source}' has damaged metadata ({error})", fix="export it anew") from error


def check_file(path: Path) -> None:
    """Refuse what the runtimes would refuse in many words, or try to read as something else.

    Raises:
        WeightsError: no such file, a folder, not to be opened, empty, or of another kind than its ending says.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"exported file '{path}' {problem}", fix="give a file that segwright export wrote")
    try:
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as reason:
        problem = f"exported file '{path}' cannot be read ({reason.strerror or reason})"
        raise WeightsError(problem, fix="grant access to it, or give another file") from reason
    # ONNX: field 1, the version of the format, comes first. OpenVINO: the root element, behind the XML declaration.
    is_of_kind = b"<net" in start if path.suffix.lower() == ".xml" else start.startswith(b"\x08")
    if not is_of_kind:
        raise unreadable(path, "of another kind" if start else "empty")


class End(NamedTuple):
    """An input or output of a graph.

    Args:
        name, dtype: as the graph names it, and NumPy its type.
        shape: ``None`` for an axis that is free; and as a whole, where the graph leaves open how many axes there are.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        axes = ("free" if side is None else str(side) for side in self.shape or ())
        return f"{self.name} ({self.dtype}, {'unknown axes' if self.shape is None else ' x '.join(axes) or 'no axes'})"

    def fits(self, wanted: "End") -> bool:
        """Whether all that it takes or gives is what is wanted; axes that either leaves free fit."""
        if self[:2] != wanted[:2] or self.shape is None or wanted.shape is None or len(self.shape) != len(wanted.shape):
            return False
        sides = zip(self.shape, wanted.shape, strict=True)
        return all(side is None or other is None or side == other for side, other in sides)


def check_ends(path: Path, exported: Exported, takes: Sequence[End], gives: Sequence[End]) -> None:
    """The graph must take and give what the file's record says.

    Args:
        path: named in errors.
        exported: the record.
        takes, gives: the graph's inputs and outputs.

    Raises:
        WeightsError: it has others, of another type, or of another shape.
    """
    channels, num_classes = exported.info.preprocessing.channels, exported.info.num_classes
    wanted = {
        "images": End("images", "float32", (None, channels, None, None)),
        "pixels": End("pixels", "uint8", (None, None, None, channels)),
        "logits": End("logits", "float32", (None, num_classes, None, None)),
        "mask": End("mask", "uint8" if num_classes <= 256 else "uint16", (None, None, None)),
    }
    for what, there, said in (
        ("takes", takes, wanted[exported.input]),
        ("gives", gives, wanted[exported.output]),
    ):
        if len(there) != 1 or not there[0].fits(said):
            raise WeightsError(
                f"exported file '{path}' {what} {', '.join(map(str, there)) or 'nothing'}, and its record says {said}",
                fix="it was changed after the export: export it anew",
            )


def unreadable(path: Path, problem: object) -> WeightsError:
    """The error for a file that a runtime could not read; ``problem`` in its words, shortened."""
    words = " ".join(str(problem).split())
    return WeightsError(
        f"exported file '{path}' cannot be read ({words[:200]})",
        fix="it is truncated or of another kind: copy it again (an .xml with its .bin), or export it anew",
    )


def could_not_run(path: Path, batch: Batch, reason: Exception) -> RunError:
    """The error for a network that failed at a picture."""
    height, width = batch.shape[-2:] if batch.dtype == np.float32 else batch.shape[1:3]
    words = " ".join(str(reason).split())
    return RunError(
        f"'{path}' failed at {height} x {width} px (height x width): {words[:200]}",
        fix="predict in windows (--window 512 512) if memory ran out; else export it anew, or use model.safetensors",
    )


def import_runtime(package: str, extra: str) -> ModuleType:
    """An optional package.

    Raises:
        MissingExtraError: it is not installed; names the extra that brings it.
    """
    try:
        return import_silently(package)
    except ModuleNotFoundError as reason:
        if reason.name != package:
            raise
        raise MissingExtraError(
            f"runtime '{extra}' needs {package}, which is not installed", fix=f'pip install "segwright[{extra}]"'
        ) from reason


def chosen_precision(asked: str, own: Precision, path: Path) -> Precision:
    """What to compute in: ``auto`` takes what the file was made for; a file of weights in float32 can also do bf16.

    Raises:
        ConfigError: an unknown precision, or one that the file cannot do.
    """
    if asked not in ("auto", *get_args(Precision)):
        raise ConfigError(
            f"unknown precision '{asked}' of an exported file",
            fix=f"choose one of: auto, {', '.join(get_args(Precision))}",
        )
    if asked in ("auto", own):
        return own
    if (own, asked) == ("fp32", "bf16"):
        return "bf16"
    raise ConfigError(
        f"'{path}' was exported in {own}, it cannot compute in {asked}",
        fix=f"make one that can: segwright export MODEL --format openvino --precision {asked}; "
        "--precision auto takes this one as it is",
    )


def only_cpu(device: str, runtime: str) -> None:
    """Refuse any device but the CPU.

    Raises:
        ConfigError: another one was asked for.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"runtime '{runtime}' computes on the CPU, got device '{device}'",
            fix="choose auto or cpu, or give model.safetensors, which torch runs on any device",
        )


def _one_of(metadata: Mapping[str, str], key: str, allowed: tuple[Any, ...]) -> Any:
    if metadata.get(key) not in allowed:
        raise ValueError(f"{key} must be {' or '.join(allowed)}, got {_shown(metadata, key)}")
    return metadata[key]


def _number(metadata: Mapping[str, str], key: str) -> float:
    """Of zero or more; infinity is what the logits of a network can differ by, and NaN is none."""
    try:
        number = float(metadata[key])
    except (KeyError, ValueError):
        number = -1.0
    if not number >= 0:
        raise ValueError(f"{key} must be a number from 0, got {_shown(metadata, key)}")
    return number


def _shown(metadata: Mapping[str, str], key: str) -> str:
    return f"'{metadata[key][:60]}'" if key in metadata else "nothing"
