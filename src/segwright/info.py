"""What a model file says about its model, as plain data: no torch, no pictures.

The same record drives preprocessing in training, evaluation, prediction, export and serving.
"""

import dataclasses
import json
import math
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

LONGEST_SHORT_SIDE = 16_384
"""To which pictures may be resized, in pixels: a picture of 4:3 then takes 4 GB as the network's input."""

MOST_BANDS = 65_536
"""More than any format of pictures holds."""

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
            WeightsError: not a segwright model file, a newer format, or a field that no model file could hold.
        """
        if metadata.get("format") != "segwright":
            raise WeightsError(
                f"'{source}' holds no segwright metadata, so its model is unknown",
                fix="give a model.safetensors or a run folder that segwright train wrote",
            )
        try:
            version = _json(metadata, "format_version")
            _check(_is_whole(version, 1), "format_version", "a whole number from 1", version)
            if version > FORMAT_VERSION:
                raise WeightsError(
                    f"'{source}' has model file format {version}, this segwright reads up to {FORMAT_VERSION}",
                    fix="update segwright",
                )
            values = {f.name: _json(metadata, f.name) for f in dataclasses.fields(cls)}
            _check(_is_text(values["name"]), "name", "the name of a model", values["name"])
            for key in ("options", "provenance", "scores", "licences"):
                _check(isinstance(values[key], dict), key, "a table", values[key])
            classes = _classes_of(values["classes"])
            palette = _palette_of(values["palette"], len(classes))
            steps = _preprocessing_of(values["preprocessing"])
        except (ValueError, RecursionError) as error:
            raise WeightsError(
                f"'{source}' has damaged metadata ({error})", fix="copy the file again or export it anew"
            ) from error
        return cls(**{**values, "classes": classes, "palette": palette, "preprocessing": steps})


def _json(metadata: Mapping[str, str], key: str) -> Any:
    """The value of a line; raises ValueError where it is missing or none."""
    if key not in metadata:
        raise ValueError(f"{key} is missing")
    try:
        return json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{key} is no JSON: {words}") from error


def _check(is_met: bool, key: str, allowed: str, found: object) -> None:
    """Raise ValueError that names a field, what is allowed and what was found."""
    if not is_met:
        text = json.dumps(found)
        raise ValueError(f"{key} must be {allowed}, got {text if len(text) <= 60 else text[:60] + ' ...'}")


def _is_whole(value: object, least: int, most: float = math.inf) -> bool:
    return type(value) is int and least <= value <= most  # JSON's true and false are integers to Python, too


def _is_number(value: Any, least: float) -> bool:
    """Whether it is a number of at least ``least`` that float32 can hold; NaN is none."""
    return type(value) in (int, float) and least <= value <= 1e30


def _is_text(value: object) -> bool:
    """Whether it is text that can be written; JSON can also spell halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _classes_of(names: Any) -> tuple[str, ...]:
    is_whole = isinstance(names, list) and len(names) > 0 and all(_is_text(name) for name in names)
    _check(is_whole, "classes", "a list of at least one name", names)
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    _check(twice is None, "classes", "names that differ", [twice, twice])
    return tuple(names)


def _palette_of(colours: Any, num_classes: int) -> tuple[Colour, ...]:
    """One colour per class, or none at all, which shows every class in black."""
    _check(isinstance(colours, list), "palette", "a list of colours", colours)
    for index, colour in enumerate(colours):
        is_colour = isinstance(colour, list) and len(colour) == 3 and all(_is_whole(part, 0, 255) for part in colour)
        _check(is_colour, f"palette[{index}]", "three whole numbers in 0..255", colour)
    if 0 < len(colours) < num_classes:
        raise ValueError(f"palette must have a colour for each of the {num_classes} classes, got {len(colours)}")
    return tuple((red, green, blue) for red, green, blue in colours)


def _preprocessing_of(steps: Any) -> Preprocessing:
    _check(isinstance(steps, dict), "preprocessing", "a table", steps)
    bands, side, unit = steps.get("bands"), steps.get("short_side"), steps.get("unit", 255.0)  # later than format 1
    whole = f"null or a whole number in 1..{MOST_BANDS}"
    _check(bands is None or _is_whole(bands, 1, MOST_BANDS), "preprocessing.bands", whole, bands)
    whole = f"null or a whole number of pixels in 1..{LONGEST_SHORT_SIDE}"
    _check(side is None or _is_whole(side, 1, LONGEST_SHORT_SIDE), "preprocessing.short_side", whole, side)
    _check(_is_number(unit, 1e-30), "preprocessing.unit", "a positive number", unit)
    channels = bands or 3
    for key, least, kind in (("mean", -1e30, "finite"), ("std", 1e-30, "positive")):
        numbers = steps.get(key)
        is_whole = isinstance(numbers, list) and len(numbers) == channels and all(_is_number(n, least) for n in numbers)
        _check(is_whole, f"preprocessing.{key}", f"{channels} {kind} numbers", numbers)
    orders = ("RGB", "BGR") if channels == 3 else ("RGB",)
    order = steps.get("channel_order")
    _check(order in orders, "preprocessing.channel_order", " or ".join(orders), order)
    return Preprocessing(tuple(steps["mean"]), tuple(steps["std"]), order, side, bands, float(unit))


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
