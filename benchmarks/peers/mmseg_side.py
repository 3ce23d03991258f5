"""The peers' side: mmsegmentation's own functions, and torchmetrics, in an environment of their own."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peers.operators import stand_in
from peers.pipe import Call, serve

stand_in()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

import mmseg  # noqa: E402
from mmseg.apis import inference_model, init_model  # noqa: E402
from mmseg.evaluation import IoUMetric  # noqa: E402

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"


@lru_cache(maxsize=1)
def network(config: str, checkpoint: str | None) -> Any:
    return init_model(str(CONFIGS / config), checkpoint, device="cpu")


def initial_weights(config: str, picture: str, file: str) -> Call:
    """Its fresh weights, with normalisations that fit a picture: else numbers grow from layer to layer."""

    def save() -> None:
        torch.manual_seed(0)
        model = network(config, None)
        model.init_weights()
        images = torch.from_numpy(np.load(picture))[..., ::4, ::4]
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.train()
                module.reset_running_stats()
                module.momentum = None
        with torch.no_grad():
            model(torch.cat([images, images.flip(-1)]), mode="tensor")
        torch.save({"state_dict": model.state_dict(), "meta": {}}, file)

    return save


def file_to_mask(config: str, checkpoint: str, picture: str) -> Call:
    model = network(config, checkpoint)
    return lambda: inference_model(model, picture).pred_sem_seg.data[0].numpy()


def images_to_mask(config: str, checkpoint: str, images: str) -> Call:
    """Network, interpolation and argmax; the images are normalised already."""
    model, batch = network(config, checkpoint), torch.from_numpy(np.load(images))
    metas = [{"img_shape": batch.shape[-2:]}]

    @torch.inference_mode()
    def call() -> Any:
        return model.encode_decode(batch, metas).argmax(dim=1)[0].numpy()

    return call


def images_to_logits(config: str, checkpoint: str, images: str) -> Call:
    model, batch = network(config, checkpoint), torch.from_numpy(np.load(images))

    @torch.inference_mode()
    def call() -> Any:
        logits = model(batch, mode="tensor")
        return (logits[0] if isinstance(logits, (list, tuple)) else logits).numpy()

    return call


def iou_metric(predicted: str, truth: str, num_classes: int) -> Call:
    """Counts of one pair as IoUMetric makes them: intersection, union, prediction, label."""
    masks = [torch.from_numpy(np.load(file)).long() for file in (predicted, truth)]
    return lambda: torch.stack(IoUMetric.intersect_and_union(*masks, num_classes, 255)).numpy()


def torchmetrics_confusion(predicted: str, truth: str, num_classes: int) -> Call:
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    masks = [torch.from_numpy(np.load(file)).long() for file in (predicted, truth)]
    return lambda: multiclass_confusion_matrix(*masks, num_classes, ignore_index=255).numpy()


if __name__ == "__main__":
    makers = (initial_weights, file_to_mask, images_to_mask, images_to_logits, iou_metric, torchmetrics_confusion)
    serve({maker.__name__: maker for maker in makers})
