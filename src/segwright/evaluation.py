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
from segwright.metrics import CITYSCAPES_CATEGORIES, BoundaryF, ConfusionMatrix, Scores
from segwright.models import SegmentationModel
from segwright.runtime.bands import read_picture

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
    runtime: str = "auto",
    precision: str = "auto",
    boundary: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """Score a model on a split of a data set.

    Args:
        model: a network, a model file, a run folder, or an exported file.
        data: a data set, its folder or its data.yaml.
        split: train, val or test.
        scales: sizes relative to the picture at which it is predicted; the probabilities are averaged.
        flip: also average with the mirrored picture's.
        window: (height, width) of a sliding window; none predicts the whole picture at once.
        device, runtime, precision: as :class:`segwright.Predictor`.
        boundary: also the boundary F-score at 3, 5, 9 and 12 pixels (Gated-SCNN's protocol); about 0.1 s a picture of
            1024x2048.
        progress: called with pictures done and in all.

    Raises:
        DataError: the data set or one of its files cannot be used, or its classes are not the model's.
    """
    source = data if isinstance(data, SegmentationData) else load_data(data)
    predictor = Predictor(model, device, runtime, precision, "flip" if flip else None, window, scales=scales)
    check_classes(predictor.info.classes, source)
    pairs = source.pairs(split)
    predictor.expect(len(pairs))
    outlines = BoundaryF(len(source.classes), ignore_index=source.labels.ignore_index) if boundary else None
    matrix = confusion_matrix(predictor, pairs, MaskReader(source.labels), progress, outlines)
    protocol: dict[str, Any] = {
        "data": source.name,
        "split": split,
        "resolution": "the labels' own",
        "scales": list(scales),
        "flip": flip,
        "window": list(window) if window else None,
        "runtime": predictor.runtime,
        "precision": predictor.precision,
        "ignored": "pixels of ignored labels, in truth and prediction",
        "absent_classes": "left out of the mean",
    }
    scores = compute_scores(matrix, source.classes)
    if outlines is None:
        return replace(scores, protocol=protocol)
    protocol["boundary"] = "mean over classes of the mean over images; a class absent from an image counts as 1 there"
    by_pixels = {f"{tolerance:g}": score for tolerance, score in outlines.compute().items()}
    return replace(scores, boundary_f=by_pixels, protocol=protocol)


def compute_scores(matrix: ConfusionMatrix, classes: Sequence[str]) -> Scores:
    """Scores of a matrix, with category mIoU where the classes are those of Cityscapes."""
    members = {name for names in CITYSCAPES_CATEGORIES.values() for name in names}
    return matrix.compute(classes, categories=CITYSCAPES_CATEGORIES if set(classes) == members else None)


def confusion_matrix(
    predictor: Predictor,
    pairs: Sequence[Pair],
    reader: MaskReader,
    progress: Progress | None = None,
    outlines: BoundaryF | None = None,
) -> ConfusionMatrix:
    """Predict each picture and count its pixels; memory does not grow with the number of pictures.

    Args:
        predictor, pairs, reader: of the pictures and their masks.
        progress: called with pictures done and in all.
        outlines: also given each picture, where it is not None.

    Raises:
        DataError: a file that cannot be used; it is named.
    """
    labels = reader.labels
    matrix = ConfusionMatrix(len(labels.classes), labels.ignore_index)
    for done, pair in enumerate(pairs, start=1):
        mask = reader.read(pair.mask)
        prediction = predictor(read_picture(pair.image, predictor.info.preprocessing.bands)).mask
        if prediction.shape != mask.shape:
            raise DataError(
                f"mask '{pair.mask}' is {mask.shape[1]}x{mask.shape[0]} (width x height), "
                f"its picture is {prediction.shape[1]}x{prediction.shape[0]}",
                fix="export the mask at the picture's size (resize masks with nearest only)",
            )
        matrix.update(prediction, mask)
        if outlines is not None:
            outlines.update(prediction, mask)
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
