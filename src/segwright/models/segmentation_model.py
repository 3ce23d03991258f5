"""The contract that every network keeps, and the registry that finds networks by name."""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from torch import Tensor, nn

from segwright.errors import ConfigError, ShapeError, did_you_mean
from segwright.info import ModelInfo, Preprocessing, generic_palette
from segwright.layers import resize
from segwright.models.stems import check_in_channels, widen
from segwright.registry import Registry
from segwright.types import SegmentationOutput


class SegmentationModel(nn.Module):
    """A network that gives one score per class and pixel.

    Subclasses set ``num_classes`` and ``aux_weights`` and implement :meth:`strided_logits`.

    Attributes:
        num_classes: channels of the logits.
        in_channels: of the images.
        aux_weights: the paper's loss weight of each name in ``aux``.
        aux_losses: names of the losses of those in ``aux``, or of ``main``, that are not resized for the pixel loss.
        joint_losses: weight of each loss that looks at the logits and the auxiliary outputs together.
        align_corners: of the final resize; True only where published weights need it.
        info: what the model file says about this model.
    """

    num_classes: int
    in_channels: int = 3
    aux_weights: Mapping[str, float]
    aux_losses: Mapping[str, str] = {}
    joint_losses: Mapping[str, float] = {}
    align_corners: bool = False
    info: ModelInfo

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        """Logits at the paper's own stride.

        Args:
            images: (N, in_channels, H, W) float, normalised; any H, W >= 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement strided_logits")

    def forward(self, images: Tensor) -> SegmentationOutput:
        """:meth:`strided_logits` and one bilinear resize of the logits to the input's height and width.

        Raises:
            ShapeError: ``images`` is not (N, in_channels, H, W) with H, W >= 1.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels or 0 in images.shape:
            what = "RGB pictures" if self.in_channels == 3 else f"pictures of {self.in_channels} bands"
            raise ShapeError(
                f"the network takes images of shape (N, {self.in_channels}, H, W), got {tuple(images.shape)}",
                fix=f"give a batch of {what}; images[None] makes one of a single picture",
            )
        output = self.strided_logits(images)
        size = (images.shape[-2], images.shape[-1])
        return SegmentationOutput(resize(output.logits, size, align_corners=self.align_corners), output.aux)


MODELS: Registry[SegmentationModel] = Registry("model", hint="segwright models list")
register_model = MODELS.register


def list_models() -> list[str]:
    """Names that :func:`create_model` knows, sorted."""
    return list(MODELS)


def model_builder(name: str) -> Callable[..., SegmentationModel]:
    """The builder registered as ``name``; its docstring and signature describe the model."""
    return MODELS[name]


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Bind options against the builder's signature before anything is built.

    Raises:
        ConfigError: unknown model, unknown option, or a value outside a ``Literal``.
    """
    parameters = inspect.signature(MODELS[name]).parameters
    known = [*(key for key in parameters if key != "num_classes"), "in_channels"]
    for key, value in options.items():
        if key == "in_channels":
            check_in_channels(value)
            continue
        if key not in known:
            allowed = f"its options are: {', '.join(known)}"
            raise ConfigError(f"model '{name}' has no option '{key}'{did_you_mean(key, known)}", fix=allowed)
        choices = _choices(parameters[key].annotation)
        if choices and value not in choices:
            allowed = ", ".join(str(choice) for choice in choices if choice is not None)
            raise ConfigError(
                f"{key} of model '{name}' must be one of {allowed}, got '{value}'", fix=f"pick one of {allowed}"
            )


def _choices(annotation: Any) -> list[Any]:
    """The values of a ``Literal``, or of one that may be ``None``; empty for any other type."""
    parts = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    if not all(part is NoneType or get_origin(part) is Literal for part in parts):
        return []
    return [value for part in parts for value in (get_args(part) or [None])]


def build_model(name: str, num_classes: int, options: Mapping[str, Any]) -> SegmentationModel:
    """A network with fresh weights and an ``info`` of numbered classes.

    Args:
        name: as registered.
        num_classes: channels of the logits.
        options: of the builder; and ``in_channels``, which every network has: other than 3, its input is pictures of
            so many bands, whose values it reads as they are until the ``info`` says otherwise.

    Raises:
        ConfigError: unknown model or option, or fewer than one class.
    """
    check_options(name, options)
    if num_classes < 1:
        raise ConfigError(f"num_classes must be at least 1, got {num_classes}", fix="count the classes of the data set")
    model = MODELS[name](num_classes, **{key: value for key, value in options.items() if key != "in_channels"})
    classes = tuple(f"class {index}" for index in range(num_classes))
    bands = int(options.get("in_channels", model.in_channels))
    preprocessing = Preprocessing()
    if bands != model.in_channels:
        widen(model, model.in_channels, bands)
        model.in_channels = bands
        preprocessing = Preprocessing((0.0,) * bands, (1.0,) * bands, bands=bands, unit=1.0)
    model.info = ModelInfo(name, dict(options), classes, generic_palette(num_classes), preprocessing)
    return model
