"""Starting from trained weights: ImageNet's trunk, or a whole network, perhaps of other classes."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from segwright.backbones import Backbone, load_imagenet
from segwright.errors import ConfigError, WeightsError
from segwright.models.segmentation_model import SegmentationModel, build_model
from segwright.models.stems import adapted, convolutions
from segwright.models.weights import load_model_file, model_file_of

logger = logging.getLogger(__name__)

Loader = Callable[[str | Path], SegmentationModel]


class _Weights:
    """What reads the weights that a network starts from; the catalog's floor puts its own, which knows more, here."""

    load: Loader = staticmethod(lambda weights: load_model_file(model_file_of(weights)))


def use_loader(loader: Loader) -> None:
    """Let :func:`create_model` read whatever ``loader`` reads."""
    _Weights.load = staticmethod(loader)


def create_model(
    name: str, *, num_classes: int, weights: str | Path | None = None, **options: object
) -> SegmentationModel:
    """A network by name.

    Args:
        name: as in ``segwright.list_models()``.
        num_classes: channels of the logits.
        weights: ``imagenet`` for a trunk trained on it; a model file, a run folder, another program's checkpoint or an
            id of the catalog, of the same system; ``None`` for fresh weights. What is taken and what stays fresh, such
            as the classifiers of other classes, is logged in one line.
        options: of the network's builder.

    Raises:
        ConfigError: unknown model or option, fewer than one class, or ImageNet weights for a network without a trunk.
        WeightsError: weights that cannot be read or do not fit.

    Example:
        >>> import torch
        >>> model = create_model("fast_scnn", num_classes=19).eval()
        >>> model(torch.zeros(1, 3, 64, 96)).logits.shape
        torch.Size([1, 19, 64, 96])
    """
    model = build_model(name, num_classes, options)
    if weights is not None:
        start_from(model, weights)
    return model


def start_from(model: SegmentationModel, weights: str | Path) -> None:
    """Give a fresh network the weights that :func:`create_model` takes; errors as there.

    Rows of the classifiers are taken by the names in ``model.info.classes``.
    """
    if str(weights) == "imagenet":
        preprocessing = load_imagenet(trunk_of(model), model.in_channels)
        if model.in_channels == 3:
            model.info = replace(model.info, preprocessing=preprocessing)
        else:
            _tell_of_stem("imagenet", 3, model.in_channels)
    else:
        transfer_weights(model, _Weights.load(weights), str(weights))


def trunk_of(model: SegmentationModel) -> Backbone:
    """The trunk that ImageNet weights are for.

    Raises:
        ConfigError: the network has none.
    """
    trunk = getattr(model, "backbone", None)
    if not isinstance(trunk, Backbone):
        raise ConfigError(
            f"model '{model.info.name}' has no ImageNet weights, for it has no trunk of a classifier",
            fix="leave weights out to start fresh, or give a model file or a run folder",
        )
    return trunk


def transfer_weights(model: SegmentationModel, source: SegmentationModel, name: str) -> None:
    """Start ``model`` from a trained network of the same system, perhaps of other classes.

    The body's tensors are taken where key and shape agree; the stem's are adapted to another number of bands
    (:func:`segwright.models.stems.adapted`). Of the classifiers the rows are taken whose class has a
    namesake in the source; by position where either has numbered classes and as many. The preprocessing comes along,
    unless the bands differ, and so do names and colours where ours are but numbered.

    Args:
        model: the network to start, changed in place.
        source: the trained network.
        name: of the source, for messages.

    Raises:
        WeightsError: less than nine tenths of the body's tensors agree, so that the two are not of one kind.
    """
    own, theirs = model.state_dict(), source.state_dict()
    heads = class_tensors(model)
    body = [key for key in own if key not in heads]
    fitted = adapted_stems(model, source)
    taken = {key: theirs[key] for key in body if key in theirs and theirs[key].shape == own[key].shape} | fitted
    if len(taken) < 0.9 * len(body):
        raise WeightsError(
            f"only {len(taken)} of {len(body)} tensors of the body of model '{model.info.name}' are in '{name}' "
            f"({source.info.name})",
            fix="start from weights of the same model and options",
        )
    rows = matching_rows(model.info.classes, source.info.classes)
    for key in heads:
        if key in theirs and theirs[key].shape[1:] == own[key].shape[1:]:
            taken[key] = _with_rows(own[key], theirs[key], rows, model.num_classes, source.num_classes)
    model.load_state_dict(taken, strict=False)
    if model.info.preprocessing.bands == source.info.preprocessing.bands:
        model.info = replace(model.info, preprocessing=source.info.preprocessing)
    if _are_numbered(model.info.classes) and len(rows) == model.num_classes:
        model.info = replace(model.info, classes=source.info.classes, palette=source.info.palette)
    _report(name, len(taken) - len(heads), len(body), rows, model.info.classes)
    if fitted:
        _tell_of_stem(name, source.in_channels, model.in_channels)


