"""Evaluation: what must come out is known where the estimate is the truth."""

from __future__ import annotations

import shutil

import attrs
import numpy as np
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.evaluation.chain import interpolate_shell
from dmri7t.evaluation.simulated import figures_of, scan_of, summarize, truth_of
from dmri7t.evaluation.simulated import test_subjects as draw_subjects
from dmri7t.models.bundle import check_bundle


@pytest.fixture(scope="module")
def patch():
    return next(draw_subjects(1, 0, "hcp", 20))


def test_the_truth_has_no_error(patch):
    truth = truth_of(patch)
    figures = figures_of(truth, truth, scan_of(patch))
    for name, value in figures.items():
        assert value == pytest.approx(0 if name.startswith("NMSE") else 1, abs=1e-5), name


def test_interpolation_of_a_quiet_scan_is_better_than_of_a_loud_one(patch):
    scan = scan_of(patch)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * scan.b0_V.mean() * torch.randn(scan.signal_NV.shape, generator=generator)
    loud = attrs.evolve(scan, signal_NV=(scan.signal_NV + noise).abs())
    truth = truth_of(patch)
    quiet, noisy = (
        figures_of(interpolate_shell(s, s.represent()), truth, scan) for s in (scan, loud)
    )
    for name in ("NMSE R2", "NMSE R4", "NMSE FA"):
        assert quiet[name] < noisy[name], name


def test_test_subjects_are_none_of_the_training(patch):
    from dmri7t.evaluation.simulated import FIRST_TEST_SEED
    from dmri7t.training.recipe import read_recipe

    for name in ("default", "zhu2024"):
        data = read_recipe(name).data
        for kind in ("", "validation_"):
            assert data[f"first_{kind}seed"] + data[f"{kind}seeds"] <= FIRST_TEST_SEED


def test_command_writes_tables_and_records_them(tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    main(
        [
            "evaluate",
            str(model),
            "--output",
            str(tmp_path / "out"),
            "--subjects",
            "2",
            "--size",
            "20",
            "--samples",
            "1",
            "--threads",
            "1",
            "--record",
        ]
    )
    rows = (tmp_path / "out/table.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["method", "map", "metric", "mean", "sd", "n"]
    assert any(row.startswith("interpolation\tR4\tNMSE") for row in rows)
    config = check_bundle(model)
    assert np.isfinite(config["figures"]["nmse"]["tiny"]["FA"]["mean"])
    assert "| NMSE | R0 | R2 | R4 | FA |" in (model / "README.md").read_text()


def test_summary_is_mean_and_spread():
    import pandas as pd

    table = pd.DataFrame({"subject": [0, 1], "method": ["a", "a"], "NMSE R0": [1.0, 3.0]})
    row = summarize(table).iloc[0]
    assert (row["mean"], row["n"], row["map"], row["metric"]) == (2.0, 2, "R0", "NMSE")
    assert row["sd"] == pytest.approx(2**0.5)
