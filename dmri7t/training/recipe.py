"""Recipes: everything that decides a training, as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import ModelError
from dmri7t.models.config import ModelConfig
from dmri7t.models.plain import from_plain
from dmri7t.training.settings import DataSettings, Stages

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
        What the model is made of: the recipe's ``model``, ``networks`` and ``sampler``; and its
        ``limits``, narrower ranges than those of the training data within which it is to be used.
    data : DataSettings
    stages : Stages

    Raises
    ------
    ValueError
        If its parts do not go together.
    """

    config: ModelConfig
    data: DataSettings
    stages: Stages

    def __attrs_post_init__(self) -> None:
        networks, stages = tuple(self.config.networks), tuple(self.stages)
        if lacking := [name for name in networks if name not in stages]:
            raise ValueError(f"stages: {', '.join(lacking)} missing, of which there is a network")
        if others := [name for name in stages if name not in networks]:
            raise ValueError(f"stages: there is no network {', '.join(others)}")
        for i, name in enumerate(stages):
            start = self.stages[name].start_from
            if start is not None and not (start in stages[:i] and self._is_alike(start, name)):
                raise ValueError(
                    f"stages.{name}: start_from is {start}, should be a network that is trained "
                    "before and has the same layers"
                )

    def _is_alike(self, one: str, other: str) -> bool:
        """Whether two networks have the same weights, but for their values."""
        networks, channels = self.config.networks, self.config.channels
        return networks[one] == networks[other] and channels(one) == channels(other)


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
        shipped = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ModelError(
            f"{name}: no such recipe; those that ship: {shipped}. Or give a TOML file."
        )
    try:
        return _recipe(tomllib.loads(path.read_text()))
    except ValueError as error:
        raise ModelError(f"{path}: not a usable recipe: {error}; correct it.") from error


def _recipe(values: dict[str, Any]) -> Recipe:
    """Read a recipe's values; what a model is made of becomes its description."""
    if unknown := sorted(set(values) - set(TABLES)):
        raise ValueError(f"unknown table {', '.join(unknown)} (there are {', '.join(TABLES)})")
    model = values.get("model", {})
    if not isinstance(model, dict):
        raise ValueError("model should be a table of keys and values")
    parts = {name: values[name] for name in ("networks", "sampler") if name in values}
    config = from_plain(ModelConfig, model | parts | {"ranges": values.get("limits", {})})
    rest = {name: values[name] for name in ("data", "stages") if name in values}
    return from_plain(Recipe, rest | {"config": config})
