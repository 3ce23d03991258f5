"""From a user's few words to a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from segwright.config import Config, known_keys, make_config, read_config, with_settings
from segwright.engine.build import check_loss
from segwright.engine.codes import check_label_codes
from segwright.engine.folder import open_run
from segwright.engine.norms import frozen_part
from segwright.engine.optim import check_head_rate
from segwright.engine.reporter import Reporter
from segwright.engine.train import Run, run
from segwright.errors import ConfigError, did_you_mean
from segwright.models import build_model
from segwright.models.transfer import trunk_of

WORDS = {
    "epochs": "train.epochs",
    "iters": "train.iters",
    "minutes": "train.minutes",
    "batch_size": "train.batch_size",
    "crop_size": "data.crop_size",
    "lr": "train.lr",
    "weights": "model.weights",
    "teacher": "model.teacher",
    "upsampler": "model.options.upsampler",
    "device": "train.device",
    "precision": "train.precision",
    "seed": "train.seed",
    "save_every": "train.save_every",
}
"""The settings that have a flag and a keyword of their own, and their place in the tree."""

_MANY_CLASSES = 256
"""More than most data sets have; options that few classes allow are refused when the data set is known."""
_LENGTHS = ("train.iters", "train.epochs", "train.minutes")


def train(
    data: str | Path,
    model: str | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    reporter: Reporter | None = None,
    settings: Mapping[str, Any] | None = None,
    **words: Any,
) -> Run:
    """Train a network on a data set.

    Args:
        data: folder or data.yaml.
        model: registered name; ``None`` for the recipe's, or ``fast_scnn``.
        out: the run folder; ``None`` for ``runs/<date>_<data>_<model>``.
        recipe: YAML file with a complete tree of settings to start from.
        reporter: hears of the progress; ``None`` logs it.
        settings: leaves of the tree, such as ``{"train.warmup_iters": 100}``.
        words: ``epochs``, ``iters``, ``minutes``, ``batch_size``, ``crop_size``, ``lr``, ``weights``, ``teacher``,
            ``upsampler``, ``device``, ``precision``, ``seed``, ``save_every``.

    Returns:
        The finished run: its folder, the best scores on val, and the path of the model file.

    Raises:
        SegmentationError: of the kind of what is wrong; ``Interrupted`` after Ctrl-C, with everything saved.
    """
    config = make_run_config(data, model, recipe=recipe, settings=settings, words=words)
    return run(config, out, reporter=reporter)


def make_run_config(
    data: str | Path,
    model: str | None = None,
    *,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> Config:
    """The settings of a run: a recipe or the defaults, replaced leaf by leaf; arguments as :func:`train`.

    A length given in words replaces the recipe's, whatever its unit.

    Raises:
        ConfigError: unknown words, keys, models, losses or options, values of the wrong kind, or
            ImageNet weights for a network that has no trunk.
    """
    config = read_config(Path(recipe)) if recipe else make_config({})
    leaves: dict[str, Any] = {"data.path": str(Path(data).expanduser().resolve())}
    if model:
        leaves["model.name"] = model
    for word, value in (words or {}).items():
        if word not in WORDS:
            raise _unknown_word(word, value)
        if value is not None:
            text_or_value = str(value) if isinstance(value, Path) else value
            leaves[WORDS[word]] = None if (word, value) == ("weights", "none") else text_or_value
    leaves |= settings or {}
    lengths = [key for key in _LENGTHS if leaves.get(key) is not None]
    if len(lengths) > 1:
        given = " and ".join(key.removeprefix("train.") for key in lengths)
        raise ConfigError(f"{given} both say how long to train", fix="give one of them")
    if lengths:
        leaves = dict.fromkeys(_LENGTHS) | leaves
    outermost_first = dict(sorted(leaves.items(), key=lambda leaf: leaf[0].count(".")))  # one option stays beside all
    config = with_settings(config, outermost_first, source="the settings")
    with torch.device("meta"):  # finds a wrong backbone or stride before any file is read
        network = build_model(config.model.name, _MANY_CLASSES, config.model.options)
    if config.model.weights == "imagenet":
        trunk_of(network)
    check_label_codes(config, network)
    if config.train.batch_norm == "frozen":
        frozen_part(config, network)
    check_head_rate(config.train, network)
    check_loss(config.loss)
    return config


def make_resume_config(
    run_folder: str | Path,
    data: str | Path | None = None,
    model: str | None = None,
    *,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> Config:
    """The settings that a run is asked to go on with: a recipe or the run's own, replaced leaf by leaf.

    Args:
        run_folder: of the run.
        data, model, recipe, settings, words: as :func:`train`.

    Raises:
        ConfigError: as :func:`make_run_config`; a length in minutes.
    """
    if (words or {}).get("minutes") is not None:
        raise ConfigError("a run that goes on has its length in steps, not in minutes", fix="give --iters N")
    folder = open_run(run_folder)
    data = data or read_config(folder.config).data.path
    return make_run_config(data, model, recipe=recipe or folder.config, settings=settings, words=words)


def _unknown_word(word: str, value: object) -> ConfigError:
    leaves = [key for key in known_keys() if key.endswith(f".{word}")]
    if "." in word or leaves:
        place = {word if "." in word else leaves[0]: value}
        return ConfigError(f"train has no argument '{word}'", fix=f"settings of the tree are given as settings={place}")
    return ConfigError(f"train has no setting '{word}'{did_you_mean(word, WORDS)}", fix=f"known: {', '.join(WORDS)}")


def crop_words(crop_size: Sequence[int] | None) -> tuple[int, int] | None:
    """``--crop-size H W`` as a setting.

    Raises:
        ConfigError: not two numbers.
    """
    if not crop_size:
        return None
    if len(crop_size) != 2:
        message = f"--crop-size takes height and width, got {len(crop_size)} numbers"
        raise ConfigError(message, fix="--crop-size 352 480")
    return crop_size[0], crop_size[1]
