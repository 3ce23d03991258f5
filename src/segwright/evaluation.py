"""Predictor x data set x metrics: the only place where a score is made.

Scores come from one confusion matrix over the whole split, at the labels' own resolution.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segwright.data import MaskReader, Pair, SegmentationData, load_data
from segwright.errors import DataError
from segwright.inference import Predictor
from segwright.metrics import CITYSCAPES_CATEGORIES, ConfusionMatrix, Scores
from segwright.models import SegmentationModel
from segwright.runtime.images import read_image

Progress = Callable[[int, int], None]


def evaluate(
    model: SegmentationModel | str | Path,
    data: str | Path | SegmentationData,
    *,
    split: str = "val",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: tuple[int, int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Scores:
    """Score a model on a split of a data set.

    Args:
        model: a network, a model file, or a run folder.
        data: a data set, its folder or its data.yaml.
        split: train, val or test.
        scales: sizes relative to the picture at which it is predicted; the probabilities are averaged.
        flip: also average with the mirrored picture's.
        window: (height, width) of a sliding window; none predicts the whole picture at once.
        device, precision: as :class:`segwright.Predictor`.
        progress: called with pictures done and in all.

    Raises:
        DataError: the data set or one of its files cannot be used, or its classes are not the model's.
    """
    source = data if isinstance(data, SegmentationData) else load_data(data)
    predictor = Predictor(
        model, device=device, precision=precision, tta="flip" if flip else None, scales=scales, window=window
    )
    check_classes(predictor.info.classes, source)
    pairs = source.pairs(split)
    matrix = confusion_matrix(predictor, pairs, MaskReader(source.labels), progress)
    protocol: dict[str, Any] = {
        "data": source.name,
        "split": split,
        "resolution": "the labels' own",
        "scales": list(scales),
        "flip": flip,
        "window": list(window) if window else None,
        "precision": predictor.precision,
        "ignored": "pixels of ignored labels, in truth and prediction",
        "absent_classes": "left out of the mean",
    }
    return replace(compute_scores(matrix, source.classes), protocol=protocol)


def compute_scores(matrix: ConfusionMatrix, classes: Sequence[str]) -> Scores:
    """Scores of a matrix, with category mIoU where the classes are those of Cityscapes."""
    members = {name for names in CITYSCAPES_CATEGORIES.values() for name in names}
    return matrix.compute(classes, categories=CITYSCAPES_CATEGORIES if set(classes) == members else None)


def confusion_matrix(
    predictor: Predictor, pairs: Sequence[Pair], reader: MaskReader, progress: Progress | None = None
) -> ConfusionMatrix:
    """Predict each picture and count its pixels; memory does not grow with the number of pictures.

    Raises:
        DataError: a file that cannot be used; it is named.
    """
    labels = reader.labels
    matrix = ConfusionMatrix(len(labels.classes), labels.ignore_index)
    for done, pair in enumerate(pairs, start=1):
        mask = reader.read(pair.mask)
        prediction = predictor(read_image(pair.image)).mask
        if prediction.shape != mask.shape:
            raise DataError(
                f"mask '{pair.mask}' is {mask.shape[1]}x{mask.shape[0]} (width x height), "
                f"its picture is {prediction.shape[1]}x{prediction.shape[0]}",
                fix="export the mask at the picture's size (resize masks with nearest only)",
            )
        matrix.update(prediction, mask)
        if progress:
            progress(done, len(pairs))
    return matrix


def check_classes(classes: Sequence[str], data: SegmentationData) -> None:
    """Refuse a data set whose classes are not the model's, in number and order.

    Raises:
        DataError: says where they differ.
    """
    if tuple(classes) == data.classes:
        return
    raise DataError(
        f"the model's classes ({', '.join(classes)}) are not those of '{data.name}' ({', '.join(data.classes)})",
        fix="evaluate on a data set with the same class names in the same order (rename them in data.yaml)",
    )
