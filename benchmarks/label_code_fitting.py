"""Time of fitting DUpsampling's P and W: ours against the plain way, and the other methods.

The plain way turns every patch into its one-hot vector, multiplies them part by part to E[v v^T] and takes all its
eigenvectors. Ours counts patches of one class, multiplies the others class by class where two classes meet, and takes
the eigenvectors that are wanted. Both start from the same masks in memory; the times are of one core's work.

    OMP_NUM_THREADS=1 python benchmarks/label_code_fitting.py [--data DIR | --scenes 60] [--ratio 16] [--codes 64]
                                                              [--rounds 3] [--methods plain exact randomized]
"""

import argparse
import time
from functools import partial

import numpy as np
import torch
from interleaved import interleaved
from numpy.typing import NDArray

from segwright.analysis.fitting import fit_patches
from segwright.analysis.patches import LabelPatches
from segwright.data import MaskReader, load_data
from segwright.data.synthetic import CLASSES, IGNORE_INDEX, draw_scene
from segwright.layers.dupsampling import label_patches

PART = 4096  # patches
Masks = list[NDArray[np.integer]]


def plain(masks: Masks, num_classes: int, ratio: int, codes: int) -> NDArray[np.float32]:
    """W (N, codes) from dense one-hot vectors; void is zero."""
    length = num_classes * ratio**2
    moment = np.zeros((length, length), np.float32)
    tensors = (torch.from_numpy(mask.astype(np.int64))[None] for mask in masks)
    rows = np.concatenate([label_patches(tensor, ratio).flatten(0, 2).numpy() for tensor in tensors])
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        vectors = (part[:, None] == np.arange(num_classes)[:, None]).astype(np.float32).reshape(len(part), length)
        moment += vectors.T @ vectors
    return np.linalg.eigh(moment / len(rows))[1][:, ::-1][:, :codes]


def ours(masks: Masks, num_classes: int, void: int, ratio: int, codes: int, method: str) -> NDArray[np.float32]:
    patches = LabelPatches.from_masks(masks, ratio=ratio, num_classes=num_classes, void=void)
    fitted = fit_patches(patches, tuple(map(str, range(num_classes))), codes, method=method)  # type: ignore[arg-type]
    return fitted.reconstruction.numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="a data set whose train masks are taken; street scenes are drawn without")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--ratio", type=int, default=16)
    parser.add_argument("--codes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=("plain", "exact", "randomized"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data:
        data = load_data(options.data)
        reader = MaskReader(data.labels)
        masks: Masks = [reader.read(pair.mask) for pair in data.pairs("train")]
        num_classes, void = len(data.classes), data.labels.ignore_index
    else:
        masks = [draw_scene(seed, (360, 480))[1] for seed in range(options.scenes)]
        num_classes, void = len(CLASSES), IGNORE_INDEX
    print(f"{len(masks)} masks, {num_classes} classes, ratio {options.ratio}, {options.codes} codes")
    ways = {
        name: (
            partial(plain, masks, num_classes, options.ratio, options.codes)
            if name == "plain"
            else partial(ours, masks, num_classes, void, options.ratio, options.codes, name)
        )
        for name in options.methods
    }
    seconds = interleaved(ways, rounds=options.rounds, warmup=0, clock=time.process_time)
    for name in options.methods:
        if name != "plain" and "plain" in seconds:
            print(f"plain / {name}: {seconds['plain'] / seconds[name]:.1f}")


if __name__ == "__main__":
    main()
