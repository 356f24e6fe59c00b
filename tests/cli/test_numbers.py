"""Numbers that cannot be are one line, before anything is computed or written."""

from __future__ import annotations

import pytest

from dmri7t.cli.app import parse
from dmri7t.cli.model import build_parser

WRONG = {
    "simulate out --subjects 0": "--subjects: 0: must be 1 or more",
    "simulate out --voxel-size 0": "--voxel-size: 0: must be above 0",
    "simulate out --voxel-size-7t nan": "--voxel-size-7t: nan: must be above 0",
    "simulate out --shells 1000 -5": "--shells: -5: must be above 0",
    "simulate out --snr inf": "--snr: inf: must be above 0",
    "simulate out --b0s none": "--b0s: 'none' is no whole number",
    "simulate out --seed -1": "--seed: -1: must be 0 or more",
    "evaluate model --output out --subjects 0": "--subjects: 0: must be 1 or more",
    "evaluate model --output out --noise-factor much": "--noise-factor: 'much' is no number",
    "evaluate model --output out --folds -1": "--folds: -1: must be 0 or more",
    "compare in --output out --threads 0": "--threads: 0: must be 1 or more",
    "calibrate model --check-subjects 0": "--check-subjects: 0: must be 1 or more",
    "train default out --devices 0": "--devices: 0: must be 1 or more",
    "train default out --workers -1": "--workers: -1: must be 0 or more",
}


@pytest.mark.parametrize("words", WRONG)
def test_numbers_of_a_verb_that_cannot_be_are_one_line(words, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1 and WRONG[words] in said


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--nprocs many", "'many' is no whole number"),
        ("--energy 2", "--energy: 2: must lie between 0 (off) and 1"),
        ("--random-seed 9223372036854775808", "must be below 2 to the 63rd"),
    ],
)
def test_numbers_of_a_run_that_cannot_be_are_one_line(words, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["in", "out", "participant", *words.split()])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1 and wrong in said
