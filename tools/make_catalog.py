"""Writes the catalog of published checkpoints: facts about other people's weights, in our terms.

    python tools/make_catalog.py FOLDER

FOLDER holds ``mmseg_catalog.json`` (mmsegmentation's published checkpoints with their configurations and scores) and
``classes.json`` (names and colours of the data sets' classes). torchvision's checkpoints come from the metadata of the
torchvision that is installed.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from segwright.backbones.timm_library import import_torchvision

PUBLISHED = Path(__file__).parents[1] / "src" / "segwright" / "zoo" / "published"
COLUMNS = ("name", "model", "options", "dataset", "classes", "miou", "miou_ms", "crop", "params", "tensors", "file")
MMSEG_FILES = "https://download.openmmlab.com/mmsegmentation/v0.5/"
TORCHVISION_FILES = "https://download.pytorch.org/models/"
STRIDES = {(1, 2, 1, 1): 8, (1, 2, 2, 1): 16, (1, 2, 2, 2): 32}
DECODERS = {"PSPHead": "pspnet", "ASPPHead": "deeplabv3", "EncHead": "encnet"}
DATASETS = {
    "Cityscapes": "cityscapes",
    "ADE20K": "ade20k",
    "Pascal VOC 2012 + Aug": "voc2012",
    "COCO-Stuff 164k": "coco_stuff",
    "COCO-Stuff 10k": "coco_stuff_10k",
    "Pascal Context": "pascal_context",
    "Pascal Context 59": "pascal_context_59",
    "LoveDA": "loveda",
    "Potsdam": "potsdam",
    "Vaihingen": "vaihingen",
    "iSAID": "isaid",
    "Mapillary Vistas v1.2": "mapillary_v1_2",
}
LABELS = {  # title and the terms of the pictures
    "cityscapes": ("Cityscapes", "Cityscapes terms, non-commercial"),
    "ade20k": ("ADE20K", "research, labels BSD-3-Clause"),
    "voc2012": ("PASCAL VOC 2012", "Flickr terms of use"),
    "coco_stuff": ("COCO-Stuff 164k", "Flickr terms, labels CC-BY-4.0"),
    "coco_stuff_10k": ("COCO-Stuff 10k", "Flickr terms, labels CC-BY-4.0"),
    "pascal_context": ("PASCAL Context 60", "Flickr terms of use"),
    "pascal_context_59": ("PASCAL Context 59", "Flickr terms of use"),
    "loveda": ("LoveDA", "CC-BY-NC-SA-4.0"),
    "potsdam": ("ISPRS Potsdam", "ISPRS terms, research"),
    "vaihingen": ("ISPRS Vaihingen", "ISPRS terms, research"),
    "isaid": ("iSAID", "academic use only"),
    "mapillary_v1_2": ("Mapillary Vistas 1.2", "CC-BY-NC-SA, research edition"),
    "voc2012_coco": ("COCO with VOC's classes", "Flickr terms of use"),
}


CORRECTIONS: dict[str, tuple[str, dict[str, Any]]] = {  # by hash: name and options that the file's own name tells
    "9092b254": ("pspnet_r50-d32_4xb2-80k_cityscapes-512x1024", {"backbone": "resnet50c"}),
    "c6b32c3b": ("bisenetv1_r101-d32_4xb4-160k_coco-stuff164k-512x512", {"backbone": "resnet101"}),
    "d5730af7": ("deeplabv3plus_r101-d8_4xb4-80k_ade20k-512x512", {}),
    "72220849": ("fastfcn_r50-d32_jpu_aspp_4xb4-80k_cityscapes-512x1024", {}),
    "77e87b0a": ("fastfcn_r50-d32_jpu_psp_4xb4-80k_cityscapes-512x1024", {}),
    "e1eb6dbb": ("fastfcn_r50-d32_jpu_enc_4xb4-80k_cityscapes-512x1024", {}),
}
"""Checkpoints that mmsegmentation's tables list under the configuration of another one."""


def main(folder: Path) -> None:
    """Write both tables and the data sets."""
    entries = json.loads((folder / "mmseg_catalog.json").read_text())
    write("mmseg.tsv", MMSEG_FILES, map(mmseg_row, entries))
    write("torchvision.tsv", TORCHVISION_FILES, torchvision_rows())
    write_datasets(json.loads((folder / "classes.json").read_text()))


