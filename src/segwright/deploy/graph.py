"""A network as a graph that needs neither torch nor this package: ONNX, or OpenVINO's own format.

Both come from one trace of the network, in which batch, height and width are free. OpenVINO reads the ONNX graph; its
own reader of torch programs takes several times as long and knows fewer operations.
"""

import importlib
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from segwright.errors import ConfigError, MissingExtraError, RunError
from segwright.layers import resize
from segwright.models import SegmentationModel
from segwright.runtime.digest import BLANK, DIGEST, digest_of
from segwright.runtime.exported import Exported, Input, Output
from segwright.runtime.packages import import_silently

Format = Literal["onnx", "openvino"]

FORMATS: tuple[Format, ...] = get_args(Format)

OPSET = 18
"""Of the ONNX operators: the one that torch's exporter writes without converting, which ONNX Runtime reads since 1.14
and OpenVINO since 2023.0."""

_TRACE_SHAPE = (2, 211, 301)
"""Batch, height and width of the traced images: no side is a multiple of a stride or equals another one at any stride,
and there is no 1, so that nothing that holds by chance is written down."""

_ENDLESS = ("timm.models.swin_transformer",)
"""Modules whose networks the tracer does not finish with; the second version begins with the same name."""

_GRAPH_PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnxruntime",), "openvino": ("openvino",)}


class Deployable(nn.Module):
    """What goes into the file: the network, and on request what comes before and after it.

    Args:
        model: in evaluation mode.
        takes: ``pixels`` for the preprocessing inside.
        gives: ``mask`` for the resize to the input's size and the decision inside.

    Shape:
        images (N, channels, H, W) float32 or pixels (N, H, W, channels) uint8 -> logits at the network's stride, or
        masks (N, H, W)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: SegmentationModel, takes: Input, gives: Output) -> None:
        super().__init__()
        self.model, self.takes, self.gives = model, takes, gives
        preprocessing = model.info.preprocessing
        self.is_bgr, self.unit = preprocessing.channel_order == "BGR", preprocessing.unit
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        images = self.preprocess(batch) if self.takes == "pixels" else batch
        logits = self.model.strided_logits(images).logits
        if self.gives == "logits":
            return logits
        size = (images.shape[-2], images.shape[-1])
        decided = resize(logits, size, align_corners=self.model.align_corners).argmax(dim=1)
        return decided.to(torch.uint8 if self.model.num_classes <= 256 else torch.uint16)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """As :func:`segwright.runtime.preprocess`."""
        ordered = pixels.flip(-1) if self.is_bgr else pixels
        return (ordered.permute(0, 3, 1, 2).float() / self.unit - self.mean) / self.std


def check_packages(format: Format, *, quantise: bool = False) -> None:
    """Find out before the work whether all is installed.

    Raises:
        MissingExtraError: names the package and how to get it.
    """
    for package in ("onnx", "onnxscript", *_GRAPH_PACKAGES[format], *(("nncf",) if quantise else ())):
        package_for_export(package)


def package_for_export(package: str) -> ModuleType:
    """An optional package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_silently(package)
    except ModuleNotFoundError as reason:
        if reason.name != package:
            raise
        extras = {"openvino": "train,openvino", "nncf": "train,openvino", "onnxruntime": "train,onnx"}
        raise MissingExtraError(
            f"exporting needs {package}, which is not installed",
            fix=f'pip install "segwright[{extras.get(package, "train")}]"',
        ) from reason


def check_traceable(model: SegmentationModel, takes: Input) -> None:
    """Refuse networks that cannot be traced with free sizes, of which some would keep the tracer busy without end.

    Args:
        model: the network.
        takes: what the file is to take.

    Raises:
        ConfigError: names the part, or pixels of more than 8 bits.
    """
    dtype = model.info.preprocessing.dtype
    if takes == "pixels" and dtype != "uint8":
        raise ConfigError(
            f"model '{model.info.name}' reads {dtype or 'other'} values, and a graph can take 8-bit pixels only",
            fix="leave --preprocessing out: segwright predict does it beside the file",
        )
    for module in model.modules():
        if type(module).__module__.startswith(_ENDLESS):
            raise ConfigError(
                f"model '{model.info.name}' has a {type(module).__name__}, whose windows are padded at every stage: "
                "with free height and width torch's tracer does not come to an end",
                fix="run it with torch, or train it on another backbone, such as resnet50 or convnext_tiny",
            )


def to_onnx(model: SegmentationModel, takes: Input, gives: Output) -> Any:
    """The network as an ``onnx.ModelProto`` with free batch, height and width.

    Raises:
        RunError: it has an operation that ONNX lacks, or one that torch cannot trace at free sizes.
    """
    batch, height, width = _TRACE_SHAPE
    noise = torch.Generator().manual_seed(0)
    sides = {0: "batch", 1: "height", 2: "width"} if takes == "pixels" else {0: "batch", 2: "height", 3: "width"}
    if takes == "pixels":
        example = torch.randint(256, (batch, height, width, model.in_channels), dtype=torch.uint8, generator=noise)
    else:
        example = torch.randn(batch, model.in_channels, height, width, generator=noise)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of its parts that will change; the file is checked instead
            program = torch.onnx.export(
                Deployable(model, takes, gives).eval(),
                (example,),
                input_names=[takes],
                output_names=[gives],
                dynamic_shapes=(sides,),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        assert program is not None
        passes = importlib.import_module("onnx_ir.passes.common")
        passes.ClearMetadataAndDocStringPass()(program.model)  # it names the files of this machine
        return program.model_proto
    except Exception as reason:  # exporter, tracer and optimizer each raise kinds of their own
        words = " ".join(str(reason).split())
        raise RunError(
            f"model '{model.info.name}' cannot be written as a graph ({type(reason).__name__}: {words[:300]})",
            fix="run it with torch, or export a variant without the operation that is named",
        ) from reason


def to_openvino(graph: Any) -> Any:
    """An ONNX graph as an ``openvino.Model``.

    Not by ``openvino.convert_model``, which writes into the user's home folder and reports its use.
    """
    return package_for_export("openvino").Core().read_model(graph.SerializeToString(), b"")


def computes_in_bf16() -> bool:
    """Whether OpenVINO has bf16 on this CPU."""
    return "BF16" in package_for_export("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write_graph(graph: Any, path: Path, record: Exported) -> None:
    """Write a graph and what is known of it.

    Args:
        graph: an ``onnx.ModelProto`` or an ``openvino.Model``.
        path: ends in ``.onnx`` or ``.xml``, beside which a ``.bin`` is written.
        record: goes into the file, with a digest of what is written.

    Raises:
        OSError: the operating system refused to write.
    """
    metadata = {**record.to_metadata(), DIGEST: BLANK}
    if path.suffix == ".onnx":
        onnx = package_for_export("onnx")
        onnx.helper.set_model_props(graph, metadata)
        path.write_bytes(graph.SerializeToString())
    else:
        for key, value in metadata.items():
            graph.set_rt_info(value, ["segwright", key])
        try:
            package_for_export("openvino").save_model(graph, str(path), compress_to_fp16=False)
        except RuntimeError as reason:  # OpenVINO's word for a full disk, too
            raise OSError(" ".join(str(reason).split())[-200:]) from reason
    digest = digest_of(path)
    path.write_bytes(path.read_bytes().replace(BLANK.encode(), digest.encode()))
