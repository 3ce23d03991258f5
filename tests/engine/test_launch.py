from pathlib import Path
from typing import Any

import pytest

from segwright.engine.launch import crop_words, make_run_config
from segwright.errors import ConfigError


def refused(**arguments: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make_run_config("data", **arguments)
    assert caught.value.fix
    return caught.value


def test_words_and_settings_land_at_their_place() -> None:
    words = {"lr": 0.1, "batch_size": 3, "crop_size": [32, 64], "seed": 5, "epochs": None}
    config = make_run_config("data", "fast_scnn", words=words, settings={"train.power": 1.0})
    assert config.data.path == str(Path("data").resolve())
    assert (config.train.lr, config.train.batch_size, config.train.seed, config.train.power) == (0.1, 3, 5, 1.0)
    assert config.data.crop_size == (32, 64)


def test_settings_of_the_tree_win_over_words() -> None:
    assert make_run_config("data", words={"lr": 0.1}, settings={"train.lr": 0.2}).train.lr == 0.2


def test_unknown_word_names_the_nearest() -> None:
    assert refused(words={"batchsize": 3}).message == "train has no setting 'batchsize'; did you mean 'batch_size'?"


@pytest.mark.parametrize(
    ("word", "place"),
    [("train.lr", "train.lr"), ("warmup_iters", "train.warmup_iters"), ("train.lrr", "train.lrr")],
)
def test_setting_of_the_tree_given_as_a_word_is_told_its_place(word: str, place: str) -> None:
    error = refused(words={word: 0.1})
    assert error.message == f"train has no argument '{word}'"
    assert error.fix == f"settings of the tree are given as settings={{'{place}': 0.1}}"


@pytest.mark.parametrize("given", [{"words": {"weights": "imagenet"}}, {"settings": {"model.weights": "imagenet"}}])
def test_imagenet_weights_that_do_not_exist_are_refused(given: dict[str, Any]) -> None:
    error = refused(**given)
    assert error.message.startswith("model 'fast_scnn' has no ImageNet weights")
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ({"epochs": 3, "minutes": 2}, {}),
        ({"iters": 5}, {"train.epochs": 2}),
        ({}, {"train.iters": 5, "train.minutes": 2}),
    ],
)
def test_two_lengths_are_refused(words: dict[str, int], settings: dict[str, int]) -> None:
    assert "both say how long to train" in refused(words=words, settings=settings).message


def test_length_in_words_replaces_the_recipes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {iters: 9000, lr: 0.01}\n")
    train = make_run_config("data", recipe=recipe, words={"minutes": 3}).train
    assert (train.iters, train.epochs, train.minutes, train.lr) == (None, None, 3, 0.01)
    assert make_run_config("data", recipe=recipe).train.iters == 9000


def test_weights_none_means_fresh_weights(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {weights: start.safetensors}\n")
    assert make_run_config("data", recipe=recipe).model.weights == "start.safetensors"
    assert make_run_config("data", recipe=recipe, words={"weights": "none"}).model.weights is None
    assert make_run_config("data", words={"weights": tmp_path}).model.weights == str(tmp_path)


def test_unknown_model_names_the_nearest() -> None:
    assert refused(model="fast_scn").message == "unknown model 'fast_scn'; did you mean 'fast_scnn'?"


def test_unknown_model_option_names_the_nearest() -> None:
    error = refused(settings={"model.options.varient": "paper"})
    assert error.message == "model 'fast_scnn' has no option 'varient'; did you mean 'variant'?"


def test_model_option_outside_its_choices_is_refused() -> None:
    assert "must be one of paper, mmseg, tramac" in refused(settings={"model.options.variant": "big"}).message


def test_unknown_loss_names_the_nearest() -> None:
    error = refused(settings={"loss.name": "cross_entropi"})
    assert error.message == "unknown loss 'cross_entropi'; did you mean 'cross_entropy'?"


def test_unknown_loss_option_names_the_nearest() -> None:
    error = refused(settings={"loss.name": "ohem_cross_entropy", "loss.options.treshold": 0.7})
    assert error.message == "loss 'ohem_cross_entropy' has no option 'treshold'; did you mean 'threshold'?"
    assert "no options" in refused(settings={"loss.options.threshold": 0.7}).fix


@pytest.mark.parametrize(
    ("option", "value"), [("threshold", 0), ("threshold", 1.5), ("min_kept", 0.5), ("min_kept", 0)]
)
def test_loss_option_out_of_range_is_refused(option: str, value: float) -> None:
    error = refused(settings={"loss.name": "ohem_cross_entropy", f"loss.options.{option}": value})
    assert error.message == f"loss.options.{option} is {value}"


def test_crop_size_takes_two_numbers() -> None:
    assert crop_words(None) is None
    assert crop_words([32, 48]) == (32, 48)
    with pytest.raises(ConfigError, match="got 3 numbers"):
        crop_words([1, 2, 3])
