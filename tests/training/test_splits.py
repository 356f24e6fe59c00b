"""Folds and splits: everybody once, relatives together, the same again for the same seed."""

import pytest

from dmri7t.errors import InputError
from dmri7t.training.splits import folds, hold_out, split_subjects, strangers

LABELS = [f"{100000 + i}" for i in range(171)]
FAMILIES = {label: f"family{i // 3}" for i, label in enumerate(LABELS)}


def test_ten_folds_hold_everybody_once():
    parts = folds(LABELS, 10, seed=4)
    assert sorted(label for part in parts for label in part) == LABELS
    assert {len(part) for part in parts} == {17, 18}
    assert folds(reversed(LABELS), 10, seed=4) == parts != folds(LABELS, 10, seed=5)


def test_relatives_share_a_fold():
    parts = folds(LABELS, 10, families=FAMILIES)
    where = {label: i for i, part in enumerate(parts) for label in part}
    assert all(len({where[m] for m in LABELS[i : i + 3]}) == 1 for i in range(0, 171, 3))
    assert max(map(len, parts)) - min(map(len, parts)) <= 3


def test_too_few_families_for_the_folds():
    with pytest.raises(InputError, match="2 unrelated subjects cannot be parted into 3"):
        folds(["a", "b", "c"], 3, families={"a": "x", "b": "x"})


@pytest.mark.parametrize("families", [None, FAMILIES])
def test_a_fold_is_left_out_of_training_and_validation(families):
    split = split_subjects(LABELS, seed=2, families=families, fold="3/10")
    assert list(split.test) == folds(LABELS, 10, 2, families)[2]
    everybody = [*split.training, *split.validation, *split.test]
    assert sorted(everybody) == LABELS
    assert 15 <= len(split.validation) <= 17
    for part in (split.training, split.validation, split.test):
        rest = set(everybody) - set(part)
        assert not {FAMILIES[p] for p in part} & {FAMILIES[r] for r in rest} or families is None


@pytest.mark.parametrize("fold", ["0/10", "11/10", "3", "x/y"])
def test_a_fold_that_is_none(fold):
    with pytest.raises(InputError, match="write it as I/K"):
        split_subjects(LABELS, fold=fold)


def test_one_family_cannot_be_held_out():
    with pytest.raises(InputError, match="all of one family"):
        hold_out(["a", "b"], families={"a": "x", "b": "x"})


def test_a_subject_without_family_is_not_taken_for_one_of_that_name():
    assert sorted(map(len, folds(["a", "b", "c"], 2, families={"a": "c"}))) == [1, 2]
    assert strangers(["a", "b", "c"], ["b"], {"a": "b", "c": "b"}) == ["a", "c"]
