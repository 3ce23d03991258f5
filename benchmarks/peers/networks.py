"""The compared networks: one set of weights for both sides, and our files made of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from peers.pipe import Side
from segwright.data.synthetic import draw_scene, write_dataset
from segwright.deploy.export import export
from segwright.deploy.graph import to_onnx, to_openvino, write_graph
from segwright.deploy.quantize import quantise
from segwright.deploy.rewrite import Step, rewrite
from segwright.engine import resume, train
from segwright.errors import SegmentationError
from segwright.info import ModelInfo, generic_palette
from segwright.models import SegmentationModel
from segwright.models.weights import save_model
from segwright.runtime import find_images, preprocess, read_image
from segwright.runtime.exported import Exported, Precision
from segwright.zoo import create, find, load_model
from segwright.zoo.convert import rebuild
from segwright.zoo.systems import key_map_of

CLASSES = 19
"""As Cityscapes has, for which the peers' configurations are made."""

CALIBRATED_ON = 8
"""Pictures for int8: few, since it is the time that is compared."""

NEVER = -100.0
"""A classifier's bias of a class that never wins."""

ITERS = 240
"""Of training: enough for masks of whole areas with clean borders, as trained networks give."""

SCENES = {"train": 120, "val": 16, "test": 24}
SETTINGS = {
    "model.options.variant": "mmseg",
    "data.crop_size": (256, 320),
    "train.batch_size": 8,
    "loss.class_weights": "log",
    "loss.pixel_stride": 2,
    "loss.aux_pixel_stride": 4,
    "train.optimizer": "adamw",
    "train.lr": 0.003,
    "train.weight_decay": 0.01,
    "train.no_decay": ("depthwise", "norm", "bias"),
}


class System(NamedTuple):
    """A network that both sides have.

    Args:
        id: in our catalog.
        config: of mmsegmentation.
        size: (height, width) of the pictures.
        is_trained: on scenes we draw, for a few minutes; else the weights are mmsegmentation's initial ones.
    """

    id: str
    config: str
    size: tuple[int, int]
    is_trained: bool = False


SYSTEMS = {
    "Fast-SCNN": System(
        "mmseg/fast_scnn", "fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py", (1024, 2048), is_trained=True
    ),
    "DeepLabv3-ResNet50": System(
        "mmseg/deeplabv3_r50-d8", "deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024.py", (512, 1024)
    ),
    "PSPNet-ResNet50": System(
        "mmseg/pspnet_r50-d8", "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py", (512, 1024)
    ),
    "BiSeNet-ResNet18": System(
        "mmseg/bisenetv1_r18-d32", "bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py", (1024, 2048)
    ),
    "ICNet-ResNet50": System(
        "mmseg/icnet_r50-d8", "icnet/icnet_r50-d8_4xb2-160k_cityscapes-832x832.py", (1024, 2048)
    ),
}  # fmt: skip


class Files(NamedTuple):
    """What a comparison reads.

    Args:
        checkpoint: theirs.
        model, onnx, openvino: ours; the exported ones in float32.
        bf16: exported with large rates rewritten where there are any, to be computed in bf16.
        int8: exported with eight-bit convolutions; may be missing.
        picture: a JPEG.
        images: it as the network's input, (1, 3, H, W) float32 in a .npy.
    """

    checkpoint: Path
    model: Path
    onnx: Path
    openvino: Path
    bf16: Path
    int8: Path
    picture: Path
    images: Path


def prepare_files(name: str, folder: Path, peer: Callable[[], Side]) -> Files:
    """Make what is not there yet, which takes a minute a network.

    Args:
        name: in :data:`SYSTEMS`.
        folder: of all networks' files.
        peer: the peers' side, for its weights.
    """
    system, folder = SYSTEMS[name], folder / SYSTEMS[name].id.replace("/", "__")
    folder.mkdir(parents=True, exist_ok=True)
    exported = ("model.onnx", "model.xml", "model-bf16.xml", "model-int8.xml")
    names = ("theirs.pth", "model.safetensors", *exported, "street.jpg", "images.npy")
    files = Files(*(folder / name for name in names))
    if not files.images.exists():
        Image.fromarray(draw_scene(7, system.size)[0]).save(files.picture, quality=92)
        np.save(files.images, preprocess(read_image(files.picture), find_info(system).preprocessing)[None])
    if not files.model.exists():
        _trained(system, folder, files) if system.is_trained else _initial(system, files, peer())
    _exported(system, files, find_images([scenes(folder.parent) / "images" / "val"])[:CALIBRATED_ON])
    return files


