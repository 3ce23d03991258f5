import shlex
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from segwright.config import Config, known_keys, make_config, parse_words, read_config, with_settings
from segwright.data.checks.problem import ALLOWABLE
from segwright.engine.folder import RunFolder
from segwright.errors import ConfigError


def refused(tree: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make_config(tree, source="recipe.yaml")
    return caught.value


def test_training_can_allow_what_the_check_can() -> None:
    assert make_config({"data": {"allow": list(ALLOWABLE)}}).data.allow == ALLOWABLE
    assert make_config({"data": {"allow": ALLOWABLE[0]}}).data.allow == ALLOWABLE[:1]
    fix = refused({"data": {"allow": "size-mismatch"}}).fix
    assert all(f"'{code}'" in fix for code in ALLOWABLE)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.lrr", "train.lr"),
        ("train.batchsize", "train.batch_size"),
        ("data.cropsize", "data.crop_size"),
        ("weight_decay", "train.weight_decay"),
        ("trian.lr", "train.lr"),
        ("train.learnin_rate", "train.lr"),
        ("num_workers", "data.workers"),
    ],
)
def test_unknown_key_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"--set: unknown key '{key}'; did you mean '{near}'") as caught:
        with_settings(Config(), {key: 1})
    assert caught.value.exit_code == 2
    assert caught.value.fix == "segwright train DATA --dry-run prints all keys with their values"


def test_unknown_key_in_a_recipe_names_file_and_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train:\n  learning_rate: 0.1\n  optimiser: sgd\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: unknown key 'train\."):
        read_config(recipe)
    recipe.write_text("train:\n  optimiser: sgd\n")
    with pytest.raises(ConfigError, match=r"unknown key 'train\.optimiser'; did you mean 'train\.optimizer'"):
        read_config(recipe)


@pytest.mark.parametrize(
    ("group", "leaf", "value", "allowed"),
    [
        ("train", "lr", 0, "greater than 0"),
        ("train", "lr", "fast", "valid number"),
        ("train", "lr", float("nan"), "finite number"),
        ("train", "lr", float("inf"), "finite number"),
        ("train", "lr", True, "true and false"),
        ("train", "batch_size", 0, "greater than or equal to 1"),
        ("train", "batch_size", 2.5, "valid integer"),
        ("train", "iters", True, "true and false"),
        ("train", "momentum", 1.0, "less than 1"),
        ("train", "optimizer", "adam", "'sgd' or 'adamw'"),
        ("train", "precision", "fp64", "'fp32', 'bf16' or 'fp16'"),
        ("data", "flip", 1.5, "less than or equal to 1"),
        ("data", "scale", [0, 1], "greater than 0"),
        ("data", "path", 5, "valid string"),
        ("loss", "class_weights", "sqrt", "'none', 'auto', 'median_frequency' or 'log'"),
    ],
)
def test_bad_value_names_key_value_and_what_is_allowed(group: str, leaf: str, value: Any, allowed: str) -> None:
    error = refused({group: {leaf: value}})
    assert error.message.startswith(f"recipe.yaml: {group}.{leaf}: ")
    assert allowed in error.message
    assert f"got {value[0] if isinstance(value, list) else value!r}" in error.message
    assert f"for example --set {group}.{leaf}=" in error.fix.replace("'", "")


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("train.lr", 0, "give a number above 0, for example --set train.lr=0.045 (Highest learning rate)"),
        ("train.lr", "fast", "give a number, for example --set train.lr=0.045 (Highest learning rate)"),
        (
            "train.batch_size",
            0,
            "give a number of at least 1, or null for none, for example --set train.batch_size=12 (",
        ),
        ("train.batch_size", 2.5, "give a whole number, or null for none, for example --set train.batch_size=12 ("),
        ("train.momentum", 1.0, "give a number below 1, for example --set train.momentum=0.9 ("),
        ("train.ema", "none", "give a number, or null for none, for example --set train.ema=0.999 ("),
        ("train.optimizer", "adam", "give 'sgd' or 'adamw', for example --set train.optimizer=sgd ("),
        ("train.no_decay", "bias", "give a list in brackets, for example --set train.no_decay=[depthwise] ("),
        ("data.flip", 1.5, "give a number of at most 1, for example --set data.flip=0.5 ("),
        ("data.check", "maybe", "give true or false, for example --set data.check=true ("),
        ("data.scale", [2.0, 0.5], "give the smaller number first, for example --set 'data.scale=[0.5, 2.0]' ("),
        ("data.crop_size", [64], "give two numbers in brackets, or null for none, for example --set 'data.crop_size="),
        ("data.crop_size", [1, 2, 3], "give two numbers in brackets, or null for none"),
        ("loss.options.threshold", "big", "give a number, for example --set 'loss.options={threshold: 0.7}' ("),
        ("model.options", 4, "give options by name, for example --set 'model.options={variant: paper}' ("),
    ],
)
def test_fix_says_what_is_allowed_with_an_example_and_what_the_setting_is(key: str, value: Any, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Config(), {key: value})
    assert caught.value.message.startswith(f"--set: {key}: ")
    assert caught.value.fix.startswith(fix)
    assert caught.value.fix.endswith(")")


