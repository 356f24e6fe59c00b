"""dmri7t-model train: a model by a recipe, on simulated pairs or on a lab's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.hints import add_verb
from dmri7t.cli.numbers import above_zero, count, seed, whole
from dmri7t.errors import InputError

if TYPE_CHECKING:
    from dmri7t.training.data import TrainingData
    from dmri7t.training.recipe import Recipe
    from dmri7t.training.team import Team


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs,
        "train",
        "train a model by a recipe",
        "dmri7t-model train default my_model --pool pool",
        "dmri7t-model train default my_model --pairs study --participants study/participants.tsv",
        "dmri7t-model train default my_model --pool pool --accelerator cuda --devices 4",
    )
    verb.add_argument("recipe", help="a TOML file, or the name of a recipe that ships")
    verb.add_argument("out_model", type=Path, help="folder of the model that is written")
    data = verb.add_argument_group("your own scans")
    data.add_argument(
        "--pairs", type=Path, help="BIDS data set with ses-3T and ses-7T, or HCP's folders"
    )
    data.add_argument(
        "--scans",
        type=Path,
        help="3T scans alone, any input that dmri7t takes: some directions teach the others",
    )
    data.add_argument(
        "--start", help="with --scans: model whose weights it starts from, by name or folder"
    )
    data.add_argument(
        "--unpaired", type=Path, help="3T scans for the 3T VQ-VAE: BIDS, or HCP's folders"
    )
    data.add_argument(
        "--shells", type=above_zero, nargs="+", default=[], help="b-values to use; default: all"
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
    verb.add_argument("--seed", type=seed, default=0, help="of weights and draws")
    add_machine(verb.add_argument_group("machine"))
    verb.set_defaults(run=run)


def add_machine(group: argparse._ArgumentGroup) -> None:
    """Add what decides where a training runs, and not what comes out of it."""
    group.add_argument(
        "--accelerator", choices=["cpu", "cuda"], help="default: cuda where torch sees it"
    )
    group.add_argument("--devices", type=count, default=1, help="processes of this machine")
    group.add_argument("--num-nodes", type=count, default=1, help="machines")
    group.add_argument("--threads", type=count, help="of torch, each process; default: all it may")
    group.add_argument(
        "--workers",
        type=whole,
        help="processes that load examples for each; default: 4 with cuda, else 0",
    )


def run(args: argparse.Namespace) -> None:
    """Train every stage of a recipe."""
    from dmri7t.models.bundle import resolve_model
    from dmri7t.training.pool import load_simulated
    from dmri7t.training.recipe import read_recipe
    from dmri7t.training.team import assemble
    from dmri7t.training.train import Training

    _check(args)
    recipe = read_recipe(args.recipe)
    team = assemble(args.accelerator, args.devices, args.num_nodes)
    if args.pairs:
        data = _own_data(args, recipe, team)
    elif args.scans:
        data = _own_scans(args, recipe, team)
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
        start=resolve_model(args.start) if args.start else None,
    )
    out = training.run()
    if team.leads:
        print(f"model written to {out}")


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    own = ("shells", "participants", "fold")
    either = args.pairs or args.scans
    if not either and (given := [f"--{name}" for name in own if getattr(args, name)]):
        raise InputError(
            f"{given[0]}: goes with --pairs or --scans; add your own scans, or leave it out."
        )
    if args.unpaired and not args.pairs:
        raise InputError("--unpaired: goes with --pairs; add your own pairs, or leave it out.")
    if args.start and not args.scans:
        raise InputError("--start: goes with --scans; add 3T scans to learn from, or leave it out.")
    if args.pairs and args.scans:
        raise InputError("--scans: goes without --pairs; give one of them.")


def _own_scans(args: argparse.Namespace, recipe: Recipe, team: Team) -> TrainingData:
    """Examples of single 3T scans, and simulated ones among them."""
    from dmri7t.io.families import read_families
    from dmri7t.simulation.patches import PATCH
    from dmri7t.training.pairs import Cutting
    from dmri7t.training.pool import simulated_paths
    from dmri7t.training.scans import load_scans, mix, simulated_count
    from dmri7t.training.settings import SIMULATED_PART

    families = read_families(args.participants) if args.participants else None
    sizes = recipe.data
    part = SIMULATED_PART if sizes.simulated_part is None else sizes.simulated_part
    if part and sizes.patch != PATCH:
        raise InputError(
            f"recipe {recipe.config.name}: patch is {sizes.patch} and simulated blocks have "
            f"{PATCH}; set patch = {PATCH}, or simulated_part = 0 for scans alone."
        )
    cutting = Cutting(tuple(args.shells), sizes.patch, sizes.patches, args.seed)
    data = load_scans(args.scans, _pool(args, "scans"), cutting, families, args.fold, team)
    count = simulated_count(len(data.training), part)
    simulated = simulated_paths(recipe, _pool(args, "simulated"), count, team) if count else []
    return mix(data, simulated, part)


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