def _tell_of_stem(name: str, before: int, after: int) -> None:
    text = "weights from '%s': those of the first convolution are adapted from %d to %d bands"
    logger.warning(text, name, before, after)


def adapted_stems(model: SegmentationModel, source: SegmentationModel) -> dict[str, Tensor]:
    """The source's weights of the convolutions that read the images, where it reads another number of bands."""
    if model.in_channels == source.in_channels:
        return {}
    ours, theirs = convolutions(model), convolutions(source)
    change = (source.in_channels, model.in_channels)
    names = [key for key in ours if key in theirs and (theirs[key].in_channels, ours[key].in_channels) == change]
    found = {f"{key}.weight": adapted(theirs[key].weight.detach(), model.in_channels) for key in names}
    return {key: weight for key, weight in found.items() if weight.shape == model.get_parameter(key).shape}


def class_tensors(model: SegmentationModel) -> list[str]:
    """Keys of the tensors that have one row, or as many rows, per class: those that grow with one class more."""
    info, upsampler = model.info, getattr(model, "upsampler", None)
    # Where it is left open, the length of DUpsampling's codes may follow the number of classes.
    options = {**info.options, **({"code_channels": upsampler.code_channels} if upsampler else {})}
    with torch.device("meta"):
        fewer, more = (build_model(info.name, info.num_classes + extra, options).state_dict() for extra in (0, 1))
    return [key for key, tensor in fewer.items() if more[key].shape != tensor.shape]


def matching_rows(own: tuple[str, ...], theirs: tuple[str, ...]) -> dict[int, int]:
    """Our class index to theirs, for namesakes whatever their case; by position where names say nothing."""
    if _are_numbered(own) or _are_numbered(theirs):
        return {index: index for index in range(len(own))} if len(own) == len(theirs) else {}
    places = {name.strip().casefold(): index for index, name in enumerate(theirs)}
    found = {index: places.get(name.strip().casefold()) for index, name in enumerate(own)}
    return {index: place for index, place in found.items() if place is not None}


def _are_numbered(classes: tuple[str, ...]) -> bool:
    return classes == tuple(f"class {index}" for index in range(len(classes)))


def _with_rows(own: Tensor, theirs: Tensor, rows: Mapping[int, int], our_count: int, their_count: int) -> Tensor:
    """Our tensor with the rows of those classes from theirs; a class may have several rows, one after the other."""
    per_class = own.shape[0] // our_count
    if theirs.shape[0] != per_class * their_count or own.shape[0] != per_class * our_count:
        return own
    mixed = own.clone().view(our_count, per_class, *own.shape[1:])
    if rows:
        mixed[list(rows)] = theirs.view(their_count, *mixed.shape[1:])[list(rows.values())].to(mixed)
    return mixed.view(own.shape)


def _report(name: str, taken: int, body: int, rows: Mapping[int, int], classes: tuple[str, ...]) -> None:
    new = [label for index, label in enumerate(classes) if index not in rows]
    shown = ", ".join(new[:8]) + (f", ... ({len(new)})" if len(new) > 8 else "")
    sentence = f"weights from '{name}': {taken} of {body} tensors of the body and {len(rows)} of {len(classes)} classes"
    if new or taken < body:
        logger.warning("%s taken%s", sentence, f"; new: {shown}" if new else "")
    else:
        logger.info("%s taken", sentence)
