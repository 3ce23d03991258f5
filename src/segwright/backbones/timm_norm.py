"""timm's normalisation with activation, made robust; a module of its own, because it imports timm with itself."""

import torch.nn.functional as F
from torch import Tensor

from segwright.backbones.timm_library import timm

BatchNormAct2d = timm.layers.BatchNormAct2d


class BatchNormAct(BatchNormAct2d):  # type: ignore[misc, valid-type]
    """timm's normalisation with activation, surviving one value per channel like :class:`BatchNorm2d`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            normed = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            activated: Tensor = self.act(self.drop(normed))
            return activated
        features: Tensor = super().forward(x)
        return features
