"""A network that knows classes by their colours, and pictures painted in them: what it is asked, it knows surely."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segwright.info import ModelInfo, Preprocessing, generic_palette
from segwright.layers import ConvBNReLU
from segwright.models import SegmentationModel
from segwright.types import SegmentationOutput
from tests.support.fill import fill

COLOURS = np.array([(70, 130, 180), (250, 60, 60), (40, 240, 60)], np.float32)
CLASSES = ("sky", "road", "car")
YAML = "path: .\n{splits}classes: {{0: sky, 1: road, 2: car}}\n"


class ColourModel(SegmentationModel):
    """Averages 4x4 pixels and takes the nearest colour; the score is the negative squared distance, less |x|^2."""

    def __init__(self, preprocessing: Preprocessing, *, num_classes: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.num_classes, self.aux_weights = num_classes, {}
        self.smooth = nn.Conv2d(3, 3, 4, stride=4, padding=2, groups=3, bias=False)
        self.classifier = nn.Conv2d(3, num_classes, 1)
        self.extra = ConvBNReLU(num_classes, num_classes, 3, dilation=dilation)
        nn.init.constant_(self.smooth.weight, 1 / 16)
        order = (2, 1, 0) if preprocessing.channel_order == "BGR" else (0, 1, 2)
        colours = np.resize(COLOURS, (num_classes, 3))[:, order] / 255
        centres = torch.from_numpy((colours - preprocessing.mean) / preprocessing.std).float()
        with torch.no_grad():
            self.classifier.weight.copy_(2 * centres[:, :, None, None])
            self.classifier.bias.copy_(-centres.square().sum(1))
        self.info = ModelInfo("colours", {}, CLASSES[:num_classes], generic_palette(num_classes), preprocessing)
        if num_classes != len(CLASSES):
            names = tuple(f"class {index}" for index in range(num_classes))
            self.info = ModelInfo("colours", {}, names, generic_palette(num_classes), preprocessing)
        fill(self.extra)
        self.eval()

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        logits = self.classifier(self.smooth(images))
        return SegmentationOutput(logits + 0.01 * self.extra(logits), {})


def paint(seed: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and its mask: stripes and a box."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 2 + rng.integers(-4, 5) :] = 1
    top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
    mask[top : top + size[0] // 3, left : left + size[1] // 3] = 2
    noise = rng.integers(-20, 21, (*size, 3))
    return (COLOURS[mask] + noise).clip(0, 255).astype(np.uint8), mask


def write_data(folder: Path, *, with_masks: bool = True, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """Three pictures of 96x128 per split."""
    for number, split in enumerate(splits):
        for kind in ("images", "masks") if with_masks else ("images",):
            (folder / kind / split).mkdir(parents=True)
        for index in range(3):
            picture, mask = paint(10 * number + index, (96, 128))
            Image.fromarray(picture).save(folder / "images" / split / f"{index}.png")
            if with_masks:
                Image.fromarray(mask).save(folder / "masks" / split / f"{index}.png")
    if with_masks:
        lines = "".join(f"{split}: {{images: images/{split}, masks: masks/{split}}}\n" for split in splits)
        (folder / "data.yaml").write_text(YAML.format(splits=lines))
    return folder
