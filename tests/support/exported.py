"""Tiny exported files, written by hand: a 1x1 convolution that gives the class whose colour a pixel has."""

from pathlib import Path

import numpy as np
import pytest

from segwright.info import ModelInfo, Preprocessing, generic_palette
from segwright.runtime.exported import Exported, Input, Output, Precision
from segwright.runtime.packages import import_silently
from tests.support.extras import needs

STEPS = Preprocessing(mean=(0.5, 0.25, 0.5), std=(0.5, 0.25, 1.0))
CLASSES = ("sky", "road", "tree", "car")


def record(
    classes: tuple[str, ...] = CLASSES,
    input: Input = "images",
    output: Output = "logits",
    precision: Precision = "fp32",
    align_corners: bool = False,
    agreement: float | None = 1.0,
) -> Exported:
    info = ModelInfo("fast_scnn", {}, classes, generic_palette(len(classes)), STEPS)
    return Exported(info, input, output, align_corners, precision, 1e-5, agreement)


def weights(num_classes: int) -> np.ndarray:
    """(C, 3) of the convolution."""
    return np.random.default_rng(0).standard_normal((num_classes, 3)).astype(np.float32)


def write_onnx(path: Path, exported: Exported | None = None, *, stride: int = 1, kernel: int = 1) -> Path:
    """A file with the record in it; ``kernel`` widens what a pixel sees, ``exported.info`` gives the classes.

    The convolution runs over each channel alone where ``kernel`` is larger than 1, and averages.
    """
    onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests")
    exported = exported or record()
    helper, num_classes = onnx.helper, exported.info.num_classes
    taps = np.repeat(weights(num_classes)[..., None, None] / kernel**2, kernel, -1).repeat(kernel, -2)
    constants = {"kernel": taps, "mean": np.array(STEPS.mean, np.float32), "std": np.array(STEPS.std, np.float32)}
    nodes, given = [], "images"
    if exported.input == "pixels":
        constants["full"] = np.array(255, np.float32)
        nodes = [
            helper.make_node("Cast", ["pixels"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Div", ["floats", "full"], ["shares"]),
            helper.make_node("Sub", ["shares", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "std"], ["normalised"]),
            helper.make_node("Transpose", ["normalised"], ["images"], perm=[0, 3, 1, 2]),
        ]
        given = "pixels"
    border = (kernel - 1) // 2
    nodes.append(helper.make_node("Conv", ["images", "kernel"], ["logits"], strides=[stride] * 2, pads=[border] * 4))
    if exported.output == "mask":
        nodes += [
            helper.make_node("ArgMax", ["logits"], ["indices"], axis=1, keepdims=0),
            helper.make_node("Cast", ["indices"], ["mask"], to=onnx.TensorProto.UINT8),
        ]
    is_pixels, is_mask = given == "pixels", exported.output == "mask"
    types = onnx.TensorProto
    taken = helper.make_tensor_value_info(
        given, types.UINT8 if is_pixels else types.FLOAT, ["n", "h", "w", 3] if is_pixels else ["n", 3, "h", "w"]
    )
    result = helper.make_tensor_value_info(
        exported.output, types.UINT8 if is_mask else types.FLOAT, ["n", "a", "b"] if is_mask else ["n", "c", "a", "b"]
    )
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [taken], [result], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, exported.to_metadata())
    onnx.save(model, str(path))
    return path


def write_openvino(path: Path, exported: Exported | None = None, *, stride: int = 1) -> Path:
    """The same network in OpenVINO's own format."""
    needs("openvino")
    ov = import_silently("openvino")
    exported = exported or record()
    source = write_onnx(path.with_name(f"{path.stem}-source.onnx"), exported, stride=stride)
    model = ov.Core().read_model(source)
    for key, value in exported.to_metadata().items():
        model.set_rt_info(value, ["segwright", key])
    ov.save_model(model, path, compress_to_fp16=False)
    source.unlink()
    return path


def expected_logits(images: np.ndarray, num_classes: int = len(CLASSES), stride: int = 1) -> np.ndarray:
    """(N, 3, H, W) -> (N, C, h, w), in float64."""
    seen = images[:, :, ::stride, ::stride].astype(np.float64)
    return np.einsum("ck,nkhw->nchw", weights(num_classes).astype(np.float64), seen)


CHANGES = {
    "double": "takes images (float64, free x 3 x free x free)",
    "two axes": "takes images (float32, free x 3)",
    "four channels": "takes images (float32, free x 4 x free x free)",
    "number": "gives logits (float32, no axes)",
    "three classes": "gives logits (float32, free x 3 x free x free)",
    "whole numbers": "gives logits (int32, free x 4 x free x free)",
}
"""What graphs with our record may take or give, and what is told of them."""


def write_changed(path: Path, change: str) -> Path:
    """A file with our record whose graph takes or gives something else: one of :data:`CHANGES`."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests")
    helper, types = onnx.helper, onnx.TensorProto
    channels, classes = 4 if change == "four channels" else 3, 3 if change == "three classes" else 4
    constants = {"kernel": np.ones((classes, channels, 1, 1), np.float32), "axes": np.array([2, 3])}
    before = {
        "double": helper.make_node("Cast", ["images"], ["seen"], to=types.FLOAT),
        "two axes": helper.make_node("Unsqueeze", ["images", "axes"], ["seen"]),
    }
    after = {
        "number": helper.make_node("ReduceMax", ["scores"], ["logits"], keepdims=0),
        "whole numbers": helper.make_node("Cast", ["scores"], ["logits"], to=types.INT32),
    }
    nodes = [
        before.get(change, helper.make_node("Identity", ["images"], ["seen"])),
        helper.make_node("Conv", ["seen", "kernel"], ["scores"]),
        after.get(change, helper.make_node("Identity", ["scores"], ["logits"])),
    ]
    sides = ["n", channels, "h", "w"][: 2 if change == "two axes" else 4]
    taken = helper.make_tensor_value_info("images", types.DOUBLE if change == "double" else types.FLOAT, sides)
    kind, sides = types.INT32 if change == "whole numbers" else types.FLOAT, ["n", classes, "a", "b"]
    given = helper.make_tensor_value_info("logits", kind, [] if change == "number" else sides)
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "changed", [taken], [given], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, record().to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


def write_outside_weights(path: Path, target: Path, place: str) -> Path:
    """A copy of an ONNX file whose first weights lie at ``place``; a file of bytes lies beside its folder."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests")
    target.parent.mkdir()
    (target.parent.parent / "secret.bin").write_bytes(bytes(1_000_000))
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    size = len(onnx.numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", str(size))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    target.write_bytes(model.SerializeToString())
    return target
