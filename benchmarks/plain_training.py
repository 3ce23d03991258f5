"""Training, from files to updated weights, beside a plain PyTorch loop of the same network, crop and batch.

The plain loop: Pillow and torchvision's transforms (random scale, crop, flip, colour), float32, contiguous, every
prediction resized by ``interpolate``, every pixel counted. Then ours, one measure after another; the last row is what
``segwright train`` does with the recipe's settings. All take turns in one process that also reads the files.
Run: python benchmarks/plain_training.py [--data DATA]
"""

import argparse
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import interleaved
from PIL import Image
from torch import Tensor
from training_step import plain_loss

from segwright.backbones.timm_library import import_torchvision
from segwright.data import Augmentation, SegmentationData, StreamSampler, TrainingSamples, load_data, training_loader
from segwright.data.synthetic import write_dataset
from segwright.engine.normalise import Normalise
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import create_model

NETWORKS: dict[str, tuple[dict[str, Any], int, tuple[int, int], tuple[int, int]]] = {
    "fast_scnn": ({}, 8, (288, 384), (2, 4)),
    "bisenet": ({"backbone": "resnet18"}, 4, (256, 320), (2, 2)),
}
"""Network -> options, batch, crop, and every how many rows and columns the main and auxiliary losses read."""

STEPS = 4
"""Steps a turn."""

Batches = Iterator[tuple[Tensor, Tensor]]


class PlainDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """The usual way: decode, resize both, crop, flip, colour, to float, normalise."""

    def __init__(self, data: SegmentationData, crop: tuple[int, int]) -> None:
        from torchvision import transforms

        self.pairs, self.crop = data.pairs("train"), crop
        self.colour = transforms.ColorJitter(0.3, 0.3, 0.3)
        self.tensor = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from torchvision.transforms import RandomCrop
        from torchvision.transforms import functional as F

        pair, scale = self.pairs[index], random.uniform(0.5, 2.0)
        image, mask = Image.open(pair.image).convert("RGB"), Image.open(pair.mask)
        size = [round(scale * side) for side in (image.height, image.width)]
        image, mask = F.resize(image, size), F.resize(mask, size, F.InterpolationMode.NEAREST)
        short = [max(0, crop - side) for crop, side in zip(self.crop, size, strict=True)]
        image, mask = F.pad(image, [0, 0, short[1], short[0]]), F.pad(mask, [0, 0, short[1], short[0]], fill=255)
        box = RandomCrop.get_params(image, self.crop)
        image, mask = F.crop(image, *box), F.crop(mask, *box)
        if random.random() < 0.5:
            image, mask = F.hflip(image), F.hflip(mask)
        return self.tensor(self.colour(image)), torch.from_numpy(np.array(mask, np.int64))


def plain_batches(data: SegmentationData, batch: int, crop: tuple[int, int]) -> Batches:
    loader = torch.utils.data.DataLoader(PlainDataset(data, crop), batch_size=batch, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def our_batches(data: SegmentationData, batch: int, crop: tuple[int, int], *, channels_last: bool) -> Batches:
    jitter = Augmentation(crop, brightness=0.3, contrast=0.3, saturation=0.3, channel_noise=0.05)
    samples = TrainingSamples(data.pairs("train"), data.labels, jitter, 0, memory_mb=1024)
    sampler = StreamSampler(batch, first_step=0, last_step=10**6)
    normalise = Normalise(create_model("fast_scnn", num_classes=2).info.preprocessing)
    for images, masks, _ in training_loader(samples, sampler, workers=0):
        ready = normalise(images)
        yield (ready if channels_last else ready.contiguous()), masks.long()


def training(
    name: str, num_classes: int, batches: Batches, *, strides: tuple[int, int] | None, channels_last: bool, bf16: bool
) -> Callable[[], object]:
    """A call that trains for some steps."""
    torch.manual_seed(0)
    order = torch.channels_last if channels_last else torch.contiguous_format
    model = create_model(name, num_classes=num_classes, **NETWORKS[name][0])
    model = model.to(memory_format=order).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss = plain_loss
    if strides is not None:
        ours = SegmentationLoss(cross_entropy, model.aux_weights, pixel_stride=strides[0], aux_pixel_stride=strides[1])
        loss = lambda output, masks: ours(output, masks)["loss"]  # noqa: E731

    def steps() -> None:
        for images, masks in itertools.islice(batches, STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = model.strided_logits(images)
            loss(output, masks).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return steps


def ways(name: str, data: SegmentationData) -> dict[str, Callable[[], object]]:
    """The plain loop, then ours, each row with one measure more."""
    _, batch, crop, strides = NETWORKS[name]
    rows = {
        "plain loop": (plain_batches(data, batch, crop), None, False, False),
        "+ window first, decoded once": (our_batches(data, batch, crop, channels_last=False), None, False, False),
        "+ channels last": (our_batches(data, batch, crop, channels_last=True), None, True, False),
        "+ bf16": (our_batches(data, batch, crop, channels_last=True), None, True, True),
        "+ resize as two products": (our_batches(data, batch, crop, channels_last=True), (1, 1), True, True),
        "+ loss on a share of the pixels": (our_batches(data, batch, crop, channels_last=True), strides, True, True),
    }
    return {
        row: training(name, len(data.classes), batches, strides=pixels, channels_last=order, bf16=bf16)
        for row, (batches, pixels, order, bf16) in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="data set; none: 80 drawn scenes")
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    import_torchvision()
    with tempfile.TemporaryDirectory() as folder:
        data = load_data(options.data or write_dataset(Path(folder) / "scenes", counts={"train": 80, "val": 2}))
        for name in options.models:
            _, batch, crop, _ = NETWORKS[name]
            print(f"\n{name}, {batch} crops of {crop[0]}x{crop[1]} a step, {options.threads} threads")
            # The first rounds decode the files that then are in memory.
            medians = interleaved(ways(name, data), rounds=options.rounds, warmup=len(data.pairs("train")) // 32 + 1)
            slowest = medians["plain loop"]
            for row, seconds in medians.items():
                print(f"{row:<34} {STEPS * batch / seconds:6.1f} images/s  {slowest / seconds:.2f}x")


if __name__ == "__main__":
    main()
