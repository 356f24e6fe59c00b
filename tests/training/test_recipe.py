"""Recipes: those that ship are whole, and a mistake in one's own is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from training.tiny import write_recipe

from dmri7t.errors import ModelError
from dmri7t.training.recipe import RECIPES, read_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_have_a_stage_for_each_network(path):
    recipe = read_recipe(path.stem)
    assert recipe == read_recipe(path)
    assert recipe.config.name == path.stem
    assert tuple(recipe.stages) == tuple(recipe.config.networks)


def test_limits_become_the_models_ranges():
    assert read_recipe("default").config.ranges == {"bval": (500.0, 2600.0)}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[model]", "[modell]", "unknown table modell"),
        ("seeds = 3\n", "", "data: seeds is missing"),
        ("seeds = 3\n", 'seeds = "three"\n', "data.seeds is 'three', should be a whole number"),
        ("steps = 60", "steps = -1", "stages.vqvae_3t: 'steps' must be >= 0: -1"),
        ("examples = 4", "exmaples = 4", "stages.super_resolution: unknown key exmaples"),
        ("[stages.diffusion]", "[stages.difusion]", "stages: unknown key difusion"),
        ('"vqvae_3t"', '"mean"', "stages.vqvae_7t: start_from is mean, should be a network"),
        ('"vqvae_3t"', '"vqvae_7t"', "start_from is vqvae_7t, should be a network that is trained"),
        ("[data]", "[data", "Expected ']'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, before: str, after: str, says: str):
    path = write_recipe(tmp_path / "own.toml")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ModelError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a usable recipe: ") and "\n" not in message
    assert says in message and message.endswith("correct it.")


def test_a_network_without_a_stage_is_named(tmp_path):
    path = write_recipe(tmp_path / "own.toml")
    # both are the last of the file
    path.write_text(path.read_text().partition("[stages.diffusion]")[0])
    with pytest.raises(ModelError, match="stages: diffusion, super_resolution missing"):
        read_recipe(path)


def test_unknown_recipe_names_those_that_ship():
    with pytest.raises(ModelError, match="default, gan, ldm, zhu2024"):
        read_recipe("nothing")
