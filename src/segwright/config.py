"""What a training run is: one tree of frozen, typed settings, read from YAML and from ``key=value`` words.

The tree says what the user wants; ``None`` means "choose for me", and the run's config.yaml then shows what was
chosen and why. Unknown keys are errors with the nearest name. No inheritance: a recipe reads alone.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from segwright.config_words import ALL_KEYS, ALLOWED, EXAMPLES, NAMES_ELSEWHERE
from segwright.errors import ConfigError, did_you_mean
from segwright.info import LONGEST_SHORT_SIDE
from segwright.strict_yaml import read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Pydantic would read ``true`` as 1, and YAML reads ``yes`` and ``on`` as ``true``."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise PydanticCustomError("truth", "true and false are no value of this setting")
        return value


class DataSettings(_Settings):
    """What is read, and how it is varied."""

    path: str = ""
    """Folder or data.yaml of the data set."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split to validate on."""
    bands: PositiveInt | None = None
    """Bands to read of each picture as they are stored; none: 8-bit RGB, or all bands of pictures that are no such."""
    unit: PositiveFloat | None = None
    """By which the values of bands are divided; none: 255 for 8 bits, 65535 for 16, 1 for floating-point numbers."""
    mean: tuple[float, ...] | None = None
    """Per band, of values divided by the unit; none: of the training pictures, in RGB of ImageNet or the weights."""
    std: tuple[PositiveFloat, ...] | None = None
    """Standard deviation per band, likewise."""
    crop_size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of the training crop; none: the pictures' median size, at most 512x1024."""
    short_side: Annotated[int, Field(ge=1, le=LONGEST_SHORT_SIDE)] | None = None
    """Pixels of the shorter side to which pictures are resized, in training and ever after; none: as they are."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    """Range of the random scale."""
    rare_class_crops: Share = 0.0
    """Share of the crops that show a pixel of a class drawn by its rarity."""
    classmix: Share = 0.0
    """Share of the samples over which half of another sample's classes are pasted."""
    cutmix: Share = 0.0
    """Share of the samples over which a box of another sample is pasted."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    brightness: Share = 0.3
    """Largest relative change of brightness."""
    contrast: Share = 0.3
    """Largest relative change of contrast."""
    saturation: Share = 0.3
    """Largest relative change of saturation."""
    channel_noise: Share = 0.05
    """Largest relative change of each colour channel on its own."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that read ahead, per training process; none: from the number of cores."""
    memory_mb: Annotated[int, Field(ge=0)] = 1024
    """Megabytes of decoded files kept in memory, per reading process; small data is then decoded once."""
    check: bool = True
    """Read every file of both splits before the first step and stop at the first fault."""
    allow: tuple[Literal["class-only-in-val", "mixed-crs"], ...] = ()
    """Codes of the check's errors that are meant so: it then tells them as warnings."""

    @field_validator("allow", mode="before")
    @classmethod
    def _one_is_several(cls, codes: object) -> object:
        return (codes,) if isinstance(codes, str) else codes

    @field_validator("scale")
    @classmethod
    def _scale_rises(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise PydanticCustomError("falling_range", "scale is a range from low to high")
        return scale

    @model_validator(mode="after")
    def _numbers_for_each_band(self) -> "DataSettings":
        if any(numbers and len(numbers) != (self.bands or 3) for numbers in (self.mean, self.std)):
            raise PydanticCustomError("other_bands", "mean and std have one number for each band (RGB: three)")
        return self


class ModelSettings(_Settings):
    """What is trained."""

    name: str = "fast_scnn"
    """Registered name of the network."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the network's builder."""
    weights: str | None = None
    """What to start from: imagenet, a model file, run folder, checkpoint or id of models list; none: fresh weights."""
    teacher: str | None = None
    """A larger trained network to learn from beside the labels: a model file, run folder or id; none: labels alone."""
    label_codes: str = "auto"
    """W of DUpsampling: auto, exact, randomized or sgd, fitted to the training labels; none; or their file."""


class LossSettings(_Settings):
    """What is minimised."""

    name: str = "cross_entropy"
    """Pixel loss: cross_entropy, image_weighted_cross_entropy, ohem_cross_entropy or ohem_cross_entropy_by_loss."""
    options: dict[str, int | float] = Field(default_factory=dict)
    """Options of the pixel loss, such as threshold and min_kept of OHEM."""
    class_weights: Literal["none", "auto", "median_frequency", "log"] = "none"
    """Weight classes by the training masks' pixel counts; auto: log where the rarest class holds less than 1 %."""
    label_smoothing: Share = 0.0
    """Share of the target spread evenly over all classes."""
    distillation: PositiveFloat = 1.0
    """Weight of the divergence from the teacher's class probabilities; only with model.teacher."""
    distillation_temperature: PositiveFloat = 1.0
    """By which both networks' logits are divided there."""
    dice: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the soft Dice loss beside the pixel loss of the main prediction; ``pixel_stride`` counts for both."""
    pixel_stride: PositiveInt = 1
    """The main loss reads every n-th row and column, drawn anew each step; 1 reads every pixel."""
    aux_pixel_stride: PositiveInt = 1
    """The same for auxiliary losses."""


class TrainSettings(_Settings):
    """How it is minimised, how long, and on what."""

    iters: PositiveInt | None = None
    """Optimizer steps; none: from epochs or minutes."""
    epochs: PositiveFloat | None = None
    """Passes over the training pictures; none: 100 when iters and minutes are not given either."""
    minutes: PositiveFloat | None = None
    """Time budget: the number of steps is fixed from a short measurement at the start."""
    batch_size: PositiveInt | None = None
    """Pictures per batch and process; none: 12, or what memory and pictures allow, accumulated up to 8 a step."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are added before each optimizer step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW."""
    lr: PositiveFloat = 0.045
    """Highest learning rate."""
    head_lr_factor: PositiveFloat = 1.0
    """Of the learning rate outside the trunk; the authors of several systems take 10."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; the first beta of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 4e-5
    """L2 regularisation (SGD) or decoupled decay (AdamW)."""
    no_decay: tuple[Literal["depthwise", "norm", "bias"], ...] = ("depthwise",)
    """Parameters left out of weight decay."""
    power: PositiveFloat = 0.9
    """Of the poly schedule: lr * (1 - step / iters) ** power."""
    warmup_iters: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from near zero."""
    clip_grad_norm: PositiveFloat | None = None
    """Largest norm of the gradient; none: not clipped."""
    ema: Share | None = 0.999
    """Decay of the moving average of the weights, which is what is evaluated and saved; none: no average."""
    batch_norm: Literal["auto", "sync", "local", "frozen"] = "auto"
    """Statistics of the batch in all processes, in its own, or the starting weights' kept; auto: sync, alone local."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network's arithmetic; losses and weights stay in float32. auto: bf16 where the machine computes in it."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: PositiveInt | None = None
    """CPU threads of the training process; none: PyTorch's choice."""
    process_timeout: PositiveFloat = 600.0
    """Seconds after which one of several processes gives up waiting for the others."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of weights, order and augmentation."""
    log_every: PositiveInt | None = None
    """Steps between lines in metrics.jsonl; none: a hundredth of the run, at most 50."""
    eval_every: PositiveInt | None = None
    """Steps between validations; none: a tenth of the run."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints; none: a hundredth of the run, at least 20."""

    @model_validator(mode="after")
    def _one_length(self) -> "TrainSettings":
        if sum(value is not None for value in (self.iters, self.epochs, self.minutes)) > 1:
            raise PydanticCustomError("several_lengths", "give one of iters, epochs and minutes, not several")
        return self


class Config(_Settings):
    """A training run."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()


def read_config(path: Path) -> Config:
    """A recipe or a run's config.yaml.

    Raises:
        ConfigError: not YAML, an unknown key (the nearest name is given), or a value of the wrong kind.
    """
    return _check(read_yaml(path), str(path), "{leaf}: {value}")


def make_config(tree: Mapping[str, Any], *, source: str = "the settings") -> Config:
    """Check a nested mapping of settings.

    Raises:
        ConfigError: names the key, its value, and what is allowed.
    """
    return _check(tree, source, "--set {key}={value}")


def with_settings(config: Config, settings: Mapping[str, Any], *, source: str = "--set") -> Config:
    """A copy with leaves replaced, such as ``{"train.lr": 0.02}``.

    Raises:
        ConfigError: as :func:`make_config`.
    """
    tree = config.model_dump()
    for key, value in settings.items():
        *path, leaf = key.split(".")
        branch = tree
        for name in path:
            branch = branch.get(name) if isinstance(branch, dict) else None  # type: ignore[assignment]
        if not path or not isinstance(branch, dict):
            raise _unknown_key(key, source)
        branch[leaf] = value
    return make_config(tree, source=source)


def parse_words(words: Iterable[str]) -> dict[str, Any]:
    """``["train.lr=0.02"]`` as ``{"train.lr": 0.02}``; values are read as YAML.

    Raises:
        ConfigError: a word without ``=``.
    """
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got '{word}'", fix="write for example --set train.lr=0.02")
        try:
            settings[key.strip()] = _number_or_text(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {word}: the value is not YAML", fix="quote it: --set 'key=[1, 2]'") from error
    return settings


def known_keys() -> list[str]:
    """Every leaf of the tree, such as ``train.lr``."""
    return [f"{group}.{leaf}" for group in Config.model_fields for leaf in _fields(group)]


def _number_or_text(value: Any) -> Any:
    """YAML reads 1e-3 as text; Python's numbers do not. Words such as inf and nan stay text."""
    if isinstance(value, list):
        return [_number_or_text(item) for item in value]
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) else value
    return value


