"""What the predictor asks of whatever runs the network."""

from typing import Protocol

from segwright.info import ModelInfo
from segwright.runtime.exported import Batch, Input, Output, Result


class Network(Protocol):
    """A network ready to run, on some device, by some runtime.

    Attributes:
        runtime: what runs it, ``torch`` for example.
        info: classes, palette and preprocessing.
        align_corners: of the resize from its logits to the picture's size.
        precision: what it computes in, ``fp32`` for example; never ``auto``.
        takes: ``images``, preprocessed; or ``pixels``, as decoded.
        gives: ``logits``; or ``mask``, which leaves nothing to decide.
    """

    runtime: str
    info: ModelInfo
    align_corners: bool
    precision: str
    takes: Input
    gives: Output

    def run(self, batch: Batch) -> Result:
        """A batch of what it takes, any H, W >= 1 -> of what it gives.

        Shape:
            images (N, channels, H, W) float32 or pixels (N, H, W, channels), uint8 for RGB
            -> logits (N, num_classes, h, w) float32 at the network's own stride or masks (N, H, W).

        Raises:
            RunError: it failed at this picture.
        """
        ...