def find_info(system: System) -> ModelInfo:
    """Of a fresh network of the entry."""
    return create(system.id, CLASSES).info


def _initial(system: System, files: Files, peer: Side) -> None:
    """Their initial weights, and the same in our network."""
    arguments = {"config": system.config, "picture": str(files.images), "file": str(files.checkpoint)}
    peer.ask(do="start", way="weights", maker="initial_weights", arguments=arguments)
    peer.ask(do="run", way="weights")
    save_model(rebuild(system.id, torch.load(files.checkpoint, weights_only=True)["state_dict"]), files.model)


def _trained(system: System, folder: Path, files: Files) -> None:
    """Our network trained for a few minutes, and the same weights under their names."""
    data = scenes(folder.parent)
    was_interrupted = (folder / "run" / "config.yaml").exists()
    run = (
        resume(folder / "run")
        if was_interrupted
        else train(data, find(system.id).model, out=folder / "run", iters=ITERS, settings=SETTINGS)
    )
    small = load_model(run.model)
    model = create(system.id, CLASSES)
    own = {key: _widened(value, small.num_classes) for key, value in small.state_dict().items()}
    model.load_state_dict(own)
    names = (*small.info.classes, *(f"none {index}" for index in range(small.num_classes, CLASSES)))
    model.info = replace(small.info, classes=names, palette=generic_palette(CLASSES))
    key_map = key_map_of(find(system.id))
    theirs = {key_map.their_key(key): value for key, value in own.items()}
    torch.save({"state_dict": theirs, "meta": {}}, files.checkpoint)
    rebuild(system.id, theirs)  # they do fit
    save_model(model, files.model)


def _widened(value: torch.Tensor, num_classes: int) -> torch.Tensor:
    """A classifier's tensor with rows for classes that never win, so that as many logits are computed as usual."""
    if value.ndim not in (1, 4) or value.shape[0] != num_classes:
        return value
    more = torch.full((CLASSES - num_classes, *value.shape[1:]), NEVER if value.ndim == 1 else 0.0)
    return torch.cat([value, more])


def scenes(folder: Path) -> Path:
    """Drawn street scenes as a data set."""
    return folder / "scenes" if (folder / "scenes").exists() else write_dataset(folder / "scenes", counts=SCENES)


def _exported(system: System, files: Files, pictures: Sequence[Path]) -> None:
    if not files.onnx.exists():
        export(files.model, files.onnx, format="onnx")
    if not files.openvino.exists():
        export(files.model, files.openvino, format="openvino")
    # Not by ``export``, which keeps no file of fewer bits of random weights: their classes are near ties everywhere.
    if not files.bf16.exists():
        _write(load_model(files.model), files.bf16, ("drop", "fold", "pyramid", "shift"), "bf16")
    refused = files.int8.with_suffix(".refused")
    if not files.int8.exists() and not refused.exists():
        try:
            _write(load_model(files.model), files.int8, ("drop", "fold", "pyramid"), "int8", pictures)
        except SegmentationError as reason:
            refused.write_text(str(reason))
    if refused.exists():
        print(f"no int8 file of {system.id}: {refused.read_text()}")


def _write(
    model: SegmentationModel, path: Path, steps: Sequence[Step], precision: Precision, pictures: Sequence[Path] = ()
) -> None:
    """Rewrite, quantise where there are pictures to calibrate on, and write for OpenVINO."""
    graph = to_openvino(to_onnx(rewrite(model, steps=steps), "images", "logits"))
    if pictures:
        graph = quantise(graph, pictures, "images", model.info.preprocessing)
    write_graph(graph, path, Exported(model.info, align_corners=model.align_corners, precision=precision))
