"""Every shipped recipe loads, names a model and a loss that exist, and says in its head what it costs and gives."""

from pathlib import Path

import pytest

from segwright.engine import make_run_config

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_and_its_options_bind(recipe: Path, tmp_path: Path) -> None:
    config = make_run_config(tmp_path, recipe=recipe)
    assert config.data.path == str(tmp_path)
    assert config.train.iters or config.train.epochs or config.train.minutes


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_how_to_run_it_and_what_it_gives(recipe: Path) -> None:
    head = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    assert any("segwright train" in line and f"recipes/{recipe.name}" in line for line in head)
    assert any("hardware" in line for line in head)
    assert any("score" in line for line in head)
