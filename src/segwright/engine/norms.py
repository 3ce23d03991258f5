"""Which statistics a run's batch normalisations use: of the batch of all processes, of their own, or kept ones."""

from accelerate import Accelerator
from torch import nn

from segwright.backbones.timm_library import timm
from segwright.config import Config
from segwright.engine.distributed import sharing_of
from segwright.errors import ConfigError
from segwright.layers.sharing import share_batch
from segwright.models import SegmentationModel
from segwright.models.transfer import trunk_of


def arrange_norms(config: Config, model: SegmentationModel, accelerator: Accelerator) -> SegmentationModel:
    """Let a network compute as ``train.batch_norm`` says, and its dropouts as one process would; keys stay.

    Args:
        config: with ``train.batch_norm``, and ``model.weights`` for ``frozen``.
        model: on the device, in training mode.
        accelerator: device and processes.

    Raises:
        ConfigError: as :func:`frozen_part`.
    """
    kind, sharing = config.train.batch_norm, sharing_of(accelerator)
    if sharing is not None:
        is_synchronised = kind != "local"
        is_cuda = accelerator.device.type == "cuda"
        share_batch(model, sharing, norms=is_synchronised and not is_cuda)
        if is_synchronised and is_cuda:  # torch's own, for CUDA alone; timm's conversion knows its activations too
            model = timm.layers.convert_sync_batchnorm(model)
    if kind == "frozen":
        for module in frozen_part(config, model).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    return model


def frozen_part(config: Config, model: SegmentationModel) -> nn.Module:
    """What has statistics of the starting weights: the trunk, with ImageNet's, or the whole network.

    Raises:
        ConfigError: nothing has, for training starts from fresh weights.
    """
    if config.model.weights is None:
        raise ConfigError(
            "train.batch_norm is frozen, and fresh weights have no statistics to keep",
            fix="give --weights, or take auto, sync or local",
        )
    return trunk_of(model) if config.model.weights == "imagenet" else model
