"""Pairs: known truths, folds that a model is trained for, subjects that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pandas as pd
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.errors import ModelError
from dmri7t.evaluation.case import metrics_of
from dmri7t.evaluation.chain import interpolate_shell
from dmri7t.evaluation.methods import all_methods
from dmri7t.evaluation.paired import paired_cases, paired_labels
from dmri7t.io.source import open_dataset
from dmri7t.models.bundle import check_bundle, write_bundle
from dmri7t.models.fitted import TrainingRecord
from dmri7t.models.translator import Translator

RECIPE = """
[model]
name = "little"
version = "1"
form = "regression"
sees = "rish"
description = "A tiny regression for tests."
[data]
seeds = 1
first_seed = 0
validation_seeds = 1
first_validation_seed = 1000000
patch = 12
patches = 3
[networks.mean]
kind = "residual"
width = 8
blocks = 1
limit = 2.0
[stages.mean]
steps = 3
batch = 2
learning_rate = 1e-3
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "pairs"
    command = "--subjects 5 --voxel-size 6 --voxel-size-7t 5 --directions 16 --b0s 2"
    main(["simulate", str(root), *command.split()])
    return root


def test_the_seven_tesla_scan_itself_has_no_error(pairs):
    source = open_dataset(pairs)
    assert len(paired_labels(source)) == 5
    case = next(paired_cases(source, source.labels[:1]))
    assert metrics_of(case.truth, case)["NMSE R2"] == pytest.approx(0, abs=1e-9)
    plain = metrics_of(interpolate_shell(case.scan, case.scan.represent()), case)
    assert 0 < plain["NMSE R0"] < 0.5 and plain["SSIM R0"] > 0.7


def test_scans_of_one_field_are_no_pairs_and_no_time_is_spent_on_them(pairs, tmp_path, capsys):
    shutil.copytree(pairs, tmp_path / "in", ignore=shutil.ignore_patterns("ses-7T"))
    words = ["default", "--pairs", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *words])
    said = capsys.readouterr()
    assert ended.value.code == 2 and not said.out
    assert "in: no subject with both a 3T and a 7T scan" in said.err


def test_recipes_are_trained_for_every_fold_and_tested_on_others(pairs, tmp_path):
    recipe = tmp_path / "little.toml"
    recipe.write_text(RECIPE)
    families = tmp_path / "families.csv"
    labels = open_dataset(pairs).labels
    lines = [f"{label},{name}" for label, name in zip(labels, "aabcd", strict=True)]
    families.write_text("Subject,Family_ID\n" + "\n".join(lines) + "\n")
    out = tmp_path / "out"
    command = f"evaluate {recipe} --pairs {pairs} --folds 2 --output {out} --threads 1"
    main([*command.split(), "--participants", str(families)])
    subjects = pd.read_csv(out / "subjects.tsv", sep="\t", dtype={"subject": str})
    assert sorted(subjects["subject"].unique()) == sorted(labels)
    assert set(subjects["method"]) == {
        "interpolation",
        "interpolation, plain",
        "mppca",
        "filter",
        "linear",
        "little",
        "little, weighed by the model",
    }
    splits = json.loads((out / "splits.json").read_text())["folds"]
    for number, split in enumerate(splits, start=1):
        model = check_bundle(out / "models" / f"fold-{number}" / "little")
        assert not set(model.training.subjects) & set(split["test"])
        assert (labels[0] in split["test"]) == (labels[1] in split["test"])
    assert (out / "picture.png").exists()


def test_a_model_is_not_tested_on_whom_it_knows(pairs, tiny_model, tmp_path, capsys):
    label = open_dataset(pairs).labels[0]
    knowing = shutil.copytree(tiny_model, tmp_path / "knowing")
    training = TrainingRecord(source="pairs of pairs", subjects=(label,))
    write_bundle(knowing, attrs.evolve(check_bundle(knowing), training=training))
    command = f"evaluate {knowing} --pairs {pairs} --output {tmp_path / 'out'} --threads 1"
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert f"was trained on {label}" in capsys.readouterr().err


def test_a_recipe_without_folds_is_refused(pairs, tmp_path, capsys):
    recipe = tmp_path / "little.toml"
    recipe.write_text(RECIPE)
    with pytest.raises(SystemExit):
        main(f"evaluate {recipe} --pairs {pairs} --output {tmp_path / 'out'}".split())
    assert "add --folds" in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(tiny_model):
    twice = [Translator.load(tiny_model, precision="float32")] * 2
    with pytest.raises(ModelError, match="name of its own"):
        all_methods(twice, torch.ones(3))
