"""The rest of the pixel work around a network, ours beside the usual way: input, decoding, mask file, overlay, counts.

One thread, processor time, 1024x2048. torchmetrics is timed where it is installed.

    OMP_NUM_THREADS=1 python benchmarks/pixel_work.py [--rounds 9]
"""

import argparse
import importlib.util
import io
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import interleaved
from numpy.typing import NDArray
from PIL import Image
from resize_argmax import smooth

from segwright.info import Preprocessing, generic_palette
from segwright.metrics import ConfusionMatrix
from segwright.runtime import overlay, prepare, preprocess, read_image, resize_argmax, save_mask

SIZE = (1024, 2048)
CLASSES = 19
PALETTE = generic_palette(CLASSES)
Bytes = NDArray[np.uint8]
Ways = dict[str, Callable[[], object]]


def by(tool: str, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        os.environ["SEGWRIGHT_COMPILED"] = "always" if tool == "compiled" else "never"
        return call()

    return run


def picture() -> Bytes:
    """Smooth areas with a little noise, so that it compresses as a photograph does."""
    areas = smooth(3, SIZE)
    values = 128 + 25 * areas + np.random.default_rng(0).normal(scale=4, size=areas.shape)
    return np.ascontiguousarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def inputs(image: Bytes) -> Ways:
    steps, out = Preprocessing(), np.empty((3, *SIZE), np.float32)

    mean, std = (torch.tensor(values)[:, None, None] for values in (steps.mean, steps.std))

    def to_tensor_and_normalize() -> torch.Tensor:  # the steps of torchvision's two
        images = torch.from_numpy(image.transpose(2, 0, 1)).contiguous().to(torch.float32).div(255)
        return images.clone().sub_(mean).div_(std)

    assert np.array_equal(preprocess(image, steps), to_tensor_and_normalize().numpy())
    return {
        "ToTensor + Normalize": to_tensor_and_normalize,
        "ours": lambda: preprocess(image, steps),
        "ours, into given memory": lambda: preprocess(image, steps, out),
    }


def decoding(path: Path) -> Ways:
    return {f"at_least={size}": lambda size=size: read_image(path, size) for size in (None, (512, 1024), (256, 512))}


def mask_files(mask: Bytes, folder: Path) -> Ways:
    def encoded(**options: Any) -> int:
        file, drawing = io.BytesIO(), Image.fromarray(mask)
        drawing.putpalette([value for colour in PALETTE for value in colour] + [0] * 3 * (256 - CLASSES))
        drawing.save(file, format="PNG", **options)
        return len(file.getvalue())

    fast: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
    print(f"\nbytes: {encoded()} as Pillow does by default, {encoded(**fast)} ours")
    return {
        "Pillow's default, to memory": encoded,
        "run lengths, to memory": lambda: encoded(**fast),
        "ours, to a file": lambda: save_mask(folder / "mask.png", mask, PALETTE),
    }


def overlays(image: Bytes, mask: Bytes) -> Ways:
    colours = np.zeros((256, 3), np.uint8)
    colours[:CLASSES] = PALETTE

    def looked_up_and_blended() -> Bytes:
        drawing = Image.fromarray(colours[mask])
        return np.asarray(Image.blend(Image.fromarray(image), drawing, 0.5))

    ways: Ways = {
        "NumPy lookup, float blend": lambda: (0.5 * image + 0.5 * colours[mask]).astype(np.uint8),
        "NumPy lookup, Pillow blend": looked_up_and_blended,
    }
    for tool in ("NumPy", "compiled"):
        ways[f"ours, {tool}"] = by(tool, lambda: overlay(image, mask, PALETTE))
        assert np.array_equal(ways[f"ours, {tool}"](), looked_up_and_blended())
    return ways


def counts(predicted: Bytes, truth: Bytes) -> Ways:
    def mask_and_histograms() -> list[torch.Tensor]:  # the steps of mmsegmentation's IoUMetric
        both = torch.from_numpy(predicted), torch.from_numpy(truth)
        prediction, mask = (values[both[1] != 255] for values in both)
        hits = prediction[prediction == mask]
        return [torch.histc(v.float(), bins=CLASSES, min=0, max=CLASSES - 1) for v in (hits, prediction, mask)]

    def bincount() -> NDArray[np.integer]:
        valid = truth != 255
        codes = CLASSES * truth[valid].astype(np.int64) + predicted[valid]
        return np.bincount(codes, minlength=CLASSES**2).reshape(CLASSES, CLASSES)

    def ours() -> NDArray[np.int64]:
        confusion = ConfusionMatrix(CLASSES)
        confusion.update(predicted, truth)
        return confusion.matrix

    ways: Ways = {"mmsegmentation's steps": mask_and_histograms, "NumPy bincount": bincount}
    if importlib.util.find_spec("torchmetrics"):
        from torchmetrics.classification import MulticlassConfusionMatrix

        metric = MulticlassConfusionMatrix(CLASSES, ignore_index=255)
        long = torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()
        ways["torchmetrics"] = lambda: metric.update(*long)
    for tool in ("NumPy", "compiled"):
        ways[f"ours, {tool}"] = by(tool, ours)
        assert np.array_equal(ways[f"ours, {tool}"](), bincount())
    return ways


def compare(title: str, ways: Ways, rounds: int) -> None:
    print(f"\n{title}")
    medians = interleaved(ways, rounds=rounds, clock=time.process_time)
    for name, seconds in medians.items():
        if name.startswith(("ours", "at_least")):
            others = [f"{medians[other] / seconds:.1f} x {other}" for other in medians if other != name]
            print(f"{name}: {', '.join(others)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not prepare("mask", "blend", "count_pairs"):
        print("numba is missing: 'compiled' is NumPy here")
    image = picture()
    mask = resize_argmax(smooth(CLASSES, (128, 256)), SIZE).mask.astype(np.uint8)
    shifted = np.ascontiguousarray(np.roll(mask, (2, 5), axis=(0, 1)))
    truth = mask.copy()
    truth[-64:] = 255
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        Image.fromarray(image).save(Path(name, "picture.jpg"), quality=92)
        compare("input of the network", inputs(image), options.rounds)
        compare("decoding a JPEG", decoding(Path(name, "picture.jpg")), options.rounds)
        compare("mask to PNG", mask_files(mask, Path(name)), options.rounds)
        compare("overlay", overlays(image, mask), options.rounds)
        compare("confusion matrix", counts(shifted, truth), options.rounds)
        noise = np.random.default_rng(0).integers(0, CLASSES, (2, *SIZE), dtype=np.uint8)
        compare("confusion matrix of noise, the worst case", counts(noise[0], noise[1]), options.rounds)


if __name__ == "__main__":
    main()