def _fields(group: str) -> Mapping[str, FieldInfo]:
    """The settings of a group such as ``train``; none where there is no such group."""
    kind = Config.model_fields[group].annotation if group in Config.model_fields else None
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _check(tree: Mapping[str, Any], source: str, example: str) -> Config:
    """``example`` is how a setting is written in the source."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        errors = error.errors()
        # Options that may be whole numbers or others are told twice; the second is the wider.
        first = next((found for found in errors if found["loc"][-1:] != ("int",)), errors[0])
        raise _explain(first, source, example) from error


def _explain(error: ErrorDetails, source: str, example: str) -> ConfigError:
    names = [str(part) for part in error["loc"] if isinstance(part, str)]
    key = ".".join(names[:2])
    if error["type"] == "extra_forbidden":
        return _unknown_key(".".join(names), source)
    text = error["msg"]
    if error["type"] == "model_type":  # pydantic would name a class of ours
        text = "holds settings, as lines 'key: value'"
    elif error["type"] == "tuple_type":
        text = "takes a list"
    elif error["type"] in ("missing", "too_long"):
        text = "takes two numbers"
    got = "" if isinstance(error["input"], dict) else f", got {error['input']!r}"
    place = ".".join(names[:3] if key.endswith(".options") else names[:2]) or "settings"
    return ConfigError(f"{source}: {place}: {text[0].lower() + text[1:]}{got}", fix=_fix(error, key, example))


def _unknown_key(key: str, source: str) -> ConfigError:
    known = known_keys()
    elsewhere = difflib.get_close_matches(key.rpartition(".")[2], NAMES_ELSEWHERE, n=1, cutoff=0.8)
    if elsewhere:
        near = f"; did you mean '{NAMES_ELSEWHERE[elsewhere[0]]}'?"
    else:
        near = did_you_mean(key, [*known, *Config.model_fields]) or did_you_mean(f"train.{key}", known)
    return ConfigError(f"{source}: unknown key '{key}'{near}", fix=ALL_KEYS)


def _fix(error: ErrorDetails, key: str, example: str) -> str:
    """What is allowed, an example, and what the setting is."""
    group, _, leaf = key.partition(".")
    field = _fields(group).get(leaf)
    if field is None:
        fixes = {"several_lengths": "keep one of them", "other_bands": "give data.bands, too, or leave them out"}
        return fixes.get(error["type"], ALL_KEYS)
    allowed = ALLOWED.get(error["type"], "another value").format(**error.get("ctx", {}))
    if type(None) in get_args(field.annotation):
        allowed += ", or null for none"
    value = yaml.safe_dump(EXAMPLES.get(key, field.default), default_flow_style=True).removesuffix("...\n").strip()
    written = example.format(key=key, leaf=leaf, value=value)
    if " " in value and written.startswith("--set "):  # one word for the shell
        written = f"--set '{key}={value}'"
    return f"give {allowed}, for example {written} ({(field.description or '').rstrip('.')})"
