"""Which subjects a model learns from, is watched on, and is tested on; relatives stay together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dmri7t.errors import InputError
from dmri7t.models.fitted import SplitRecord

HELD_OUT = 0.1
"""Share of subjects that are kept for validation, one at least."""


def folds(
    labels: Iterable[str], k: int, seed: int = 0, families: Mapping[str, str] | None = None
) -> list[list[str]]:
    """Part subjects into ``k`` folds of nearly the same size.

    Families are dealt out in a random order, the largest first, each to the smallest fold.

    Parameters
    ----------
    labels : iterable of str
        Subjects; their order does not matter.
    k : int
    seed : int
        Of the order.
    families : mapping of subject to family, optional
        A subject that it lacks is a family of its own.

    Returns
    -------
    list of list of str
        Sorted labels of each fold.

    Raises
    ------
    InputError
        If there are fewer families than folds, or fewer than two folds.

    Examples
    --------
    >>> [len(fold) for fold in folds([f"s{i:03d}" for i in range(171)], 10)]
    [18, 17, 17, 17, 17, 17, 17, 17, 17, 17]
    >>> sorted(folds(["a", "b", "c"], 2, families={"a": "x", "b": "x"}))
    [['a', 'b'], ['c']]
    """
    groups = _families(labels, seed, families)
    if not 2 <= k <= len(groups):
        raise InputError(
            f"{len(groups)} unrelated subjects cannot be parted into {k} folds; "
            f"ask for 2 to {len(groups)} folds, or give more subjects."
        )
    parts: list[list[str]] = [[] for _ in range(k)]
    for group in sorted(groups, key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [sorted(part) for part in parts]


def hold_out(
    labels: Iterable[str],
    share: float = HELD_OUT,
    seed: int = 0,
    families: Mapping[str, str] | None = None,
) -> list[str]:
    """Choose whole families until ``share`` of the subjects, one at least, are chosen.

    Parameters
    ----------
    labels : iterable of str
    share : float
    seed : int
    families : mapping of subject to family, optional

    Raises
    ------
    InputError
        If nobody would be left.

    Examples
    --------
    >>> len(hold_out([f"s{i}" for i in range(20)]))
    2
    """
    labels = list(labels)
    wanted = max(1, round(share * len(labels)))
    chosen: list[str] = []
    # small families first: a large one would take too many
    for group in sorted(_families(labels, seed, families), key=len):
        if len(chosen) < wanted:
            chosen += group
    if len(chosen) == len(labels):
        raise InputError(
            f"{len(labels)} subjects are all of one family, so none is left to train on when one "
            "is kept for validation; training needs two unrelated subjects at least."
        )
    return sorted(chosen)


def _families(
    labels: Iterable[str], seed: int, families: Mapping[str, str] | None
) -> list[list[str]]:
    """Subjects by family, the families in random order."""
    groups: dict[tuple[str, str], list[str]] = {}
    for label in sorted(labels):
        # a family's name may be that of a subject without one
        own = ("family", families[label]) if families and label in families else ("self", label)
        groups.setdefault(own, []).append(label)
    ordered = list(groups.values())
    return [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]


def split_subjects(
    labels: Iterable[str],
    seed: int = 0,
    families: Mapping[str, str] | None = None,
    fold: str = "",
) -> SplitRecord:
    """Part the subjects of a data set.

    Parameters
    ----------
    labels : iterable of str
    seed : int
    families : mapping of subject to family, optional
    fold : str
        "I/K": the subjects of fold I (from 1) of K are left out for testing.

    Raises
    ------
    InputError
        If the fold is none, or too few subjects are left.

    Examples
    --------
    >>> split = split_subjects([f"s{i}" for i in range(20)], fold="2/10")
    >>> len(split.training), len(split.validation), len(split.test)
    (16, 2, 2)
    """
    labels = sorted(labels)
    test = _fold(labels, fold, seed, families) if fold else []
    rest = [label for label in labels if label not in test]
    held = hold_out(rest, seed=seed, families=families)
    training = tuple(label for label in rest if label not in held)
    return SplitRecord(
        training=training, validation=tuple(held), test=tuple(test), seed=seed, fold=fold
    )


def _fold(labels: list[str], fold: str, seed: int, families: Mapping[str, str] | None) -> list[str]:
    index, _, count = fold.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise InputError(f"fold {fold}: write it as I/K, such as 3/10 for the third of ten folds.")
    return folds(labels, int(count), seed, families)[int(index) - 1]


def strangers(
    labels: Iterable[str], to: Iterable[str], families: Mapping[str, str] | None = None
) -> list[str]:
    """Return the subjects that are neither among some others nor related to them.

    Examples
    --------
    >>> strangers(["a", "b", "c"], ["b"], {"b": "x", "c": "x"})
    ['a']
    """
    families = families or {}
    others = set(to)
    related = {families[label] for label in others if label in families}
    return [
        label
        for label in sorted(labels)
        if label not in others and families.get(label) not in related
    ]
