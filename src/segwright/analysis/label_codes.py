"""DUpsampling's P and W as they were fitted to a data set's labels: the file, and what they do to masks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from segwright.errors import ConfigError, WeightsError
from segwright.layers.dupsampling import DUpsample
from segwright.models.weights import read_safetensors, write_safetensors
from segwright.runtime.files import replacing

FORMAT = "segwright-label-codes"
VERSION = 1
ORDER = "class*ratio^2+row*ratio+column"
_FIT_AGAIN = "fit the label codes again"


@dataclass(frozen=True, eq=False)
class LabelCodes:
    """P and W (section 3.1): a patch of labels v becomes the code P v, and a code x the scores W x.

    Args:
        projection: (code_channels, N), P; N = C * ratio ** 2, its order is class, row, column.
        reconstruction: (N, code_channels), W.
        ratio: rows and columns of a patch.
        classes: names, in the order of the class indices.
        method: how they were fitted: ``exact``, ``randomized`` or ``sgd``.
        seed: of the fit.
        energy: share of E|v|^2 that W P v keeps, 0..1.
        energies: (code_channels,) float64, each code's own share, falling; ``None`` of method sgd, which has no order.
        patches: how many patches they were fitted to.
    """

    projection: Tensor
    reconstruction: Tensor
    ratio: int
    classes: tuple[str, ...]
    method: str
    seed: int
    energy: float
    patches: int
    energies: Tensor | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def code_channels(self) -> int:
        return len(self.projection)

    def shortened(self, code_channels: int) -> "LabelCodes":
        """The codes of a shorter length: the first channels, which are the best of that number.

        Raises:
            ConfigError: longer than they are, below 1, or codes without an order.
        """
        if self.energies is None or not 1 <= code_channels <= self.code_channels:
            raise ConfigError(
                f"{self.code_channels} label codes of method {self.method} cannot be shortened to {code_channels}",
                fix="fit them with this number of code channels",
            )
        energies = self.energies[:code_channels].clone()
        return replace(
            self,
            projection=self.projection[:code_channels].clone(),
            reconstruction=self.reconstruction[:, :code_channels].clone(),
            energies=energies,
            energy=min(1.0, float(energies.sum())),
        )

    @cached_property
    def layer(self) -> DUpsample:
        """The layer with these P and W and a temperature of 1."""
        layer = DUpsample(self.code_channels, self.num_classes, self.ratio, temperature=False, trains_on_codes=True)
        layer.set_codes(self.reconstruction, self.projection)
        return layer

    def encode(self, masks: Tensor, ignore_index: int) -> Tensor:
        """The codes P v of the patches; ignored pixels and those beyond the edge are of no class.

        Shape:
            (N, H, W) -> (N, code_channels, ceil(H / ratio), ceil(W / ratio))
        """
        return self.layer.to(masks.device).encode(masks, ignore_index)

    @torch.no_grad()
    def decode(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores W x of the top left ``size`` pixels.

        Shape:
            (N, code_channels, ceil(H / ratio), ceil(W / ratio)) -> (N, C, H, W)
        """
        scores: Tensor = self.layer.to(codes.device)(codes, size)
        return scores

    def put_into(self, upsampler: DUpsample) -> None:
        """Give a network's DUpsampling these W and P, of the length that its training wants.

        Raises:
            ShapeError: another ratio, class count or code length.
        """
        # Differs: the paper says nothing of the columns' length; with 1 the training of the network is far slower.
        upsampler.set_codes(self.ratio * self.reconstruction, self.projection / self.ratio)

    def save(self, path: str | Path) -> None:
        """Write P, W and what they are to one safetensors file, atomically.

        Raises:
            RunError: the file cannot be written; an older one of that name is left as it was.
        """
        tensors = {"projection": self.projection, "reconstruction": self.reconstruction}
        if self.energies is not None:
            tensors["energies"] = self.energies
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "order": ORDER,
            "ratio": str(self.ratio),
            "num_classes": str(self.num_classes),
            "code_channels": str(self.code_channels),
            "classes": json.dumps(self.classes),
            "method": self.method,
            "seed": str(self.seed),
            "energy": repr(self.energy),
            "patches": str(self.patches),
        }
        with replacing(Path(path)) as temporary:
            write_safetensors(temporary, tensors, metadata)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        classes: Sequence[str] | None = None,
        ratio: int | None = None,
        code_channels: int | None = None,
    ) -> "LabelCodes":
        """Read a file of :meth:`save` and check that it is whole and what is wanted.

        Args:
            path: the file.
            classes: names it must have, in this order.
            ratio: it must have.
            code_channels: length of a code it must have.

        Raises:
            WeightsError: missing, damaged, no file of label codes, or of other classes, ratio or code length.
        """
        if not Path(path).is_file():
            raise WeightsError(f"label codes '{path}' do not exist", fix="give the path of their file, or fit them")
        tensors, metadata = read_safetensors(Path(path))
        codes = _read(tensors, metadata, str(path))
        _check_wanted(codes, classes, ratio, code_channels, str(path))
        return codes


