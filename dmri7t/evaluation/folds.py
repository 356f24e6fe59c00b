"""Subjects of pairs take turns at being tested, by models that were trained on the others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import attrs

from dmri7t.errors import InputError, ModelError
from dmri7t.files import write_whole
from dmri7t.models.bundle import resolve_model
from dmri7t.models.fitted import SplitRecord
from dmri7t.models.translator import Translator
from dmri7t.progress import note
from dmri7t.training.pairs import Cutting, load_pairs
from dmri7t.training.recipe import read_recipe
from dmri7t.training.splits import split_subjects
from dmri7t.training.train import Training


def refuse_known(translator: Translator, labels: Iterable[str], root: Path) -> None:
    """Refuse to test a model on subjects that it, or what it started from, was trained on.

    Raises
    ------
    ModelError
        Names the model and the subjects.
    """
    name, training = translator.config.name, translator.config.training
    tested = set(labels)
    _refuse(name, training.source, tested & set(training.learned), root)
    start = training.start
    while start is not None:
        _refuse(name, start.source, tested & set(start.subjects), root)
        start = start.start


def _refuse(name: str, source: str, shared: set[str], root: Path) -> None:
    if not shared:
        return
    if not source.endswith(f" {root.resolve().name}"):
        # labels such as 01 stand for others in another data set; a copy under a new name does not
        note(
            f"[evaluate] {name}: was trained on {source}, which has {len(shared)} labels in common "
            f"with {root}; if these are the same people, its metrics here mean nothing"
        )
    else:
        few, rest = ", ".join(sorted(shared)[:5]), len(shared) - 5
        few += f" and {rest} more" if rest > 0 else ""
        raise ModelError(
            f"{name}: was trained on {few} of {root}; test it on others, or "
            "give its recipe with --folds, which trains one model a fold."
        )


@attrs.frozen(eq=False)
class CrossValidation:
    """How the subjects of a data set of pairs take turns at being tested.

    Parameters
    ----------
    root : Path
        The data set.
    out : Path
        For the list of who is in which fold, and the models that are trained for each.
    k : int
        Number of folds; below 2, nobody is trained on and all are tested.
    seed : int
        Of the folds, and of what is trained.
    families : dict, optional
        Family by subject; relatives stay together.
    shells : tuple of float
        b-values to use; empty: all.
    """

    root: Path
    out: Path
    k: int = 0
    seed: int = 0
    families: dict[str, str] | None = None
    shells: tuple[float, ...] = ()

    def split(self, labels: list[str]) -> list[SplitRecord]:
        """Part subjects into folds, and store who is in which as JSON."""
        if self.k < 2:
            everybody = tuple(sorted(labels))
            splits = [SplitRecord(training=(), validation=(), test=everybody, seed=self.seed)]
        else:
            splits = [
                split_subjects(labels, self.seed, self.families, f"{i}/{self.k}")
                for i in range(1, self.k + 1)
            ]
        record = {"seed": self.seed, "folds": [attrs.asdict(split) for split in splits]}
        write_whole(self.out / "splits.json", json.dumps(record, indent=2) + "\n")
        return splits

    def model(self, name: str, split: SplitRecord) -> Translator:
        """Load a model, or train a recipe on a fold's training subjects.

        What is trained already is kept.

        Parameters
        ----------
        name : str
            A model's name or folder, or a recipe (ending in .toml).
        split : SplitRecord

        Raises
        ------
        InputError
            If there are no folds that a recipe could be trained for.
        ModelError
            If a model knows a subject whom it is to be tested on.
        """
        if not name.endswith(".toml"):
            translator = Translator.load(resolve_model(name))
            refuse_known(translator, split.test, self.root)
            return translator
        if not split.fold:
            raise InputError(f"{name}: a recipe is trained for each fold; add --folds K.")
        recipe = read_recipe(name)
        folder = self.out / "models" / f"fold-{split.fold.split('/')[0]}"
        out = folder / recipe.config.name
        if not (out / "config.json").exists():
            cutting = Cutting(self.shells, recipe.data.patch, recipe.data.patches, self.seed)
            data = load_pairs(self.root, folder / "pool", cutting, self.families, split.fold)
            Training(recipe, out, data, seed=self.seed).run()
        return Translator.load(out)
