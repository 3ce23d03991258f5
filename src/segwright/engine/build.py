"""From settings to objects: the only place that does it."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segwright.config import Config, LossSettings, TrainSettings
from segwright.data import (
    Augmentation,
    DataReport,
    MaskReader,
    Pair,
    SegmentationData,
    StreamSampler,
    TrainingSamples,
    training_loader,
)
from segwright.engine.checkpoint import TrainState
from segwright.engine.distributed import StridedNetwork
from segwright.engine.optim import WeightAverage, build_optimizer
from segwright.errors import ConfigError, did_you_mean
from segwright.info import Preprocessing
from segwright.losses import LOSSES, SegmentationLoss, class_weights
from segwright.models import SegmentationModel, create_model
from segwright.types import Sample


@dataclass
class Training:
    """Everything that :func:`segwright.engine.train.train` works with.

    Args:
        settings: of the training, without holes once its length is planned.
        state: what changes, and is saved.
        network: the network as the loop calls it (wrapped by Accelerate).
        model: the same network, bare.
        loss: of outputs and masks.
        samples: the stream of training samples.
        val_pairs, reader: of the validation split.
        normalise: uint8 images on the device to the network's input.
    """

    settings: TrainSettings
    state: TrainState
    network: nn.Module
    model: SegmentationModel
    loss: SegmentationLoss
    samples: TrainingSamples
    val_pairs: Sequence[Pair]
    reader: MaskReader
    normalise: "Normalise"


class Normalise(nn.Module):
    """uint8 RGB images to the network's input: (value / 255 - mean) / std, channels last in memory."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.is_bgr = preprocessing.channel_order == "BGR"
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.is_bgr else images
        normalised = torch.addcmul(self.shift, ordered.float(), self.scale)
        return normalised.contiguous(memory_format=torch.channels_last)


def build_training(
    config: Config, data: SegmentationData, report: DataReport | None, accelerator: Accelerator
) -> Training:
    """Network, optimizer, loss and data of a run whose settings have no holes.

    Raises:
        SegmentationError: whatever a part finds wrong with its settings.
    """
    train = config.train
    torch.manual_seed(train.seed)
    model = build_network(config, data)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model = model.to(accelerator.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = WeightAverage(model, train.ema) if train.ema is not None else None
    optimizer = build_optimizer(model, train)
    network, optimizer = accelerator.prepare(StridedNetwork(model), optimizer)
    return Training(
        settings=train,
        state=TrainState(model, optimizer, average),
        network=network,
        model=model,
        loss=build_loss(config, model, data, report).to(accelerator.device),
        samples=build_samples(config, data, model.info.preprocessing),
        val_pairs=data.pairs(config.data.val_split),
        reader=MaskReader(data.labels),
        normalise=Normalise(model.info.preprocessing).to(accelerator.device),
    )


def build_network(config: Config, data: SegmentationData) -> SegmentationModel:
    """The network for the data set's classes, from fresh weights or from a model file."""
    settings = config.model
    model = create_model(
        settings.name, num_classes=len(data.classes), weights=settings.weights, **settings.options
    )
    model.info = replace(
        model.info,
        classes=data.classes,
        palette=data.palette,
        provenance={"data": data.name, "config": config.model_dump(mode="json")},
        licences={"code": "Apache-2.0", "weights": "as the training data allows", "training_data": "not stated"},
    )
    return model


def build_loss(config: Config, model: SegmentationModel, data: SegmentationData, report: DataReport | None) -> SegmentationLoss:
    """The pixel loss by name, with class weights from the data's check where they are asked for."""
    settings = config.loss
    weight: Tensor | None = None
    if settings.class_weights != "none":
        if report is None:
            raise ConfigError("loss.class_weights needs the pixel counts of data.check", fix="set data.check=true")
        weight = class_weights(report.class_counts(config.data.train_split), settings.class_weights)
    return SegmentationLoss(
        build_pixel_loss(settings, weight, data.labels.ignore_index),
        model.aux_weights,
        align_corners=model.align_corners,
        pixel_stride=settings.pixel_stride,
        aux_pixel_stride=settings.aux_pixel_stride,
    )


def build_pixel_loss(settings: LossSettings, weight: Tensor | None, ignore_index: int) -> Callable[..., Tensor]:
    """A registered pixel loss with its options bound.

    Raises:
        ConfigError: an unknown loss or option.
    """
    pixel_loss = LOSSES[settings.name]
    known = [key for key in inspect.signature(pixel_loss).parameters if key in ("threshold", "min_kept")]
    for key in settings.options:
        if key not in known:
            allowed = f"its options are: {', '.join(known)}" if known else "it has no options"
            raise ConfigError(f"loss '{settings.name}' has no option '{key}'{did_you_mean(key, known)}", fix=allowed)
    return partial(
        pixel_loss, ignore_index=ignore_index, weight=weight, label_smoothing=settings.label_smoothing, **settings.options
    )


def build_samples(config: Config, data: SegmentationData, preprocessing: Preprocessing) -> TrainingSamples:
    """The stream of training samples; beyond a picture's edge it shows the normalisation's mean colour."""
    settings = config.data
    assert settings.crop_size is not None, "make_plan chooses the crop size"
    red, green, blue = (round(255 * mean) for mean in preprocessing.mean[:: -1 if preprocessing.channel_order == "BGR" else 1])
    augmentation = Augmentation(
        crop_size=settings.crop_size,
        scale=settings.scale,
        flip=settings.flip,
        brightness=settings.brightness,
        contrast=settings.contrast,
        saturation=settings.saturation,
        channel_noise=settings.channel_noise,
        fill=(red, green, blue),
    )
    return TrainingSamples(data.pairs(settings.train_split), data.labels, augmentation, config.train.seed)


def build_loader(
    training: Training, config: Config, accelerator: Accelerator, *, first_step: int, last_step: int
) -> "DataLoader[Sample]":
    """This process's batches from an optimizer step on; a step takes ``accumulate`` of them."""
    train = config.train
    sampler = StreamSampler(
        train.batch_size,
        first_step=first_step * train.accumulate,
        last_step=last_step * train.accumulate,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    is_cuda = accelerator.device.type == "cuda"
    return training_loader(training.samples, sampler, workers=config.data.workers or 0, pin_memory=is_cuda)
