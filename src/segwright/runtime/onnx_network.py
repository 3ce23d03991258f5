"""An exported network run by ONNX Runtime."""

from pathlib import Path
from typing import Any

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
from segwright.runtime.machine import cpu_threads

_TYPES = {"float": "float32", "double": "float64"}
"""NumPy's names of ONNX Runtime's types, where they differ."""


class OnnxNetwork:
    """A network in an ``.onnx`` file, on the CPU.

    Args:
        path: a file that ``segwright export --format onnx`` wrote.
        device: ``auto`` or ``cpu``.
        precision: ``auto`` (the file's own), ``fp32`` or ``int8``; ONNX Runtime's CPU kernels know no bf16.
        threads: to compute with; all that this process may use unless given.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        WeightsError: a file that is missing, truncated, of another kind, not exported by segwright, or changed since.
        ConfigError: another device, or a precision that the file or the runtime cannot do.
    """

    runtime = "onnx"

    def __init__(
        self, path: Path, *, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        only_cpu(device, self.runtime)
        if path.suffix.lower() not in (suffix for suffix, readers in READERS.items() if self.runtime in readers):
            raise ConfigError(f"ONNX Runtime reads .onnx files, got '{path}'", fix="use --runtime openvino")
        ort = import_runtime("onnxruntime", "onnx")
        check_file(path)
        self.path = path
        self._session = _session(ort, path, cpu_threads(threads))
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.exported = Exported.from_metadata(metadata, str(path))
        check_digest(path, metadata)
        self.precision: str = chosen_precision(precision, self.exported.precision, path)
        if self.precision == "bf16":
            raise ConfigError(
                f"ONNX Runtime cannot compute in bf16 on the CPU ('{path}')",
                fix='use --runtime openvino (pip install "segwright[openvino]"), or a file exported in fp32',
            )
        self.info, self.align_corners = self.exported.info, self.exported.align_corners
        self.takes, self.gives = self.exported.input, self.exported.output
        check_ends(path, self.exported, _ends(self._session.get_inputs()), _ends(self._session.get_outputs()))

    def run(self, batch: Batch) -> Result:
        """What the file takes -> what it gives.

        Raises:
            RunError: the network failed at this size.
        """
        try:
            (result,) = self._session.run([self.gives], {self.takes: batch})
        except Exception as reason:  # the package's own errors have no common parent
            raise could_not_run(self.path, batch, reason) from reason
        array: Result = result
        return array


def _ends(entries: list[Any]) -> list[End]:
    def side(length: object) -> int | None:
        return length if isinstance(length, int) else None  # free sides have names

    def dtype(name: str) -> str:
        bare = name.removeprefix("tensor(").removesuffix(")")
        return _TYPES.get(bare, bare)

    return [End(entry.name, dtype(entry.type), tuple(map(side, entry.shape))) for entry in entries]


def _session(ort: Any, path: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads  # given, so that it does not pin them to cores we may not use
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its warnings speak to those who write graphs; errors are raised, so not told twice
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # the package's own errors have no common parent
        raise unreadable(path, reason) from reason
