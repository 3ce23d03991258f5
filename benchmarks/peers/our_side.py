"""Our side: the predictor with every runtime, and what the other scripts time of it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import resize_argmax
import torch
from pixel_work import CLASSES, counts

from peers.pipe import Call, serve
from segwright.deploy.rewrite import rewrite
from segwright.inference import Predictor
from segwright.runtime import prepare, read_image
from segwright.zoo import load_model

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


def predictor(model: str, runtime: str, precision: str, device: str = "cpu") -> Predictor:
    """As after some pictures. Runtime ``rewritten`` is torch with the exact rewrites that pay on this machine."""
    prepare("mask")
    if runtime != "rewritten":
        return Predictor(model, device, runtime, precision, threads=THREADS)
    network = load_model(model)
    steps_for: Any = "bf16" if precision == "bf16" else "fp32"
    return Predictor(rewrite(network, precision=steps_for), device, "torch", precision, threads=THREADS)


def file_to_file(model: str, picture: str, mask: str, runtime: str, precision: str) -> Call:
    """From the picture's file to the mask's."""
    predict = predictor(model, runtime, precision)

    def call() -> Any:
        result = predict(picture)
        result.save(mask)
        return result.mask

    return call


def pixels_to_mask(model: str, picture: str, runtime: str, precision: str, device: str = "cpu") -> Call:
    """From the decoded picture, so with the normalisation."""
    predict, pixels = predictor(model, runtime, precision, device), read_image(Path(picture))
    return lambda: predict(pixels).mask


def images_to_logits(model: str, images: str) -> Call:
    network, batch = load_model(model), torch.from_numpy(np.load(images))

    @torch.inference_mode()
    def call() -> Any:
        return network.strided_logits(batch).logits.numpy()

    return call


def eager_on_gpu(model: str, images: str) -> Call:
    """Network, interpolation and argmax on the GPU, and the mask back."""
    network, batch = load_model(model).cuda(), torch.from_numpy(np.load(images))

    @torch.inference_mode()
    def call() -> Any:
        return network(batch.cuda()).logits.argmax(dim=1)[0].byte().cpu().numpy()

    return call


def logits_to_mask(way: str, size: tuple[int, int]) -> Call:
    """As ``resize_argmax.py`` times it, on smooth logits at stride 8."""
    prepare("mask")
    logits = resize_argmax.smooth(CLASSES, (size[0] // 8, size[1] // 8))
    return resize_argmax.masks(logits, (size[0], size[1]), False)[way]


def confusion(way: str, predicted: str, truth: str, as_areas: bool) -> Call:
    """As ``pixel_work.py`` times it; on request with what mmsegmentation's metric makes of a pair, to be compared."""
    prepare("count_pairs")
    count: Any = counts(np.load(predicted), np.load(truth))[way]

    def areas() -> Any:
        matrix = count()
        hits, of_prediction, of_truth = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
        return np.stack([hits, of_prediction + of_truth - hits, of_prediction, of_truth])

    return areas if as_areas else count


if __name__ == "__main__":
    makers = (
        file_to_file, pixels_to_mask, images_to_logits, eager_on_gpu, logits_to_mask, confusion,
    )  # fmt: skip
    serve({maker.__name__: maker for maker in makers})
