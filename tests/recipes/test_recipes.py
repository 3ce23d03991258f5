"""Every shipped recipe loads, names a network and a loss that exist, and says in its head what it costs and gives."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from segwright.backbones import Backbone
from segwright.backbones.timm_library import timm
from segwright.cli.main import main
from segwright.config import Config
from segwright.engine import make_run_config
from segwright.engine.build import build_pixel_loss
from segwright.engine.optim import build_optimizer
from segwright.models import build_model, list_models

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
HEAD = ("command", "hardware", "hours", "expected score")
SAID = {
    "data": {"crop_size", "scale", "flip", "brightness", "contrast", "saturation", "channel_noise"},
    "model": {"name"},
    "loss": {"name"},
    "train": {"batch_size", "optimizer", "lr", "weight_decay", "no_decay", "power", "seed"},
}
"""What a recipe says itself, so that it reads alone and no default of ours changes what it does."""

each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


def head_of(recipe: Path) -> dict[str, str]:
    """The lines ``# topic: text`` before the settings, with what follows each."""
    lines = [line for line in recipe.read_text().partition("\ndata:")[0].splitlines() if line.startswith("#")]
    topics: dict[str, str] = {}
    for line in lines[1:]:
        found = re.match(r"# ([\w ]+): +(.*)", line)
        topic, text = found.groups() if found else (list(topics)[-1], line.lstrip("# "))
        topics[topic] = f"{topics.get(topic, '')} {text}".strip()
    return topics


def config_of(recipe: Path, folder: Path) -> Config:
    return make_run_config(folder, recipe=recipe)


def test_every_system_has_a_recipe() -> None:
    named = {yaml.safe_load(recipe.read_text())["model"]["name"] for recipe in RECIPES}
    assert named == set(list_models()) - {"encoder_decoder"}


@each_recipe
def test_recipe_loads_and_its_options_bind(recipe: Path, tmp_path: Path) -> None:
    config = config_of(recipe, tmp_path)
    assert config.data.path == str(tmp_path)
    assert config.train.iters or config.train.epochs or config.train.minutes


@each_recipe
def test_recipe_s_network_optimizer_and_loss_are_built(recipe: Path, tmp_path: Path) -> None:
    config = config_of(recipe, tmp_path)
    with torch.device("meta"):
        model = build_model(config.model.name, 5, config.model.options)
    assert model.num_classes == 5
    optimizer = build_optimizer(model, config.train)
    learned = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert {id(parameter) for group in optimizer.param_groups for parameter in group["params"]} == learned
    pixel_loss = build_pixel_loss(config.loss, None, ignore_index=255)
    assert pixel_loss(torch.randn(1, 5, 8, 8), torch.randint(5, (1, 8, 8))) > 0


@each_recipe
def test_imagenet_weights_that_a_recipe_starts_from_exist(recipe: Path, tmp_path: Path) -> None:
    config = config_of(recipe, tmp_path)
    if config.model.weights == "imagenet":
        with torch.device("meta"):
            trunk = build_model(config.model.name, 5, config.model.options).backbone
        assert isinstance(trunk, Backbone)
        published = timm.get_pretrained_cfg(trunk.name)
        assert published is not None
        assert published.has_weights


@each_recipe
def test_recipe_reads_alone(recipe: Path) -> None:
    tree = yaml.safe_load(recipe.read_text())
    missing = {f"{group}.{key}" for group, keys in SAID.items() for key in keys - tree[group].keys()}
    assert missing == set()


@each_recipe
def test_recipe_says_how_to_run_it_and_what_it_gives(recipe: Path) -> None:
    head = head_of(recipe)
    assert head.keys() >= set(HEAD)
    assert re.fullmatch(rf"segwright train \w+ --recipe recipes/{recipe.name} --out runs/\w+", head["command"])
    assert all(head[topic] for topic in HEAD)


@each_recipe
def test_score_is_measured_or_said_to_be_another_s(recipe: Path) -> None:
    score = head_of(recipe)["expected score"]
    if "docs/results.md" not in score:
        assert score.startswith("not yet measured")
        assert re.search(r"paper|authors", score)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train: {lrr: 0.1}", "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        ("train: {head_lr_facter: 10}", "did you mean 'train.head_lr_factor'?"),
        ("trian: {lr: 0.1}", "unknown key 'trian'; did you mean 'train'?"),
        ("lr: 0.1", "did you mean 'train.lr'?"),
        ("train: {lr: fast}", "train.lr: input should be a valid number"),
        ("train: {batch_size: 2.5}", "train.batch_size"),
        ("data: {crop_size: 64}", "data.crop_size: takes a list"),
        ("train: 5", "train: holds settings"),
        ("model: {name: fast_scnnn}", "did you mean 'fast_scnn'?"),
        ("model: {name: fcn, options: {bakbone: resnet18}}", "did you mean 'backbone'?"),
        ("train: {head_lr_factor: 10}", "the network has no trunk"),
    ],
)
def test_bad_recipe_is_told_with_the_nearest_key(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{line}\n")
    assert main(["train", str(tmp_path), "--recipe", str(recipe), "--dry-run"]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.splitlines()[-1].startswith("fix: ")
    assert told.out == ""
