"""Copies the small part of a folder of reference records into tests/golden.

    python tools/make_golden.py FOLDER mmseg__pspnet_r50-d8 smp__pspnet_resnet34 ...
    python tools/make_golden.py FOLDER dupsampling__layer_r8:s1_96x96       # one of its runs
    python tools/make_golden.py keys pspnet danet ...       # or: the tensors' names of networks of ours

Kept are the tensors' names and shapes, the hashes of three filled tensors, the parameter count, the multiplications,
and the outputs at the references' own strides; the outputs at the images' size follow from those by one resize and
stay in the folder.
"""

import json
import sys
from collections.abc import Container
from pathlib import Path

import numpy as np
import torch

from segwright.models import create_model

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
KEPT = ("source", "config", "num_classes", "params_total", "macs", "fill_sha256", "state_dict")


def is_resized_native(key: str, entries: Container[str]) -> bool:
    """Whether an output is another one, which is kept, at the image's size: aux0_full is aux0_native resized."""
    return key.endswith("full") and key.removesuffix("full") + "native" in entries


def main(folder: Path, names: list[str]) -> None:
    """Write the small copies of the named records."""
    for wish in names:
        name, _, only = wish.partition(":")
        record = json.loads((folder / f"{name}.json").read_text())
        outputs = {
            tag: {
                key: entry
                for key, entry in entries.items()
                if key != "jpu_out" and "returned" not in key and not is_resized_native(key, entries)
            }
            for tag, entries in record["outputs"].items()
            if only in ("", tag)
        }
        kept = {key: record[key] for key in KEPT if key in record} | {"outputs": outputs}
        kept["state_dict"] = [[key, shape] for key, shape, *_ in record["state_dict"]]
        (GOLDEN / f"{name}.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
        with np.load(folder / f"{name}.npz") as arrays:
            wanted = {entry["npz_key"] for entries in outputs.values() for entry in entries.values()}
            np.savez_compressed(GOLDEN / f"{name}.npz", **{key: arrays[key] for key in sorted(wanted)})


def write_state_keys(models: list[str]) -> None:
    """Write the tensors' names of our networks, by which saved weights are found."""
    for name in models:
        with torch.device("meta"):
            keys = create_model(name, num_classes=5).state_dict()
        (GOLDEN / "state_keys" / f"{name}.txt").write_text("\n".join(keys) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "keys":
        write_state_keys(sys.argv[2:])
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
