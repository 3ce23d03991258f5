"""Eight-bit integers in the place of float32, by NNCF, calibrated on the user's pictures."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segwright.data import SegmentationData, load_data
from segwright.deploy.check_export import evenly
from segwright.deploy.graph import package_for_export
from segwright.errors import DataError, RunError
from segwright.info import Preprocessing
from segwright.runtime import find_images, preprocess, read_picture
from segwright.runtime.bilinear import resize
from segwright.runtime.exported import Batch, Input
from segwright.runtime.images import are_pictures

CALIBRATION_PICTURES = 300
"""At most so many, evenly spaced over the split; NNCF's own number."""


def calibration_files(source: str | Path) -> tuple[list[Path], SegmentationData | None]:
    """The pictures to calibrate on: the train split of a data set, all of a folder that is none, or one picture.

    Returns:
        The pictures, and the data set, whose labels can judge the result; None for pictures without labels.

    Raises:
        DataError: nothing there, a damaged data.yaml, or no picture.
    """
    path = Path(source).expanduser()
    if are_pictures(str(path)) and path.is_file():
        return find_images([path]), None
    try:
        data = load_data(path)
    except DataError:
        if not path.is_dir() or (path / "data.yaml").exists():
            raise
        return find_images([path]), None
    split = "train" if "train" in data.folders else next(iter(data.folders), "train")
    return [pair.image for pair in data.pairs(split)], data


def quantise(model: Any, files: Sequence[Path], takes: Input, preprocessing: Preprocessing) -> Any:
    """An ``openvino.Model`` whose convolutions compute in eight bits.

    Scales of the weights are per channel, those of the maps from the values that the pictures make, at the pictures'
    own size; biases are corrected for the rounding (NNCF's fast bias correction). Products of two computed matrices
    stay in float32: they average and resize, and OpenVINO leaves every convolution in float32 that reads what such a
    product also reads in eight bits (PSPNet's fusion, two thirds of the time).

    Args:
        model: an ``openvino.Model`` in float32; it is changed.
        files: pictures like those that will come.
        takes: what the model takes.
        preprocessing: of pictures, where the model does not do it itself.

    Raises:
        MissingExtraError: nncf is not installed.
        DataError: a picture that cannot be read.
        RunError: NNCF cannot quantise this network.
    """
    nncf = package_for_export("nncf")

    def batch(file: Path) -> Batch:
        picture = read_picture(file, preprocessing.bands)
        if takes == "pixels":
            return picture[None]
        return resize(preprocess(picture, preprocessing), preprocessing.size_of(picture.shape[:2]))[None]

    chosen = evenly(files, CALIBRATION_PICTURES)
    try:
        with _quiet():
            return nncf.quantize(
                model,
                nncf.Dataset(chosen, batch),
                preset=nncf.QuantizationPreset.MIXED,  # maps that are not above zero get a range of their own
                subset_size=len(chosen),
                ignored_scope=nncf.IgnoredScope(types=["MatMul"], validate=False),
            )
    except DataError:
        raise
    except RecursionError as reason:  # seen on PSPNet
        raise _impossible("its search through the graph does not end") from reason
    except Exception as reason:  # the package's own errors have no common parent
        words = " ".join(str(reason).split())
        raise _impossible(f"{type(reason).__name__}: {words[:200]}") from reason


def _impossible(why: str) -> RunError:
    return RunError(
        f"NNCF cannot quantise this network ({why}); nothing was kept",
        fix="take --precision bf16, which is nearly as fast on CPUs that have it, or fp32",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's bars and notes, which go to stdout, where results belong."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
