"""Trained networks by file, run folder or id."""

import logging
from dataclasses import replace
from pathlib import Path

from segwright.errors import WeightsError, did_you_mean
from segwright.info import ModelInfo, generic_palette
from segwright.models import SegmentationModel
from segwright.models.weights import is_model_file, load_model_file, model_file_of
from segwright.zoo.catalog import catalog, find
from segwright.zoo.checkpoint import Checkpoint, read_checkpoint
from segwright.zoo.convert import convert, identify, rebuild
from segwright.zoo.download import OnProgress, fetch
from segwright.zoo.entry import Entry
from segwright.zoo.own import OWN
from segwright.zoo.published import datasets

logger = logging.getLogger(__name__)

FOREIGN = (".pth", ".pt", ".bin", ".ckpt")
"""Endings of files that other programs write."""


def load_model(path_or_id: str | Path, *, on_progress: OnProgress | None = None) -> SegmentationModel:
    """A trained network, in evaluation mode; its ``info`` says classes, preprocessing, scores and licences.

    Args:
        path_or_id: a model file (``.safetensors``), a run folder that holds one, a checkpoint of mmsegmentation,
            torchvision, segmentation-models-pytorch or of the papers' authors (``.pth``), the id of a network that
            comes with the package (``camvid/fast_scnn``), or an id of the catalog, whose file is downloaded once.
        on_progress: hears of the download.

    Raises:
        WeightsError: nothing of that name, a file that cannot be used, or an entry without published weights.
    """
    if Path(path_or_id).exists():
        path = model_file_of(path_or_id)
        is_foreign = path.suffix in FOREIGN or (path.suffix == ".safetensors" and not is_model_file(path))
        return load_checkpoint(path) if is_foreign else load_model_file(path)
    own = OWN.get(Path(path_or_id).as_posix())
    if own is not None:
        return load_model_file(own)
    entry = _find(path_or_id)
    if entry.weights is None:
        raise WeightsError(
            f"'{entry.id}' is an architecture without published weights to load",
            fix=f"segwright.zoo.create('{entry.id}') builds it with fresh weights",
        )
    return load_checkpoint(fetch(entry.weights, on_progress), entry)


def _find(path_or_id: str | Path) -> Entry:
    name = Path(path_or_id).as_posix()
    ids = [*OWN, *(entry.id for entry in catalog())]
    if name in ids:
        return find(name)
    raise WeightsError(
        f"'{name}' is neither a model file, nor a run folder, nor an id of the catalog{did_you_mean(name, ids)}",
        fix="give a model.safetensors, a folder that segwright train wrote, or an id of segwright models list",
    )


def load_checkpoint(path: Path, entry: Entry | None = None) -> SegmentationModel:
    """A network from another program's file.

    Args:
        path: the file.
        entry: whose weights it holds; ``None`` to tell by the file's name, or else by its tensors.

    Raises:
        WeightsError: an unreadable file, or tensors of no network that we know.
    """
    checkpoint = read_checkpoint(path)
    published = entry or next((e for e in catalog() if e.weights is not None and e.weights.file == path.name), None)
    network = _network_of(checkpoint, published, path)
    model = rebuild(network.id, checkpoint.tensors)
    model.info = _info(network, model.num_classes, checkpoint, published, path)
    return model.eval()


def _network_of(checkpoint: Checkpoint, published: Entry | None, path: Path) -> Entry:
    """The entry whose network the tensors are: the published one, or the one that fits."""
    if published is not None:
        try:
            convert(published.id, checkpoint.tensors)
        except WeightsError:
            found = identify(checkpoint.tensors)
            if found is None or found.model != published.model or found.publisher != published.publisher:
                raise
            logger.warning("'%s' holds the network of '%s', not that of '%s'", path.name, found.id, published.id)
            return found
        return published
    found = identify(checkpoint.tensors)
    if found is None:
        examples = ", ".join(list(checkpoint.tensors)[:3])
        raise WeightsError(
            f"'{path}' holds no network that we know ({len(checkpoint.tensors)} tensors: {examples}, ...)",
            fix="segwright models list names the networks; zoo.convert(id, state_dict) says what does not fit one",
        )
    logger.warning("'%s' is taken for the network of '%s', by its tensors", path, found.id)
    return found


def _info(network: Entry, num_classes: int, checkpoint: Checkpoint, published: Entry | None, path: Path) -> ModelInfo:
    """What is known of a foreign network: from the catalog, else from the file, else numbered classes."""
    weights = published.weights if published is not None else None
    info = ModelInfo(
        network.model,
        dict(network.options),
        tuple(f"class {index}" for index in range(num_classes)),
        generic_palette(num_classes),
        network.preprocessing,
        provenance={"source": published.id if published is not None else network.id, "file": path.name},
        licences={"weights": "as their publisher says", "training_data": "not stated"},
    )
    if published is not None and weights is not None and published.num_classes == num_classes:
        labels = datasets()[weights.dataset]
        return replace(
            info,
            classes=labels.classes[:num_classes],
            palette=labels.palette[:num_classes],
            provenance={**info.provenance, "url": weights.url, "data": labels.title},
            scores={"miou": weights.miou, "miou_multi_scale": weights.miou_multi_scale, "protocol": weights.protocol},
            licences={"weights": weights.licence, "training_data": labels.terms},
        )
    if len(checkpoint.classes) == num_classes:
        palette = checkpoint.palette or info.palette
        return replace(info, classes=checkpoint.classes, palette=palette)
    logger.warning("'%s' does not tell its classes; they are numbered, and ImageNet's preprocessing is assumed", path)
    return info
