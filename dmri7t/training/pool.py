"""A pool of simulated training examples on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from dmri7t.files import is_part
from dmri7t.models.fitted import SIMULATED
from dmri7t.progress import track
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.subjects import TRAINING, VALIDATION
from dmri7t.training.data import TrainingData
from dmri7t.training.example import TrainingExample
from dmri7t.training.recipe import Recipe
from dmri7t.training.team import Team

SCANS_PER_BLOCK = 2
"""Measurements of one rendered block."""


def fill_pool(folder: Path, seeds: Iterable[int], name: str = "") -> None:
    """Simulate examples until the folder has those of every seed; present ones are kept.

    Parameters
    ----------
    folder : Path
    seeds : iterable of int
    name : str
        Of what is shown while it takes long; nothing is shown without.
    """
    threads = torch.get_num_threads()
    # small blocks gain nothing of more
    torch.set_num_threads(1)
    try:
        last = f"-{SCANS_PER_BLOCK - 1}.npz"
        missing = [seed for seed in seeds if not (folder / f"{seed:07d}{last}").exists()]
        shown = track(missing, name, len(missing), passing=True) if name else missing
        for seed in shown:
            for scan, patch in enumerate(draw_patches(seed, n_scans=SCANS_PER_BLOCK)):
                example = TrainingExample.from_patch(patch)
                example.save(folder / f"{seed:07d}-{scan}.npz")
    finally:
        torch.set_num_threads(threads)


def pool_paths(folder: Path, seeds: range) -> list[Path]:
    """Files of the examples of some seeds, in order."""
    paths = sorted(p for p in folder.glob("*.npz") if not is_part(p))
    return [p for p in paths if int(p.name.split("-")[0]) in seeds]


def simulated_paths(recipe: Recipe, pool: Path, count: int, team: Team | None = None) -> list[Path]:
    """Simulate so many examples, to be mixed with others; no more blocks than the recipe names.

    Parameters
    ----------
    recipe : Recipe
    pool : Path
    count : int
    team : Team, optional
        Each process simulates its share.

    Raises
    ------
    InputError
        If the recipe asks for subjects that serve another use.
    """
    data, team = recipe.data, team or Team()
    blocks = min(data.seeds, -(-count // SCANS_PER_BLOCK))
    seeds = TRAINING.take_from(data.first_seed, blocks)
    fill_pool(pool, team.share(seeds), "simulate: blocks" if team.leads else "")
    team.wait()
    return pool_paths(pool, seeds)


def load_simulated(recipe: Recipe, pool: Path, team: Team | None = None) -> TrainingData:
    """Simulate what is missing from the pool; return examples for training and validation.

    Parameters
    ----------
    recipe : Recipe
        Says which seeds.
    pool : Path
    team : Team, optional
        Each process simulates its share.

    Raises
    ------
    InputError
        If the recipe asks for subjects that serve another use.
    """
    data, team = recipe.data, team or Team()
    ranges = [
        TRAINING.take_from(data.first_seed, data.seeds),
        VALIDATION.take_from(data.first_validation_seed, data.validation_seeds),
    ]
    for seeds, name in zip(ranges, ("training", "validation"), strict=True):
        # others of a team do alike
        fill_pool(pool, team.share(seeds), f"simulate: {name}" if team.leads else "")
    team.wait()
    training, validation = (pool_paths(pool, seeds) for seeds in ranges)
    return TrainingData(training, validation, SIMULATED)
