"""What is measured against each other: models times runtimes times precisions, as far as they are possible."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from segwright.data import SegmentationData
from segwright.deploy.export import ENDINGS, PRECISIONS, export
from segwright.deploy.graph import FORMATS, Format
from segwright.errors import ConfigError, MissingExtraError, SegmentationError, WeightsError, did_you_mean
from segwright.inference import Predictor
from segwright.inference.runtimes import RUNTIMES
from segwright.info import ModelInfo, generic_palette
from segwright.models import list_models, save_model
from segwright.models.segmentation_model import build_model
from segwright.runtime.exported import READERS, Precision, is_exported
from segwright.zoo import catalog, load_model

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how many pieces are done, and of how many."""

WORDS = ("auto", "fp32", "bf16", "fp16", "int8")
"""Precisions that there are; which of them are possible depends on the runtime."""

FRESH_CLASSES = 19
"""Of a network that is given by its name alone."""


@dataclass(frozen=True)
class Subject:
    """A model as the user gave it.

    Args:
        name: as given.
        source: what ``Predictor`` takes for it.
        info: classes and options; None of an exported file that nothing installed here can read.
        is_fresh: given by its registered name: its weights are random.
    """

    name: str
    source: str | Path
    info: ModelInfo | None
    is_fresh: bool = False


@dataclass(frozen=True, eq=False)
class Contender:
    """A model, ready to run by one runtime in one precision.

    Args:
        subject: the model.
        source: what ``Predictor`` takes: the model, or a file that was exported for this.
        predictor: runs it.
    """

    subject: Subject
    source: str | Path
    predictor: Predictor

    @property
    def key(self) -> tuple[str, str, str]:
        """What it says of itself: name, runtime and precision."""
        return self.subject.name, self.predictor.runtime, self.predictor.precision

    @property
    def label(self) -> str:
        """For people."""
        return " ".join(self.key)


@dataclass(frozen=True)
class LeftOut:
    """What was asked for and cannot be had, and why.

    Args:
        model, runtime, precision: as asked for.
        error: says why.
    """

    model: str
    runtime: str
    precision: str
    error: SegmentationError

    def to_json(self) -> dict[str, str]:
        words = {"model": self.model, "runtime": self.runtime, "precision": self.precision}
        return {**words, "reason": self.error.message, "fix": self.error.fix}


@dataclass(frozen=True)
class Gathering:
    """How contenders are made.

    Args:
        folder: for what has to be written.
        data: gives the classes of fresh networks and the pictures to calibrate on; or None.
        device: as :class:`segwright.Predictor`.
        threads: to compute with.
        tell: hears of the work.
    """

    folder: Path
    data: SegmentationData | None
    device: str
    threads: int
    tell: Progress

    def subject(self, model: str) -> Subject:
        """A model by file, run folder, id or registered name.

        Raises:
            WeightsError: there is none, or its file cannot be used.
        """
        if is_exported(model):
            try:
                return Subject(model, Path(model), Predictor(model, threads=self.threads).info)
            except MissingExtraError:
                return Subject(model, Path(model), None)
        if not Path(model).exists() and model in list_models():
            return self._fresh(model)
        if not Path(model).exists() and "/" not in model:
            known = [*list_models(), *(entry.id for entry in catalog())]
            raise WeightsError(
                f"'{model}' is no model file, run folder, exported file, or name of a network"
                f"{did_you_mean(model, known)}",
                fix="give a file, a folder that segwright train wrote, or a name or id of segwright models list",
            )
        return Subject(model, model, load_model(model).info)

    def _fresh(self, name: str) -> Subject:
        classes = self.data.classes if self.data else tuple(f"class {index}" for index in range(FRESH_CLASSES))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build_model(name, len(classes), {})
        model.info = replace(model.info, classes=classes, palette=generic_palette(len(classes)))
        path = self.folder / f"{name}.safetensors"
        save_model(model, path)
        return Subject(name, path, model.info, is_fresh=True)

    def contenders(
        self, subject: Subject, runtimes: Sequence[str], precisions: Sequence[str]
    ) -> tuple[list[Contender], list[LeftOut]]:
        """All ways to run a model that were asked for, and those that are not possible.

        Args:
            subject: the model.
            runtimes: none for torch, or those that read the exported file.
            precisions: none for what the runtime takes by itself.
        """
        found: dict[tuple[str, str, str], Contender] = {}
        left_out: list[LeftOut] = []
        for runtime in dict.fromkeys(runtimes or _usual_runtimes(subject)):
            for precision in dict.fromkeys(precisions or ("auto",)):
                try:
                    contender = self._contender(subject, runtime, precision)
                except SegmentationError as error:
                    left_out.append(LeftOut(subject.name, runtime, precision, error))
                else:
                    found.setdefault(contender.key, contender)  # auto may be one of the others
        return list(found.values()), left_out

    def _contender(self, subject: Subject, runtime: str, precision: str) -> Contender:
        source, asked = subject.source, precision
        if not is_exported(source) and runtime in FORMATS:
            format: Format = "onnx" if runtime == "onnx" else "openvino"
            wanted = "fp32" if precision == "auto" else precision
            if wanted not in PRECISIONS[format]:
                able = ", ".join(PRECISIONS[format])
                raise ConfigError(f"networks are exported for {runtime} in {able}", fix=f"leave {precision} out")
            # What random weights decide is up to chance, so that a file made for bf16 would not pass its check.
            is_unchecked = subject.is_fresh and wanted == "bf16"
            source = self._export(subject, format, "fp32" if is_unchecked else wanted)
            asked = precision if is_unchecked else "auto"
        elif not is_exported(source) and precision == "int8":
            raise ConfigError("torch computes in no int8 here", fix="add --runtime openvino")
        return Contender(subject, source, Predictor(source, self.device, runtime, asked, threads=self.threads))

    def _export(self, subject: Subject, format: Format, precision: Precision) -> Path:
        """The network as a file of the runtime; whoever asked sees its mIoU, so that it may be as low as it is."""
        if precision == "int8" and self.data is None:
            raise ConfigError("int8 needs pictures to calibrate on, and none were given", fix="add --data DATA")
        number = sum(1 for _ in self.folder.iterdir())
        path = self.folder / f"{number}-{precision}{ENDINGS[format]}"

        def tell(what: str, done: int, total: int) -> None:
            self.tell(f"{subject.name} for {format} {precision}: {what}", done, total)

        return export(
            subject.source, path, format=format, precision=precision, max_drop=1.0, progress=tell,
            calibrate=self.data.source if self.data and precision == "int8" else None,
        ).path  # fmt: skip


def check_words(runtimes: Sequence[str], precisions: Sequence[str]) -> None:
    """Refuse words that mean nothing, before any work.

    Raises:
        ConfigError: an unknown runtime or precision.
    """
    for what, words, known in (("runtime", runtimes, RUNTIMES), ("precision", precisions, WORDS)):
        for word in words:
            if word not in known:
                raise ConfigError(
                    f"unknown {what} '{word}'{did_you_mean(word, known)}", fix=f"choose of: {', '.join(known)}"
                )


def _usual_runtimes(subject: Subject) -> tuple[str, ...]:
    return READERS[Path(subject.source).suffix.lower()] if is_exported(subject.source) else ("torch",)
