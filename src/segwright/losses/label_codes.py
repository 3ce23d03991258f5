"""Regression on compressed labels (DUpsampling, section 3.1)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from segwright.errors import ShapeError
from segwright.layers.sharing import batch_share

Encode = Callable[[Tensor, int], Tensor]
"""``f(masks, ignore_index)``: (N, H, W) labels to the (N, code_channels, h, w) codes of their patches."""


class LabelCodeLoss:
    """Squared distance between the network's codes and the codes of the labels, averaged over patches and channels.

    Patches without a labelled pixel do not count; a batch without any other gives 0.

    Args:
        encode: compresses labels.
        ratio: rows and columns of a patch.
    """

    def __init__(self, encode: Encode, ratio: int) -> None:
        self.encode, self.ratio = encode, ratio

    def __call__(
        self, prediction: Tensor, masks: Tensor, *, pixel_loss: Callable[[Tensor, Tensor], Tensor], ignore_index: int
    ) -> Tensor:
        """The loss of (N, code_channels, h, w) codes; ``pixel_loss`` is not used.

        Raises:
            ShapeError: the codes are not those of the masks' patches.
        """
        codes = self.encode(masks, ignore_index).to(prediction)
        if codes.shape != prediction.shape:
            raise ShapeError(
                f"the network gave codes of shape {tuple(prediction.shape)}, the labels have {tuple(codes.shape)}",
                fix="take them from strided_logits while training, at their own stride",
            )
        is_labelled = F.max_pool2d((masks != ignore_index).to(prediction)[:, None], self.ratio, ceil_mode=True)
        distance = (prediction - codes).square().mean(1, keepdim=True)
        return (distance * is_labelled).sum() / batch_share(is_labelled.sum(), least=1)