def write(name: str, base: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One line per checkpoint, sorted by name; the first line says where the files lie."""
    cells = [[row[column] for column in COLUMNS] for row in sorted(rows, key=lambda row: row["name"])]
    lines = ["\t".join("" if cell is None else str(cell) for cell in row) for row in cells]
    (PUBLISHED / name).write_text("\n".join([f"# {base}", "\t".join(COLUMNS), *lines]) + "\n")


def mmseg_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One of mmsegmentation's checkpoints."""
    assert entry["mean"] == [123.675, 116.28, 103.53] and entry["std"] == [58.395, 57.12, 57.375]
    model, options = mmseg_options(entry["family"], entry["model"])
    url = entry["url"].replace("oz1z1penmmlab", "openmmlab")  # one address has a slip of the keyboard in it
    name, correction = CORRECTIONS.get(entry["url"][-12:-4], (entry["id"].partition("/")[2], {}))
    options |= correction
    return {
        "name": name,
        "model": model,
        "options": json.dumps(options, separators=(",", ":")),
        "dataset": DATASETS[entry["dataset"]],
        "classes": entry["model"]["decode_head"]["num_classes"],
        "miou": entry["miou"],
        "miou_ms": entry["miou_ms_flip"],
        "crop": "x".join(map(str, entry["crop_size"])),
        "params": None if correction else entry["params"],
        "tensors": None if correction else entry["n_keys"],
        "file": url.removeprefix(MMSEG_FILES),
    }


def mmseg_options(family: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Our model and the options with which it computes what the configuration says."""
    model = {"fastscnn": "fast_scnn", "bisenetv1": "bisenet"}.get(family, family)
    if model == "fast_scnn":
        return model, {"variant": "mmseg"}
    trunk, head = config["backbone"].get("backbone_cfg", config["backbone"]), config["decode_head"]
    options: dict[str, Any] = {"backbone": f"resnet{trunk['depth']}" + "c" * (trunk["type"] == "ResNetV1c")}
    options["variant"] = "mmseg"
    if model in ("icnet", "bisenet"):
        return model, options
    if model == "fastfcn":
        return model, options | {"decoder": DECODERS[head["type"]]}
    stride = STRIDES[tuple(trunk["strides"])]
    if stride != 8:
        options["output_stride"] = stride
    if "multi_grid" in trunk:
        options["multi_grid"] = trunk["multi_grid"]
    if head.get("dilation", 1) != 1:
        options["head_dilation"] = head["dilation"]
    if head["align_corners"]:
        options["align_corners"] = True
    return model, options


def torchvision_rows() -> Iterable[dict[str, Any]]:
    """Torchvision's checkpoints of the systems that we have."""
    import_torchvision()  # beside any torch
    models = importlib.import_module("torchvision.models")
    backbones = {
        "resnet50": "resnet50",
        "resnet101": "resnet101",
        "mobilenet_v3_large": "mobilenetv3_large_torchvision",
    }
    names = ("fcn_resnet50", "fcn_resnet101", *(f"deeplabv3_{trunk}" for trunk in backbones))
    for name in names:
        (weights,) = models.get_model_weights(name)
        with torch.device("meta"):
            network = models.get_model(name, weights=None, weights_backbone=None, aux_loss=True)
        model, _, trunk = name.partition("_")
        yield {
            "name": f"{name}_coco",
            "model": model,
            "options": json.dumps({"backbone": backbones[trunk], "variant": "torchvision"}, separators=(",", ":")),
            "dataset": "voc2012_coco",
            "classes": len(weights.meta["categories"]),
            "miou": weights.meta["_metrics"]["COCO-val2017-VOC-labels"]["miou"],
            "miou_ms": None,
            "crop": None,
            "params": weights.meta["num_params"],
            "tensors": len(network.state_dict()),
            "file": weights.url.removeprefix(TORCHVISION_FILES),
        }


def write_datasets(classes: Mapping[str, Mapping[str, Any]]) -> None:
    """Names, colours and terms of each data set, one line each."""
    sources = {"coco_stuff_10k": "coco_stuff", "voc2012_coco": "voc2012"}
    lines = []
    for key, (title, terms) in LABELS.items():
        labels = classes[sources.get(key, key)]
        record = {
            "title": title,
            "terms": terms,
            "classes": [name.strip() for name in labels["classes"]],
            "palette": "".join(bytes(colour).hex() for colour in labels["palette"]),
        }
        lines.append(f"{json.dumps(key)}: {json.dumps(record)}")
    (PUBLISHED / "datasets.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
