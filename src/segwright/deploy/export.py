"""From a trained network to a file for ONNX Runtime or OpenVINO that is known to compute the same.

The file is written into a temporary folder, run beside the network on pictures of several sizes, and moved to its place
only if both agree.
"""

import copy
import dataclasses
import errno
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from segwright.data import SegmentationData, load_data
from segwright.deploy import check_export
from segwright.deploy.check_export import Compared
from segwright.deploy.graph import (
    FORMATS,
    OPSET,
    Format,
    check_packages,
    check_traceable,
    computes_in_bf16,
    to_onnx,
    to_openvino,
    write_graph,
)
from segwright.deploy.quantize import CALIBRATION_PICTURES, calibration_files, quantise
from segwright.deploy.rewrite import Step, rewrite
from segwright.errors import ConfigError, RunError, WeightsError
from segwright.evaluation import check_classes, evaluate
from segwright.inference.network import Network
from segwright.models import SegmentationModel
from segwright.models.weights import model_file_of
from segwright.runtime.exported import Exported, Precision, is_exported
from segwright.runtime.files import TEMPORARY
from segwright.runtime.machine import has_matrix_units
from segwright.runtime.onnx_network import OnnxNetwork
from segwright.runtime.openvino_network import OpenVinoNetwork
from segwright.zoo import load_model

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how many pieces are done, and of how many."""

ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}

PRECISIONS: dict[Format, tuple[Precision, ...]] = {"onnx": ("fp32",), "openvino": get_args(Precision)}

MAX_DROP = 0.01
"""Of the mIoU (0..1), for a file of fewer bits: what one expects eight bits to cost at most."""


@dataclass(frozen=True)
class Score:
    """What a file scores beside its network.

    Args:
        data, split, images: what they were scored on.
        model: mIoU (0..1) of the network in float32.
        file: mIoU of the file.
    """

    data: str
    split: str
    images: int
    model: float
    file: float


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it was checked.

    Args:
        path: the file; an ``.xml`` has its weights in a ``.bin`` beside it.
        format: onnx or openvino.
        record: what the file says about itself.
        size_bytes: of the file, with its weights.
        checks: the file beside its network, by size.
        score: mIoU of both, where labels were given.
        calibrated_on: pictures that an int8 file was calibrated on.
    """

    path: Path
    format: Format
    record: Exported
    size_bytes: int
    checks: tuple[Compared, ...]
    score: Score | None = None
    calibrated_on: int = 0

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "file": str(self.path),
            "files": [str(path) for path in files_of(self.path)],
            "size_bytes": self.size_bytes,
            "format": self.format,
            "opset": OPSET if self.format == "onnx" else None,
            "precision": self.record.precision,
            "input": self.record.input,
            "output": self.record.output,
            "max_logit_difference": self.record.max_logit_difference,
            "argmax_agreement": self.record.argmax_agreement,
            "checks": [check.to_json() for check in self.checks],
            "score": dataclasses.asdict(self.score) if self.score else None,
            "calibrated_on": self.calibrated_on,
        }


def files_of(path: Path) -> list[Path]:
    """The files that belong together."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def export(
    model: SegmentationModel | str | Path,
    out: str | Path | None = None,
    *,
    format: Format = "onnx",
    precision: Precision = "fp32",
    preprocessing: bool = False,
    argmax: bool = False,
    calibrate: str | Path | None = None,
    check: str | Path | None = None,
    max_drop: float = MAX_DROP,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a network as a file that runs without torch, if it computes the same.

    Batch, height and width are free. What only training uses is left out, and normalisations become part of the
    convolutions.

    Args:
        model: a network, or what ``load_model`` takes.
        out: the file, ``.onnx`` or ``.xml``; ``None`` for the model file's name and place with that ending.
        format: ``onnx``, or ``openvino``, an ``.xml`` with a ``.bin``.
        precision: ``fp32``; for OpenVINO also ``bf16`` (the weights stay float32; whoever runs the file computes in
            bf16) and ``int8``.
        preprocessing: inside: the file takes pictures as they are, (N, H, W, channels) uint8; RGB unless bands.
        argmax: inside: the file gives masks. Outside it takes less time and memory (``segwright.runtime``).
        calibrate: for int8: a data set, whose train split is used, or a folder of pictures.
        check: a data set on whose val split the file is scored beside its network. For int8 the one to calibrate on,
            if nothing else is said and it has labels.
        max_drop: by how much the file's mIoU (0..1) may be below the network's.
        progress: hears of the work.

    Raises:
        ConfigError: an unknown format or precision, one that the format lacks, int8 without pictures, a name that does
            not fit, or one whose ``.bin`` is another file.
        MissingExtraError: a package that the format needs is not installed.
        WeightsError: a model file that cannot be read, or an exported one.
        DataError: a data set without pictures or labels, or of other classes.
        RunError: the network cannot be written, or the file does not compute what the network computes.
    """
    _check_words(format, precision, calibrate, max_drop)
    if isinstance(model, str | Path) and is_exported(model):
        raise WeightsError(f"'{model}' is an exported file already", fix="give the model.safetensors it was made from")
    if isinstance(model, SegmentationModel) and not hasattr(model, "info"):
        raise ConfigError("the model knows neither its classes nor its preprocessing", fix="make it with create_model")
    path = _spared(_place(model, out, format, precision))
    work = _prepared(model, format, precision, preprocessing, argmax, calibrate, check, max_drop, progress or _silent)
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder:
            report = work.write(Path(folder) / path.name)
            for file in reversed(files_of(path)):  # the .xml last: where it is, its weights are
                (Path(folder) / file.name).replace(file)
    except OSError as reason:
        # Without a number it is OpenVINO's word, for a full disk as a rule.
        is_full = reason.errno in (None, errno.ENOSPC, errno.EDQUOT)
        fix = "free space, or give another --out" if is_full else "give an --out in a folder in which you may write"
        raise RunError(f"could not write {path}: {reason.strerror or reason}", fix=fix) from reason
    return dataclasses.replace(report, path=path)


