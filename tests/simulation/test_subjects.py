"""Seeds of simulated subjects: no subject serves two uses, and nobody is given another's."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from dmri7t.cli.model import main
from dmri7t.errors import InputError
from dmri7t.simulation import subjects
from dmri7t.simulation.subjects import RANGES, TRAINING, VALIDATION, Subjects, dataset_heads
from dmri7t.training.pool import load_simulated
from dmri7t.training.recipe import RECIPES, read_recipe


def test_ranges_are_disjoint_and_all_of_them_are_in_the_table():
    assert all(first.stop <= second.first for first, second in pairwise(RANGES))
    assert all(part.size > 0 for part in RANGES)
    assert len({part.use for part in RANGES}) == len(RANGES)
    assert [v for v in vars(subjects).values() if isinstance(v, Subjects)] == list(RANGES)


@pytest.mark.parametrize("part", RANGES, ids=lambda part: part.use)
def test_a_range_is_given_to_its_end_and_not_beyond(part):
    assert part.take(part.size) == range(part.first, part.stop)
    assert part.take(2, part.size - 2) == range(part.stop - 2, part.stop)
    for n, skip in ((part.size + 1, 0), (2, part.size - 1), (1, -1)):
        with pytest.raises(InputError, match=part.use) as refused:
            part.take(n, skip)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_that_ship_keep_to_their_ranges(path):
    data = read_recipe(path).data
    assert TRAINING.take_from(data.first_seed, data.seeds)
    assert VALIDATION.take_from(data.first_validation_seed, data.validation_seeds)


@pytest.mark.parametrize("key", ["seeds", "first_seed", "validation_seeds"])
def test_a_recipe_that_asks_for_others_subjects_is_refused(key, tmp_path):
    recipe = read_recipe("default")
    recipe = attrs.evolve(recipe, data=attrs.evolve(recipe.data, **{key: 1_000_001}))
    with pytest.raises(InputError, match="simulated subjects for (training|validation)"):
        load_simulated(recipe, tmp_path / "pool")
    assert not (tmp_path / "pool").exists()


def test_every_seed_of_data_sets_gives_heads_of_its_own():
    ranges = [dataset_heads(seed) for seed in range(3)]
    assert all(first.stop == second.first for first, second in pairwise(ranges))
    with pytest.raises(InputError, match="negative"):
        dataset_heads(-1)


@pytest.mark.parametrize(
    "command",
    [
        "evaluate default --subjects 1000001 --output OUT",
        "evaluate default --seed 1000000 --output OUT",
        "calibrate default --subjects 50001",
        "calibrate default --check-subjects 60001",
        "calibrate default --share-subjects 50001",
        "calibrate default --novelty-subjects 1000001",
        "compare BIDS --subjects 1000001 --output OUT",
        "simulate OUT --subjects 1001",
    ],
)
def test_commands_refuse_more_subjects_than_there_are(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "simulated subjects for" in line and "ask for fewer" in line
    assert not list(tmp_path.iterdir())
