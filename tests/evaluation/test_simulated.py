"""Evaluation: what must come out is known where the estimate is the truth."""

from __future__ import annotations

import shutil

import attrs
import numpy as np
import pandas as pd
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.evaluation.case import metrics_of
from dmri7t.evaluation.chain import Estimate, hold_shell, interpolate_shell
from dmri7t.evaluation.measure import KEYS
from dmri7t.evaluation.methods import fit_linear, scale_linearly
from dmri7t.evaluation.simulated import case_of, draw_blocks
from dmri7t.evaluation.tables import markdown, summarize
from dmri7t.models.bundle import check_bundle
from dmri7t.simulation.subjects import HELD_OUT


@pytest.fixture(scope="module")
def case():
    return case_of(next(draw_blocks(HELD_OUT.take(1), "hcp", 20)), "one")


def test_the_truth_has_no_error(case):
    for name, value in metrics_of(case.truth, case).items():
        assert value == pytest.approx(0 if name.startswith("NMSE") else 1, abs=1e-5), name


def test_interpolation_of_a_quiet_scan_is_better_than_of_a_loud_one(case):
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * case.scan.b0_V.mean()
    noise = noise * torch.randn(case.scan.signal_NV.shape, generator=generator)
    loud = attrs.evolve(case.scan, signal_NV=(case.scan.signal_NV + noise).abs())
    quiet, noisy = (
        metrics_of(interpolate_shell(s, s.represent()), case) for s in (case.scan, loud)
    )
    for name in ("NMSE R2", "NMSE R4", "NMSE FA"):
        assert quiet[name] < noisy[name], name


def test_linear_scaling_finds_known_factors(case):
    """A truth that is the interpolated scan times a factor an order is found again."""
    shell = case.scan.represent()
    known = torch.tensor([0.9, 1.3, 0.6])
    made = attrs.evolve(case, truth=scale_linearly(case.scan, shell, known))
    found = fit_linear([made])
    assert found.tolist() == pytest.approx(known.tolist(), rel=1e-4)
    again = metrics_of(scale_linearly(case.scan, shell, found), made)
    assert again["NMSE R2"] < 1e-6 and again["NMSE FA"] < 1e-6


def test_an_order_that_one_side_lacks_is_not_compared(case):
    short = attrs.evolve(case, orders=2)
    metrics = metrics_of(short.truth, short)
    assert "NMSE R4" not in metrics and "NMSE FA" in metrics


PLAIN = ("interpolation", "interpolation, plain", "mppca", "filter", "linear")


def test_command_writes_tables_and_records_them(tiny_model, tmp_path, capsys):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    out = tmp_path / "out"
    command = f"evaluate {model} --output {out} --subjects 2 --size 20 --threads 1 --record"
    command += " --protocol hcp"
    main(command.split())
    rows = (out / "table.tsv").read_text().splitlines()
    assert rows[0].split("\t")[:6] == ["method", "map", "metric", "mean", "sd", "n"]
    forms = ("tiny", "tiny, B-spline", "tiny, weighed by the model", "tiny, sample", "tiny, held")
    for method in (*PLAIN, *forms):
        assert any(row.startswith(f"{method}\tR4\tNMSE") for row in rows), method
    printed = capsys.readouterr().out
    assert "| tiny |" in printed
    # the paper's own, at its protocol
    assert (
        "| diffusion | 0.105 ± 0.026 | 0.102 ± 0.017 | 0.158 ± 0.031 | 0.044 ± 0.008 |" in printed
    )
    subjects = pd.read_csv(out / "subjects.tsv", sep="\t")
    assert len(subjects) == 2 * 10 and subjects["subject"].nunique() == 2
    assert (out / "picture.png").stat().st_size > 20_000
    config = check_bundle(model)
    assert np.isfinite(config.metrics.nmse["tiny"]["FA"].mean)
    assert "| NMSE | R0 | R2 | R4 | FA |" in (model / "README.md").read_text()


def test_held_twice_is_held_once_and_the_scan_itself_stays(case):
    shell = case.scan.represent()
    plain = interpolate_shell(case.scan, shell)
    brighter = Estimate(1.44 * plain.rish_3V, 1.2 * plain.sh_CV)
    same, once = (hold_shell(made, case.scan, shell, 0.25) for made in (plain, brighter))
    twice = hold_shell(once, case.scan, shell, 0.25)
    near = {"rtol": 0, "atol": 1e-3 * float(plain.sh_CV.abs().max())}
    torch.testing.assert_close(same.sh_CV, plain.sh_CV, **near)
    torch.testing.assert_close(twice.sh_CV, once.sh_CV, **near)
    before, after = ((made.rish_3V - plain.rish_3V)[0].mean() for made in (brighter, once))
    assert after.abs() < 0.2 * before


def test_summary_is_mean_spread_and_median_over_subjects():
    """Two shells of a subject count as one."""
    who = dict(zip(KEYS, ("a", "b1000", "", "m"), strict=True))
    rows = [
        {**who, "NMSE R0": 1.0},
        {**who, "shell": "b2000", "NMSE R0": 2.0},
        {**who, "subject": "b", "NMSE R0": 3.5},
    ]
    table = summarize(pd.DataFrame(rows))
    row = table.iloc[0]
    assert (row["mean"], row["n"], row["map"], row["metric"]) == (2.5, 2, "R0", "NMSE")
    assert row["sd"] == pytest.approx(2**0.5) and row["median"] == 2.5
    assert "| m | 2.5000 ± 1.4142 |" in markdown(table, ["A note."])
