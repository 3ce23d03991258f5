"""From settings to objects: the only place that does it."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from segwright.config import Config, LossSettings, TrainSettings
from segwright.data import (
    Augmentation,
    DataReport,
    MaskReader,
    Pair,
    SampleLoader,
    SegmentationData,
    StreamSampler,
    TrainingSamples,
    training_loader,
)
from segwright.engine.checkpoint import TrainState
from segwright.engine.codes import RunCodes, upsampler_of
from segwright.engine.distributed import StridedNetwork
from segwright.engine.normalise import Normalise, preprocessing_of
from segwright.engine.norms import arrange_norms
from segwright.engine.optim import RunningStatistics, WeightAverage, build_optimizer
from segwright.engine.teacher import Teacher, build_teacher
from segwright.errors import ConfigError, did_you_mean
from segwright.info import Preprocessing
from segwright.losses import LOSSES, LabelCodeLoss, SegmentationLoss, class_weights
from segwright.models import SegmentationModel, build_model
from segwright.zoo import start_from


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
        normalise: images in stored values on the device to the network's input.
        statistics: the network's running statistics before a step.
        teacher: a trained network to learn from beside the labels, if any.
    """

    settings: TrainSettings
    state: TrainState
    network: nn.Module
    model: SegmentationModel
    loss: SegmentationLoss
    samples: TrainingSamples
    val_pairs: Sequence[Pair]
    reader: MaskReader
    normalise: Normalise
    statistics: RunningStatistics
    teacher: Teacher | None = None

    def losses(self, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Losses of a batch by name; ``loss`` is their weighted sum.

        Args:
            pictures: (N, channels, H, W) in stored values; uint8, RGB unless bands are read.
            masks: (N, H, W) integers.
        """
        output = self.network(self.normalise(pictures))
        losses = self.loss(output, masks)
        return losses if self.teacher is None else self.teacher.add_to(losses, output.logits, pictures)


def build_training(
    config: Config,
    data: SegmentationData,
    report: DataReport | None,
    accelerator: Accelerator,
    codes: RunCodes,
    *,
    is_resumed: bool = False,
) -> Training:
    """Network, optimizer, loss and data of a run whose settings have no holes.

    Args:
        config: the settings.
        data: the data set.
        report: of its check, for class weights.
        accelerator: device and processes.
        codes: W of DUpsampling, for a network that ends in it.
        is_resumed: a checkpoint will bring the weights, so that nothing else needs to.

    Raises:
        SegmentationError: whatever a part finds wrong with its settings.
    """
    train = config.train
    torch.manual_seed(train.seed)
    model = build_network(config, data, weights=None if is_resumed else config.model.weights)
    if not is_resumed:
        codes.put_into(model)
    model = model.to(accelerator.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    model = arrange_norms(config, model, accelerator)
    average = WeightAverage(model, train.ema) if train.ema is not None else None
    optimizer = build_optimizer(model, train)
    network, optimizer = accelerator.prepare(StridedNetwork(model), optimizer)
    return Training(
        settings=train,
        state=TrainState(model, optimizer, average, accelerator.scaler),
        network=network,
        model=model,
        loss=build_loss(config, model, data, report, accelerator.device),
        samples=build_samples(config, data, model.info.preprocessing, report),
        val_pairs=data.pairs(config.data.val_split),
        reader=MaskReader(data.labels),
        normalise=Normalise(model.info.preprocessing).to(accelerator.device),
        statistics=RunningStatistics(model),
        teacher=build_teacher(config, model, accelerator),
    )


def build_network(config: Config, data: SegmentationData, *, weights: str | None) -> SegmentationModel:
    """The network for the data set's classes, from fresh weights or from trained ones."""
    settings = config.model
    channels = {} if config.data.bands in (None, 3) else {"in_channels": config.data.bands}
    model = build_model(settings.name, len(data.classes), {**settings.options, **channels})
    model.info = replace(
        model.info,
        classes=data.classes,
        palette=data.palette,
        preprocessing=replace(model.info.preprocessing, short_side=config.data.short_side),
        provenance={"data": data.name, "config": config.model_dump(mode="json")},
        licences={"code": "Apache-2.0", "weights": "as the training data allows", "training_data": "not stated"},
    )
    if weights is not None:
        start_from(model, weights)
    model.info = replace(model.info, preprocessing=preprocessing_of(config.data, model.info.preprocessing))
    return model


def build_loss(
    config: Config, model: SegmentationModel, data: SegmentationData, report: DataReport | None, device: torch.device
) -> SegmentationLoss:
    """The pixel loss by name, with class weights from the data's check where they are asked for."""
    settings = config.loss
    weight: Tensor | None = None
    assert settings.class_weights != "auto", "make_plan chooses the rule"
    if settings.class_weights != "none":
        if report is None:
            raise ConfigError("loss.class_weights needs the pixel counts of data.check", fix="set data.check=true")
        weight = class_weights(report.class_counts(config.data.train_split), settings.class_weights).to(device)
    aux_losses: dict[str, str | Callable[..., Tensor]] = dict(model.aux_losses)
    upsampler = upsampler_of(model)
    if upsampler is not None and upsampler.trains_on_codes:
        aux_losses["main"] = LabelCodeLoss(upsampler.encode, upsampler.ratio)
    return SegmentationLoss(
        build_pixel_loss(settings, weight, data.labels.ignore_index),
        model.aux_weights,
        align_corners=model.align_corners,
        pixel_stride=settings.pixel_stride,
        aux_pixel_stride=settings.aux_pixel_stride,
        aux_losses=aux_losses,
        ignore_index=data.labels.ignore_index,
        joint_losses=model.joint_losses,
        dice_weight=settings.dice,
    )


def build_pixel_loss(settings: LossSettings, weight: Tensor | None, ignore_index: int) -> Callable[..., Tensor]:
    """A registered pixel loss with its options bound.

    Raises:
        ConfigError: as :func:`check_loss`.
    """
    check_loss(settings)
    options = {key: int(value) if key == "min_kept" else value for key, value in settings.options.items()}
    return partial(
        LOSSES[settings.name],
        ignore_index=ignore_index,
        weight=weight,
        label_smoothing=settings.label_smoothing,
        **options,
    )


def check_loss(settings: LossSettings) -> None:
    """Check the pixel loss and its options before anything is built.

    Raises:
        ConfigError: an unknown loss or option, or a value out of range.
    """
    ranges: dict[str, tuple[str, Callable[[float], bool]]] = {
        "threshold": ("above 0 and at most 1", lambda value: 0 < value <= 1),
        "min_kept": ("a whole number of pixels, at least 1", lambda value: value >= 1 and float(value).is_integer()),
    }
    known = [key for key in inspect.signature(LOSSES[settings.name]).parameters if key in ranges]
    for key, value in settings.options.items():
        if key not in known:
            allowed = f"its options are: {', '.join(known)}" if known else "it has no options"
            raise ConfigError(f"loss '{settings.name}' has no option '{key}'{did_you_mean(key, known)}", fix=allowed)
        allowed, is_allowed = ranges[key]
        if not is_allowed(value):
            raise ConfigError(f"loss.options.{key} is {value}", fix=f"{key} is {allowed}")


def build_samples(
    config: Config, data: SegmentationData, preprocessing: Preprocessing, report: DataReport | None
) -> TrainingSamples:
    """The stream of training samples; beyond a picture's edge it shows the normalisation's mean colour."""
    settings = config.data
    assert settings.crop_size is not None, "make_plan chooses the crop size"
    mean = preprocessing.mean[::-1] if preprocessing.channel_order == "BGR" else preprocessing.mean
    is_float = preprocessing.dtype == "float32"
    augmentation = Augmentation(
        crop_size=settings.crop_size,
        scale=settings.scale,
        short_side=settings.short_side,
        flip=settings.flip,
        brightness=settings.brightness,
        contrast=settings.contrast,
        saturation=settings.saturation,
        channel_noise=settings.channel_noise,
        rare_class_crops=settings.rare_class_crops,
        class_weights=rarity(config, report) if settings.rare_class_crops else (),
        fill=tuple(preprocessing.unit * value if is_float else round(preprocessing.unit * value) for value in mean),
        bands=preprocessing.bands,
        highest=None if is_float else np.iinfo(preprocessing.dtype or "uint16").max,
    )
    return TrainingSamples(
        data.pairs(settings.train_split),
        data.labels,
        augmentation,
        config.train.seed,
        memory_mb=settings.memory_mb,
        classmix=settings.classmix,
        cutmix=settings.cutmix,
    )


def rarity(config: Config, report: DataReport | None) -> tuple[float, ...]:
    """How often each class is to be shown: one over the root of its pixels, 0 for a class without any.

    Raises:
        ConfigError: the data was not checked, so that nobody counted.
    """
    if report is None:
        raise ConfigError("data.rare_class_crops needs the pixel counts of data.check", fix="set data.check=true")
    counts = report.class_counts(config.data.train_split)
    return tuple(1 / math.sqrt(count) if count else 0.0 for count in counts)


def build_loader(
    training: Training, config: Config, accelerator: Accelerator, *, first_step: int, last_step: int
) -> SampleLoader:
    """This process's batches from an optimizer step on; a step takes ``accumulate`` of them."""
    train = config.train
    assert train.batch_size is not None, "make_plan chooses the batch size"
    sampler = StreamSampler(
        train.batch_size,
        first_step=first_step * train.accumulate,
        last_step=last_step * train.accumulate,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    is_cuda = accelerator.device.type == "cuda"
    return training_loader(training.samples, sampler, workers=config.data.workers or 0, pin_memory=is_cuda)
