"""What a model file says about its model, as plain data: no torch, no pictures.

The same record drives preprocessing in training, evaluation, prediction, export and serving.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segwright.errors import WeightsError

FORMAT_VERSION = 1
"""Version of the model file's metadata; readers refuse newer ones."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

UNITS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""By what stored values are divided, by their type: 1 stands for the brightest of integers."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input: ``(value / unit - mean) / std`` per channel.

    Args:
        mean: per channel, of values divided by ``unit``, in the order of ``channel_order``.
        std: likewise.
        channel_order: ``"RGB"``, or ``"BGR"`` for networks that came from Caffe or OpenCV.
        short_side: length of the shorter side, in pixels, to which pictures are resized first, bilinearly and in
            proportion; ``None`` leaves them as they are. Masks always have the picture's own size.
        bands: ``None`` for pictures as 8-bit RGB; or how many bands are read as they are stored, in the file's order.
        unit: by which values are divided: 255 for 8 bits, 65535 for 16 bits, 1 for floating-point numbers.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channel_order: str = "RGB"
    short_side: int | None = None
    bands: int | None = None
    unit: float = 255.0

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return self.bands or 3

    @property
    def dtype(self) -> str | None:
        """The type of the values that it was made for; ``None`` where the unit does not tell."""
        return next((dtype for dtype, unit in UNITS.items() if unit == self.unit), None)

    def scale_of(self, size: tuple[int, int]) -> float:
        """By what a picture of (height, width) is resized before the network sees it."""
        return 1.0 if self.short_side is None else self.short_side / min(size)

    def size_of(self, size: tuple[int, int], scale: float = 1.0) -> tuple[int, int]:
        """(height, width) in which the network sees a picture, times ``scale``."""
        height, width = (max(1, int(side * scale * self.scale_of(size) + 0.5)) for side in size)
        return height, width


@dataclass(frozen=True)
class ModelInfo:
    """Everything about a trained model except its weights.

    Args:
        name: registered model name, as in ``create_model``.
        options: keyword arguments of the builder besides ``num_classes``.
        classes: class names in the order of the logits' channels.
        palette: one RGB colour (0..255) per class.
        preprocessing: how pictures enter the network.
        provenance: how the weights came to be (data, recipe, iterations, versions).
        scores: figures with the protocol they were measured by.
        licences: of ``code``, ``weights`` and ``training_data``.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def to_metadata(self) -> dict[str, str]:
        """The record as the string-to-string map that a safetensors header can hold."""
        return {
            "format": "segwright",
            "format_version": str(FORMAT_VERSION),
            **{key: json.dumps(value) for key, value in dataclasses.asdict(self).items()},
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> "ModelInfo":
        """Read the record back.

        Args:
            metadata: a safetensors header's map.
            source: file name for messages.

        Raises:
            WeightsError: not a segwright model file, a newer format, or fields that do not parse.
        """
        if metadata.get("format") != "segwright":
            raise WeightsError(
                f"'{source}' holds no segwright metadata, so its model is unknown",
                fix="give a model.safetensors or a run folder that segwright train wrote",
            )
        try:
            version = int(metadata["format_version"])
            if version > FORMAT_VERSION:
                raise WeightsError(
                    f"'{source}' has model file format {version}, this segwright reads up to {FORMAT_VERSION}",
                    fix="update segwright",
                )
            values = {f.name: json.loads(metadata[f.name]) for f in dataclasses.fields(cls)}
            steps = values["preprocessing"]
            values["preprocessing"] = Preprocessing(
                tuple(steps["mean"]),
                tuple(steps["std"]),
                steps["channel_order"],
                steps.get("short_side"),
                steps.get("bands"),
                float(steps.get("unit", 255.0)),
            )
            values["classes"] = tuple(values["classes"])
            values["palette"] = tuple((r, g, b) for r, g, b in values["palette"])
            return cls(**values)
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(
                f"'{source}' has damaged metadata ({error})", fix="copy the file again or export it anew"
            ) from error


def generic_palette(num_classes: int) -> tuple[Colour, ...]:
    """PASCAL VOC's colour rule: the bits of the class index, interleaved over R, G and B from the top bit down."""
    colours: list[Colour] = []
    for index in range(num_classes):
        rgb, bits = [0, 0, 0], index
        for position in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (bits >> channel & 1) << position
            bits >>= 3
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)
