"""Recipes: everything that decides a training, as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import ModelError
from dmri7t.models.config import ModelConfig, Range, RangeName
from dmri7t.models.fitted import Scalar
from dmri7t.models.plain import from_plain

RECIPES = Path(__file__).parent / "recipes"
"""Recipes that ship with the package."""

TABLES = ("model", "data", "limits", "networks", "sampler", "stages")
"""What a recipe's file may hold."""


@attrs.frozen(kw_only=True)
class Recipe:
    """What to train and how.

    Parameters
    ----------
    config : ModelConfig
        What the model is made of: the recipe's ``model``, ``networks`` and ``sampler``.
    data : dict of int
        seeds, first_seed, validation_seeds, first_validation_seed of the simulated pool.
    stages : dict of dict
        In the order of training: steps, batch, learning_rate and what else a stage takes.
    limits : dict, optional
        Narrower ranges than those of the training data within which the model is to be used,
        such as ``bval``: lowest and highest.
    """

    config: ModelConfig
    data: dict[str, int]
    stages: dict[str, dict[str, Scalar]]
    limits: dict[RangeName, Range] = attrs.field(factory=dict)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its path, or by the name of one that ships.

    Raises
    ------
    ModelError
        If it is missing, no TOML, or has wrong parts; names the key.
    """
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{path.name.removesuffix('.toml')}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ModelError(f"{name}: no such recipe; those that ship: {known}. Or give a TOML file.")
    try:
        return _recipe(tomllib.loads(path.read_text()))
    except ValueError as error:
        raise ModelError(f"{path}: not a usable recipe: {error}; correct it.") from error


def _recipe(values: dict[str, Any]) -> Recipe:
    """Read a recipe's values; what a model is made of becomes its description."""
    if unknown := sorted(set(values) - set(TABLES)):
        raise ValueError(f"unknown table {', '.join(unknown)} (there are {', '.join(TABLES)})")
    parts = {name: values.pop(name) for name in ("networks", "sampler") if name in values}
    model = values.pop("model", {})
    if not isinstance(model, dict):
        raise ValueError("model should be a table of keys and values")
    return from_plain(Recipe, values | {"config": from_plain(ModelConfig, model | parts)})
