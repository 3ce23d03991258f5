"""What a prediction says, and what can be done with it."""

from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segwright.errors import ConfigError
from segwright.info import Colour
from segwright.runtime import class_areas, overlay, rgb_view, save_mask
from segwright.runtime.bands import BandArray
from segwright.runtime.masks import MaskArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mask of one picture.

    Args:
        mask: (H, W) class indices, uint8 (uint16 above 256 classes), of the picture as shown.
        classes: names; the position is the class index.
        palette: one RGB colour per class.
        image: (H, W, 3) uint8, RGB, the picture as shown; of a network of bands (H, W, bands) as stored.
        confidence: (H, W) float32, the probability of the predicted class; None unless asked for.
        milliseconds: from the picture (reading its file included) to the mask.
    """

    mask: MaskArray
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    image: BandArray
    confidence: NDArray[np.float32] | None
    milliseconds: float

    def areas(self) -> dict[str, float]:
        """Share of the picture (0..1) of every class; they sum to 1."""
        return class_areas(self.mask, self.classes)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The picture under the mask's colours; bands as :func:`segwright.runtime.rgb_view` shows them.

        Args:
            alpha: share of the colours, 0..1.

        Raises:
            ConfigError: ``alpha`` outside 0..1, or no number.
        """
        if not isinstance(alpha, Real):
            raise ConfigError(f"alpha must be a number, got {alpha!r}", fix="give 0 (picture) to 1 (colours)")
        return Image.fromarray(overlay(rgb_view(self.image), self.mask, self.palette, alpha))

    def save(self, path: str | Path) -> None:
        """Write the mask as index PNG with the palette in it, whole or not at all.

        Raises:
            ConfigError: a name that does not end in .png.
            RunError: the file could not be written.
        """
        save_mask(path, self.mask, self.palette)