def _prepared(
    model: SegmentationModel | str | Path,
    format: Format,
    precision: Precision,
    preprocessing: bool,
    argmax: bool,
    calibrate: str | Path | None,
    check: str | Path | None,
    max_drop: float,
    progress: Progress,
) -> "_Work":
    """Network, pictures and labels of an export, each read and checked before the work; arguments as :func:`export`."""
    check_packages(format, quantise=precision == "int8")
    if precision == "bf16" and not computes_in_bf16():
        raise ConfigError("this CPU has no bf16, so that the file could not be checked", fix="take --precision fp32")
    network = load_model(model) if isinstance(model, str | Path) else copy.deepcopy(model).cpu().float()
    check_traceable(network, "pixels" if preprocessing else "images")
    _check_size(network, preprocessing, argmax)
    pictures, labelled = calibration_files(calibrate) if calibrate is not None else ([], None)
    data = load_data(check) if check is not None else _judges(labelled, network)
    if data is not None:
        check_classes(network.info.classes, data)
        data.pairs("val")  # tells what is missing before the work
    record = Exported(
        network.info,
        "pixels" if preprocessing else "images",
        "mask" if argmax else "logits",
        network.align_corners,
        precision,
    )
    return _Work(network.eval(), format, record, pictures, data, max_drop, progress)


@dataclass(frozen=True)
class _Work:
    """An export whose words are all checked.

    Args:
        model: in evaluation mode, on the CPU, in float32.
        format: of the file.
        record: what the file will say, besides what is measured.
        files: pictures to calibrate on.
        data: whose val split scores the file; None for no score.
        max_drop, tell: as :func:`export`.
    """

    model: SegmentationModel
    format: Format
    record: Exported
    files: Sequence[Path]
    data: SegmentationData | None
    max_drop: float
    tell: Progress

    def write(self, path: Path) -> ExportReport:
        """Write and check the file at ``path``.

        Raises:
            RunError: it is not what it should be; whatever is at ``path`` then is to be thrown away.
        """
        precision = self.record.precision
        graph = self.graph()
        # Whether the graph is right shows in float32, where rounding hides nothing.
        checks = self.compare(graph, path, dataclasses.replace(self.record, precision="fp32"))
        check_export.judge(checks, "fp32", has_labels=False)
        if precision == "int8":
            self.tell("calibrating", 0, 1)
            graph = quantise(graph, self.files, self.record.input, self.model.info.preprocessing)
            self.tell("calibrating", 1, 1)
        if precision != "fp32":
            checks = self.compare(graph, path, self.record)
            check_export.judge(checks, precision, has_labels=self.data is not None)
        score = self.score(path) if self.data is not None else None
        measured = dataclasses.replace(
            self.record,
            max_logit_difference=check_export.largest_difference(checks),
            argmax_agreement=check_export.mean_agreement(checks),
        )
        write_graph(graph, path, measured)
        size = sum(file.stat().st_size for file in files_of(path))
        calibrated_on = min(len(self.files), CALIBRATION_PICTURES)
        return ExportReport(path, self.format, measured, size, tuple(checks), score, calibrated_on)

    def graph(self) -> Any:
        """The network as a graph of the format, in float32."""
        self.tell("writing the graph", 0, 1)
        # Libraries' own bf16 kernels for large rates collapse beside AMX; without it they are faster than shifted ones.
        is_shifted = self.record.precision == "bf16" and has_matrix_units()
        steps: tuple[Step, ...] = ("drop", "fold", "pyramid")
        lean = rewrite(self.model, steps=(*steps, "shift") if is_shifted else steps)
        graph = to_onnx(lean, self.record.input, self.record.output)
        self.tell("writing the graph", 1, 1)
        return to_openvino(graph) if self.format == "openvino" else graph

    def compare(self, graph: Any, path: Path, record: Exported) -> list[Compared]:
        """Write the file as it stands and run it beside the network."""
        write_graph(graph, path, record)
        files = self.files or self.val_pictures()
        pictures, compared = check_export.check_pictures(self.model.info.preprocessing, files), []
        try:
            network = start(path, self.format)
            for done, batch in enumerate(pictures):
                self.tell("checking", done, len(pictures))
                compared += check_export.compare(network, self.model, [batch])
        except (WeightsError, RunError) as reason:
            raise check_export.wrong(reason.message.replace(str(path), path.name)) from reason
        self.tell("checking", len(pictures), len(pictures))
        return compared

    def val_pictures(self) -> list[Path]:
        return [] if self.data is None else [pair.image for pair in self.data.pairs("val")]

    def score(self, path: Path) -> Score:
        """Score network and file.

        Raises:
            RunError: the file's mIoU is too far below.
        """
        assert self.data is not None

        def tell(what: str) -> Callable[[int, int], None]:
            return lambda done, total: self.tell(f"scoring the {what}", done, total)

        ours = evaluate(self.model, self.data, device="cpu", runtime="torch", progress=tell("network"))
        theirs = evaluate(path, self.data, runtime=self.format, progress=tell("file"))
        score = Score(self.data.name, "val", theirs.images, ours.miou, theirs.miou)
        if not score.file >= score.model - self.max_drop:
            raise RunError(
                f"in {self.record.precision} the mIoU on {score.data}/val falls from {100 * score.model:.2f} % to "
                f"{100 * score.file:.2f} %, by more than {100 * self.max_drop:g} points; nothing was kept",
                fix="allow more with --max-drop, calibrate on pictures more like these, or take another precision",
            )
        return score


