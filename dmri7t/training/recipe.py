"""Recipes: everything that decides a training, as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import ModelError

RECIPES = Path(__file__).parent / "recipes"
"""Recipes that ship with the package."""


@attrs.frozen
class Recipe:
    """What to train and how.

    Parameters
    ----------
    model : dict
        name, version, form ("residual" or "direct"), description.
    data : dict
        seeds, first_seed, validation_seeds, first_validation_seed of the simulated pool.
    networks : dict of dict
        Settings of each network's builder.
    sampler : dict
        scheduler, start, guidance, steps, samples, temperature.
    stages : dict of dict
        In the order of training: steps, batch, learning_rate and what else a stage takes.
    limits : dict, optional
        Narrower ranges than those of the training data within which the model is to be used,
        such as ``bval``: lowest and highest.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    networks: dict[str, dict[str, Any]]
    sampler: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    limits: dict[str, list[float]] = attrs.field(factory=dict)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its path, or by the name of one that ships.

    Raises
    ------
    ModelError
        If it is missing, no TOML, or has wrong parts.
    """
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{path.name.removesuffix('.toml')}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ModelError(f"{name}: no such recipe; those that ship: {known}. Or give a TOML file.")
    try:
        return Recipe(**tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise ModelError(f"{path}: not a usable recipe ({error}).") from error
