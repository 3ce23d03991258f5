"""An exported network run by OpenVINO."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from segwright.errors import ConfigError
from segwright.runtime.digest import check_digest
from segwright.runtime.exported import (
    READERS,
    Batch,
    End,
    Exported,
    Result,
    check_ends,
    check_file,
    chosen_precision,
    could_not_run,
    import_runtime,
    only_cpu,
    unreadable,
)
from segwright.runtime.files import is_temporary
from segwright.runtime.machine import cache_folder, cpu_threads

_TYPES = {"f32": "float32", "f64": "float64", "i32": "int32", "u8": "uint8", "u16": "uint16"}
"""NumPy's names of OpenVINO's types."""


class OpenVinoNetwork:
    """A network in OpenVINO's own format (``.xml`` with its ``.bin``) or in an ``.onnx`` file, on the CPU.

    Compiled networks are kept in the user's cache folder, so that the next start is faster. Threads that share one
    take turns.

    Args:
        path: a file that ``segwright export`` wrote.
        device: ``auto`` or ``cpu``.
        precision: ``auto`` (the file's own), ``fp32``, ``bf16`` or ``int8``. Left alone, OpenVINO computes in bf16
            wherever the CPU has it; here float32 is float32, also between the quantised layers of an int8 file.
        threads: to compute with; all that this process may use unless given.

    Raises:
        MissingExtraError: openvino is not installed.
        WeightsError: a file that is missing, truncated, of another kind, not exported by segwright, or changed since.
        ConfigError: another device, or a precision that the file or the CPU cannot do.
    """

    runtime = "openvino"

    def __init__(
        self, path: Path, *, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        only_cpu(device, self.runtime)
        if path.suffix.lower() not in READERS:
            raise ConfigError(f"OpenVINO reads .xml and .onnx files, got '{path}'", fix="give an exported file")
        ov = import_runtime("openvino", "openvino")
        check_file(path)
        self.path = path
        core = ov.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as reason:
            raise unreadable(path, _last_line(reason)) from reason
        metadata = _metadata(model, path)
        self.exported = Exported.from_metadata(metadata, str(path))
        check_digest(path, metadata)
        check_ends(path, self.exported, _ends(model.inputs), _ends(model.outputs))
        self.precision: str = chosen_precision(precision, self.exported.precision, path)
        if self.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ConfigError(
                f"this CPU has no bf16, in which '{path}' would be computed", fix="use a file exported in fp32"
            )
        settings = _settings("bf16" if self.precision == "bf16" else "f32", cpu_threads(threads), _cache_of(path))
        try:
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as reason:
            raise unreadable(path, _last_line(reason)) from reason
        self._turn = threading.Lock()  # a request that two threads use at once gives each the other's logits
        self.info, self.align_corners = self.exported.info, self.exported.align_corners
        self.takes, self.gives = self.exported.input, self.exported.output

    def run(self, batch: Batch) -> Result:
        """What the file takes -> what it gives.

        Raises:
            RunError: the network failed at this size.
        """
        try:
            with self._turn:
                array: Result = self._request.infer({self.takes: batch}, share_inputs=True)[self.gives]
        except (RuntimeError, MemoryError) as reason:
            raise could_not_run(self.path, batch, RuntimeError(_last_line(reason))) from reason
        if not array.size:  # seen of graphs whose sizes were wrong, instead of an error
            raise could_not_run(self.path, batch, RuntimeError("no logits came out"))
        return np.asarray(array)


def _ends(ports: list[Any]) -> list[End]:
    def end(port: Any) -> End:
        dtype, shape = port.get_element_type().get_type_name(), port.get_partial_shape()
        sides = tuple(side.get_length() if side.is_static else None for side in shape) if shape.rank.is_static else None
        return End(", ".join(sorted(port.get_names())), _TYPES.get(dtype, dtype), sides)

    return [end(port) for port in ports]


def _cache_of(path: Path) -> Path:
    """Where the compiled network is kept; beside a file that is there for a while, so that both go together."""
    return path.parent / "compiled" if is_temporary(path.parent) else cache_folder("openvino")


def _settings(precision: str, threads: int, cache: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    with contextlib.suppress(OSError):  # without a cache it compiles anew
        cache.mkdir(parents=True, exist_ok=True)
    if os.access(cache, os.W_OK):
        settings["CACHE_DIR"] = str(cache)
    return settings


def _metadata(model: Any, path: Path) -> dict[str, str]:
    """Our record: a section of its own in .xml; OpenVINO calls an .onnx file's metadata ``framework``."""
    section = ["segwright" if path.suffix.lower() == ".xml" else "framework"]
    values = model.get_rt_info(section).value if model.has_rt_info(section) else {}
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _last_line(reason: Exception) -> str:
    """What went wrong; the lines before it say where in OpenVINO's source."""
    lines = [line for line in str(reason).splitlines() if line.strip() and "failed at src" not in line]
    return lines[-1] if lines else str(reason)