def start(path: Path, format: Format) -> Network:
    """An exported file, ready to run."""
    return OnnxNetwork(path) if format == "onnx" else OpenVinoNetwork(path)


def _silent(what: str, done: int, total: int) -> None:
    pass


def _check_words(format: str, precision: str, calibrate: object, max_drop: float) -> None:
    if format not in FORMATS:
        raise ConfigError(f"unknown format '{format}'", fix=f"choose one of: {', '.join(FORMATS)}")
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision '{precision}'", fix=f"choose one of: {', '.join(get_args(Precision))}")
    if precision not in PRECISIONS[format]:
        why = "ONNX Runtime's CPU kernels know no bf16" if precision == "bf16" else "int8 is made for OpenVINO"
        raise ConfigError(f"precision {precision} is not to be had as {format}: {why}", fix="take --format openvino")
    if precision == "int8" and calibrate is None:
        raise ConfigError(
            "int8 needs pictures to calibrate on, and none were given",
            fix="add --calibrate DATA, a data set or a folder of pictures like those that will come",
        )
    if precision != "int8" and calibrate is not None:
        raise ConfigError(f"calibration is for int8, and precision is {precision}", fix="add --precision int8")
    if not 0 <= max_drop <= 1:
        raise ConfigError(f"the mIoU may drop by 0 to 100 points, got {100 * max_drop:g}", fix="1 point is usual")


def _check_size(model: SegmentationModel, preprocessing: bool, argmax: bool) -> None:
    """Refuse to put into the graph what would have to be resized there.

    Raises:
        ConfigError: the network wants pictures of one size.
    """
    side = model.info.preprocessing.short_side
    if side is not None and (preprocessing or argmax):
        raise ConfigError(
            f"model '{model.info.name}' wants pictures whose shorter side is resized to {side} pixels, which is done "
            "outside of the graph",
            fix="leave --preprocessing and --argmax out: segwright predict does both beside the file, and faster",
        )


def _place(model: SegmentationModel | str | Path, out: str | Path | None, format: Format, precision: str) -> Path:
    """The file to write.

    Raises:
        ConfigError: no such folder, a folder, or another ending.
    """
    ending = ENDINGS[format]
    if out is None:
        return _beside(model, f"{'' if precision == 'fp32' else f'-{precision}'}{ending}")
    path = Path(out).expanduser()
    if path.suffix.lower() != ending:
        raise ConfigError(
            f"--out '{path}' does not end in {ending}, as {format} files do", fix=f"give {path.with_suffix(ending)}"
        )
    if path.is_dir():
        raise ConfigError(f"--out '{path}' is a folder", fix="give the name of a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"folder '{path.parent}' of --out does not exist", fix="make it first")
    return path.with_suffix(ending)


def _spared(path: Path) -> Path:
    """The file to write, unless its ``.bin`` belongs to something else, such as the checkpoint that is exported."""
    weights = files_of(path)[-1]
    if weights.exists() and not path.exists():
        raise ConfigError(
            f"'{weights}' is there, belongs to no '{path.name}', and would be replaced",
            fix="give another name with --out, or move that file",
        )
    return path


def _beside(model: SegmentationModel | str | Path, ending: str) -> Path:
    """The model file's name with another ending; in the working directory for a network that has no file."""
    if not isinstance(model, str | Path):
        return Path(model.info.name + ending)
    if Path(model).exists():
        file = model_file_of(model)
        return file.with_name(file.stem + ending)
    return Path(Path(model).name + ending)


def _judges(data: SegmentationData | None, model: SegmentationModel) -> SegmentationData | None:
    """The data set that was given to calibrate on, if its val split can score the model."""
    return data if data is not None and "val" in data.folders and data.classes == model.info.classes else None