@pytest.mark.parametrize("key", known_keys())
def test_example_of_every_setting_is_a_word_that_is_taken(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Config(), {key: ({},)})
    words = shlex.split(caught.value.fix.partition("for example --set ")[2].partition(" (")[0])
    assert len(words) == 1
    settings = parse_words(words)
    assert list(settings) == [key]
    with_settings(Config(), settings)


def test_fix_in_a_recipe_is_written_as_in_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("train: {lr: -1}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "recipe.yaml")
    assert caught.value.fix == "give a number above 0, for example lr: 0.045 (Highest learning rate)"


def test_range_that_falls_is_refused() -> None:
    message = refused({"data": {"scale": [2.0, 0.5]}}).message
    assert message == "recipe.yaml: data.scale: scale is a range from low to high, got [2.0, 0.5]"


@pytest.mark.parametrize("content", [5, None, [1], "sgd"])
def test_group_that_holds_no_settings_is_refused(content: Any) -> None:
    assert refused({"train": content}).message.startswith("recipe.yaml: train: holds settings, as lines 'key: value'")


def test_key_that_is_no_text_is_refused() -> None:
    refused({1: {"lr": 1}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "lengths", [{"iters": 5, "epochs": 2}, {"epochs": 2, "minutes": 3}, {"iters": 5, "minutes": 1}]
)
def test_two_lengths_are_refused(lengths: dict[str, int]) -> None:
    error = refused({"train": lengths})
    assert error.message == "recipe.yaml: train: give one of iters, epochs and minutes, not several"
    assert error.fix == "keep one of them"


def test_tab_in_a_recipe_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("train:\n\tlr: 0.1\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml' line 2 is indented with a tab"):
        read_config(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("train.lr=0.02", "train.lr", 0.02),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("train.iters=500", "train.iters", 500),
        ("data.crop_size=[288, 384]", "data.crop_size", [288, 384]),
        ("data.scale=[5e-1,2]", "data.scale", [0.5, 2]),
        ("train.no_decay=[norm, bias]", "train.no_decay", ["norm", "bias"]),
        ("train.ema=null", "train.ema", None),
        ("train.optimizer=adamw", "train.optimizer", "adamw"),
        ("data.path=a=b", "data.path", "a=b"),
        ("data.path=nan", "data.path", "nan"),
        ("data.path=infinity", "data.path", "infinity"),
        (" train.lr =1", "train.lr", 1),
    ],
)
def test_words_are_read_as_keys_and_yaml_values(word: str, key: str, value: Any) -> None:
    settings = parse_words([word])
    assert settings == {key: value}
    assert type(settings[key]) is type(value)
    with_settings(Config(), settings)


def test_word_without_equals_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set takes key=value, got 'train\.lr'"):
        parse_words(["train.lr"])


def test_word_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set data\.scale=\[1, 2"):
        parse_words(["data.scale=[1, 2"])


def test_leaf_is_replaced_and_nothing_else() -> None:
    before = make_config({"train": {"lr": 0.1, "iters": 7}, "model": {"options": {"variant": "paper"}}})
    after = with_settings(before, {"train.lr": 0.2, "model.options.variant": "mmseg"})
    assert before.train.lr == 0.1
    assert before.model.options == {"variant": "paper"}
    expected = before.model_dump()
    expected["train"]["lr"] = 0.2
    expected["model"]["options"]["variant"] = "mmseg"
    assert after.model_dump() == expected


@pytest.mark.parametrize("key", ["train", "train.lr.deep", "lr", "", "."])
def test_key_that_is_no_leaf_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        with_settings(Config(), {key: 1})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().train.lr = 1.0  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    for group, field in Config.model_fields.items():
        assert field.annotation
        for name, leaf in field.annotation.model_fields.items():
            assert leaf.description, f"{group}.{name}"


def test_known_keys_are_the_leaves_of_the_tree() -> None:
    assert known_keys() == [f"{group}.{leaf}" for group, tree in Config().model_dump().items() for leaf in tree]


def test_written_settings_read_back_the_same_with_their_reasons_as_comments(tmp_path: Path) -> None:
    config = with_settings(
        Config(),
        {
            "data.path": "C:\\pictures # of 'streets': é",
            "data.crop_size": (32, 48),
            "data.scale": (0.1 + 0.2, 1e20),
            "model.weights": "null",
            "model.options": {"variant": "mmseg", "rates": [1, {"deep": "a: b"}], "yes": "no"},
            "loss.options": {"threshold": 0.7, "min_kept": 1000},
            "train.lr": 4e-5,
            "train.iters": 10,
            "train.no_decay": (),
            "train.ema": None,
        },
    )
    folder = RunFolder(tmp_path)
    folder.write_config(config, {"train.iters": "5 epochs of 4 pictures", "data.crop_size": "pictures are 40x50"})
    assert read_config(folder.config) == config
    assert isinstance(read_config(folder.config).loss.options["min_kept"], int)
    lines = folder.config.read_text().splitlines()
    assert "  iters: 10  # auto: 5 epochs of 4 pictures" in lines
    assert "  crop_size: [32, 48]  # auto: pictures are 40x50" in lines
    assert sum("# auto:" in line for line in lines) == 2
