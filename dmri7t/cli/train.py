"""dmri7t-model train: a model by a recipe, on simulated pairs or on a lab's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.errors import InputError

if TYPE_CHECKING:
    from dmri7t.training.data import TrainingData
    from dmri7t.training.recipe import Recipe
    from dmri7t.training.team import Team


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command."""
    verb = verbs.add_parser("train", help="train a model by a recipe")
    verb.add_argument("recipe", help="a TOML file, or the name of a recipe that ships")
    verb.add_argument("out_model", type=Path)
    data = verb.add_argument_group("your own scans")
    data.add_argument(
        "--pairs", type=Path, help="BIDS data set with ses-3T and ses-7T, or HCP's folders"
    )
    data.add_argument(
        "--unpaired", type=Path, help="3T scans for the 3T VQ-VAE: BIDS, or HCP's folders"
    )
    data.add_argument(
        "--shells", type=float, nargs="+", default=[], help="b-values to use; default: all"
    )
    data.add_argument(
        "--participants",
        type=Path,
        help="table with Subject and Family_ID: relatives stay on one side of every split",
    )
    data.add_argument(
        "--fold", default="", metavar="I/K", help="leave the subjects of fold I of K out"
    )
    verb.add_argument("--pool", type=Path, help="folder for examples; kept and reused")
    verb.add_argument("--seed", type=int, default=0)
    add_machine(verb.add_argument_group("machine"))
    verb.set_defaults(run=run)


def add_machine(group: argparse._ArgumentGroup) -> None:
    """Add what decides where a training runs, and not what comes out of it."""
    group.add_argument(
        "--accelerator", choices=["cpu", "cuda"], help="default: cuda where torch sees it"
    )
    group.add_argument("--devices", type=int, default=1, help="processes of this machine")
    group.add_argument("--num-nodes", type=int, default=1, help="machines")
    group.add_argument("--threads", type=int, help="of torch, each process; default: all it may")
    group.add_argument(
        "--workers",
        type=int,
        help="processes that load examples for each; default: 4 with cuda, else 0",
    )


def run(args: argparse.Namespace) -> None:
    """Train every stage of a recipe."""
    from dmri7t.training.pool import load_simulated
    from dmri7t.training.recipe import read_recipe
    from dmri7t.training.team import assemble
    from dmri7t.training.train import Training

    own = ("unpaired", "shells", "participants", "fold")
    if not args.pairs and (given := [f"--{name}" for name in own if getattr(args, name)]):
        raise InputError(f"{given[0]}: goes with --pairs; add your own pairs, or leave it out.")
    recipe = read_recipe(args.recipe)
    team = assemble(args.accelerator, args.devices, args.num_nodes)
    if args.pairs:
        data = _own_data(args, recipe, team)
    else:
        data = load_simulated(recipe, _pool(args), team)
    training = Training(
        recipe,
        args.out_model,
        data,
        seed=args.seed,
        team=team,
        threads=args.threads,
        workers=args.workers,
    )
    out = training.run()
    if team.leads:
        print(f"model written to {out}")


def _pool(args: argparse.Namespace, kind: str = "") -> Path:
    """Folder of examples: the one that was asked for, or one within the model's."""
    if args.pool:
        return args.pool / kind
    return args.out_model / "training" / f"pool{kind and '-'}{kind}"


def _own_data(args: argparse.Namespace, recipe: Recipe, team: Team) -> TrainingData:
    """Examples of a lab's own scans."""
    from dmri7t.io.families import read_families
    from dmri7t.training.pairs import Cutting, load_pairs, load_unpaired

    families = read_families(args.participants) if args.participants else None
    sizes = recipe.data
    cutting = Cutting(tuple(args.shells), sizes.patch, sizes.patches, args.seed)
    data = load_pairs(args.pairs, _pool(args, "pairs"), cutting, families, args.fold, team)
    if not args.unpaired:
        return data
    assert data.split is not None, "pairs without a split"
    pool = _pool(args, "unpaired")
    paths, labels = load_unpaired(args.unpaired, pool, cutting, data.split, families, team)
    return data.with_unpaired(paths, labels)
