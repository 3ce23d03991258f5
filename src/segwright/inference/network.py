"""What the predictor asks of whatever runs the network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segwright.info import ModelInfo


class Network(Protocol):
    """A network ready to run, on some device, by some runtime.

    Attributes:
        info: classes, palette and preprocessing.
        align_corners: of the resize from its logits to the picture's size.
        precision: what it computes in, ``fp32`` for example; never ``auto``.
    """

    info: ModelInfo
    align_corners: bool
    precision: str

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, H, W) preprocessed, any H, W >= 1 -> (N, num_classes, h, w) at the network's own stride."""
        ...
