"""W of DUpsampling for a run: from a file, from the training labels, or none."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from segwright.analysis import LabelCodes, fit_label_codes
from segwright.analysis.fitting import Method
from segwright.config import Config
from segwright.data import SegmentationData
from segwright.engine.reporter import Reporter
from segwright.errors import ConfigError
from segwright.layers.dupsampling import DUpsample
from segwright.models import SegmentationModel

METHODS: Mapping[str, Method] = {"auto": "auto", "exact": "exact", "randomized": "randomized", "sgd": "sgd"}


class RunCodes:
    """The label codes of a run, made when a network first asks for them and kept for the next one.

    Args:
        config: the settings; ``model.label_codes`` says where the codes come from.
        data: whose training labels they are fitted to.
        reporter: hears of the fit.
        kept: file of the codes that the run used before, where it is resumed.
    """

    def __init__(self, config: Config, data: SegmentationData, reporter: Reporter, *, kept: Path | None = None) -> None:
        self.config, self.data, self.reporter = config, data, reporter
        self.source = str(kept) if kept is not None and kept.is_file() else config.model.label_codes
        self.codes: LabelCodes | None = None

    def put_into(self, model: SegmentationModel) -> None:
        """Give the network's DUpsampling its W and P, where trained weights have not brought them.

        Raises:
            DataError: labels that cannot be read, or fewer patches than code channels.
            WeightsError: a file of label codes that does not fit the network or the data set.
        """
        upsampler = upsampler_of(model)
        if upsampler is None or upsampler.is_fitted or self.source == "none":
            return
        self.codes = self.codes or self._make(upsampler)
        self.codes.put_into(upsampler)

    def save(self, path: Path) -> None:
        """Write the codes, if there are any."""
        if self.codes is not None:
            self.codes.save(path)

    def _make(self, upsampler: DUpsample) -> LabelCodes:
        if self.source not in METHODS:
            codes = LabelCodes.load(
                Path(self.source),
                classes=self.data.classes,
                ratio=upsampler.ratio,
                code_channels=upsampler.code_channels,
            )
            self.reporter.say("label codes", f"from '{self.source}'")
            return codes
        codes = fit_label_codes(
            self.data,
            ratio=upsampler.ratio,
            code_channels=upsampler.code_channels,
            split=self.config.data.train_split,
            method=METHODS[self.source],
            seed=self.config.train.seed,
            progress=partial(self.reporter.progressed, "fitting label codes"),
        )
        self.reporter.say(
            "label codes",
            f"{codes.code_channels} channels for patches of {codes.ratio}x{codes.ratio} pixels keep "
            f"{100 * codes.energy:.2f} % of the training labels (method {codes.method})",
        )
        return codes


def upsampler_of(model: SegmentationModel) -> DUpsample | None:
    """The network's DUpsampling, if it ends in one."""
    upsampler = getattr(model, "upsampler", None)
    return upsampler if isinstance(upsampler, DUpsample) else None


def check_label_codes(config: Config, model: SegmentationModel) -> None:
    """Refuse a ``model.label_codes`` that nothing can come of, before any file is read.

    Raises:
        ConfigError: a network without DUpsampling, or neither a method nor a file.
    """
    source = config.model.label_codes
    if source == "auto":
        return
    if upsampler_of(model) is None:
        raise ConfigError(
            f"model.label_codes is '{source}', and model '{config.model.name}' does not end in DUpsampling",
            fix="leave it out, or give --upsampler dupsampling or --model dupsampling",
        )
    if source not in (*METHODS, "none") and not Path(source).is_file():
        raise ConfigError(
            f"model.label_codes is '{source}', which is neither a method nor a file",
            fix=f"give one of {', '.join(METHODS)}, none, or a file that LabelCodes.save has written",
        )
