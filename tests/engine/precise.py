"""Training in double precision, where rounding cannot hide a difference between two ways to the same sums."""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from segwright.engine import build
from segwright.engine.normalise import Normalise
from segwright.inference import Predictor
from segwright.models import SegmentationModel


@contextmanager
def double_precision() -> Iterator[None]:
    """Networks and losses of the runs inside compute in float64; validation does in float32, as ever."""
    float32, build_network, normalise = Tensor.float, build.build_network, Normalise.forward

    def kept(tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype == torch.float64 else float32(tensor)

    def double_network(*arguments: Any, **options: Any) -> SegmentationModel:
        return build_network(*arguments, **options).double()

    def predictor(model: SegmentationModel, device: str) -> Predictor:
        return Predictor(copy.deepcopy(model).to(torch.float32), device=device)

    with (
        patch.object(Tensor, "float", kept),
        patch.object(build, "build_network", double_network),
        patch.object(Normalise, "forward", lambda self, images: normalise(self, images).to(torch.float64)),
        patch.object(sys.modules["segwright.engine.train"], "Predictor", predictor),
    ):
        yield