def _read(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], source: str) -> LabelCodes:
    """The label codes of a file, which may hold anything."""
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"'{source}' holds no label codes", fix="give a file of label codes, or fit them")
    for key, known in (("version", str(VERSION)), ("order", ORDER)):
        if metadata.get(key) != known:
            raise WeightsError(
                f"'{source}' holds label codes of {key} '{metadata.get(key)}', and '{known}' is known here",
                fix=_FIT_AGAIN,
            )
    try:
        codes = LabelCodes(
            projection=tensors["projection"],
            reconstruction=tensors["reconstruction"],
            ratio=int(metadata["ratio"]),
            classes=tuple(map(str, json.loads(metadata["classes"]))),
            method=metadata["method"],
            seed=int(metadata["seed"]),
            energy=float(metadata["energy"]),
            patches=int(metadata["patches"]),
            energies=tensors.get("energies"),
        )
        counts = int(metadata["num_classes"]), int(metadata["code_channels"])
    except (KeyError, ValueError, TypeError) as reason:
        raise WeightsError(f"the header of '{source}' is damaged ({reason!r})", fix=_FIT_AGAIN) from reason
    _check_tensors(codes, *counts, source)
    return codes


def _check_tensors(codes: LabelCodes, num_classes: int, code_channels: int, source: str) -> None:
    """That P and W are of the shapes that the header states, and hold numbers."""
    length = num_classes * codes.ratio**2
    shapes = tuple(codes.reconstruction.shape), tuple(codes.projection.shape)
    if codes.ratio < 1 or len(codes.classes) != num_classes or shapes != ((length, code_channels), shapes[0][::-1]):
        raise WeightsError(
            f"'{source}' holds W of {shapes[0]} and P of {shapes[1]}, and its header says {num_classes} classes, "
            f"{len(codes.classes)} class names, ratio {codes.ratio} and {code_channels} code channels",
            fix=_FIT_AGAIN,
        )
    energies = codes.energies
    if energies is not None and energies.shape != (code_channels,):
        raise WeightsError(
            f"'{source}' holds {tuple(energies.shape)} energies of {code_channels} codes", fix=_FIT_AGAIN
        )
    for name, tensor in (("P", codes.projection), ("W", codes.reconstruction), ("the energies", energies)):
        if tensor is not None and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise WeightsError(f"{name} in '{source}' holds values that are no numbers", fix=_FIT_AGAIN)


def _check_wanted(
    codes: LabelCodes, classes: Sequence[str] | None, ratio: int | None, code_channels: int | None, source: str
) -> None:
    if classes is not None and tuple(classes) != codes.classes:
        raise WeightsError(
            f"'{source}' holds label codes of {_difference(codes.classes, tuple(classes))}",
            fix="fit label codes to this data set",
        )
    for name, has, wanted in (("ratio", codes.ratio, ratio), ("code_channels", codes.code_channels, code_channels)):
        if wanted is not None and has != wanted:
            raise WeightsError(
                f"'{source}' holds label codes of {name} {has}, and {wanted} is wanted",
                fix=f"fit them with {name} {wanted}, or build the network with {has}",
            )


def _difference(has: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """In what two lists of classes differ."""
    if len(has) != len(wanted):
        return f"{len(has)} classes, and {len(wanted)} are wanted"
    index = next(i for i, (one, other) in enumerate(zip(has, wanted, strict=True)) if one != other)
    order = "the same classes in another order" if sorted(has) == sorted(wanted) else "other classes"
    return f"{order}: class {index} is '{has[index]}', and '{wanted[index]}' is wanted"
