"""Intervals: known errors are found again, and coverage is what it says."""

from __future__ import annotations

import shutil

import attrs
import numpy as np
import pytest
import torch

from dmri7t.calibration.uncertainty import (
    Sample,
    cone_coverage,
    coverage_table,
    fit_direction,
    fit_intervals,
    plot_coverage,
)
from dmri7t.cli.model import main
from dmri7t.models.bundle import check_bundle
from dmri7t.models.fitted import Intervals
from dmri7t.models.translator import Translator
from dmri7t.models.uncertainty import anisotropy_sd, rish_sd, root_sd, terms
from dmri7t.signal.describe import Description
from dmri7t.signal.harmonics import basis_matrix, synthesize
from dmri7t.signal.rish import rish
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy

DESCRIBED = Description([1.6] * 3, 1000, 30, 0.05, 1.0, [0.0] * 3)

SCALE = torch.tensor([1.0, 0.3, 0.1])


def known_samples(n: int, seed: int, weights: list[float]) -> list[Sample]:
    """Subjects whose errors have the variance that these weights of the terms give."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        found = torch.from_numpy(rng.uniform(0.0, 0.05, (5, 3, 3000))).float()
        found[0] = 1.0
        root = torch.from_numpy(rng.uniform(1.0, 2.0, (3, 3000))).float()
        sd = torch.einsum("k,kln->ln", torch.tensor(weights), found).sqrt()
        truth = root + sd * torch.from_numpy(rng.normal(size=(3, 3000))).float()
        fa = torch.from_numpy(rng.uniform(0.1, 0.8, 3000)).float()
        out.append(Sample(found, root, truth, fa, fa + 0.02 * torch.randn(3000), DESCRIBED, {}))
    return out


def test_known_weights_are_found_and_other_subjects_are_covered():
    weights = [0.0005, 0.3, 0.2, 0.0, 0.1]
    fitted = fit_intervals(known_samples(6, 0, weights), SCALE)
    for row in fitted.weights:
        assert row == pytest.approx(weights, abs=0.06)
    table = coverage_table(known_samples(6, 1, weights), fitted, SCALE).set_index("map")
    at_90 = table[np.isclose(table["nominal"], 0.9)]["observed"]
    assert ((at_90 > 0.87) & (at_90 < 0.93)).all(), at_90
    at_50 = table[np.isclose(table["nominal"], 0.5)]["observed"]
    assert at_50[["R0", "R2", "R4"]].to_numpy() == pytest.approx(0.5, abs=0.04)


def test_too_narrow_intervals_are_seen():
    samples = known_samples(3, 2, [0.001, 0.0, 0.0, 0.0, 0.0])
    narrow = Intervals(weights=((0.0001, 0.0, 0.0, 0.0, 0.0),) * 3, fa_factor=1.0, subjects=3)
    table = coverage_table(samples, narrow, SCALE)
    row = table[(table["map"] == "R2") & np.isclose(table["nominal"], 0.9)]
    assert float(row["observed"].iloc[0]) < 0.5


def fibres(n: int, seed: int, weights: list[float]) -> list[Sample]:
    """Subjects of single fibres, whose order 2 is off by what these weights of the terms give."""
    rng = np.random.default_rng(seed)
    out = []
    for sample in known_samples(n, seed, weights):
        directions_N3 = rng.normal(size=(len(sample.fa), 3))
        directions_N3 /= np.linalg.norm(directions_N3, axis=1, keepdims=True)
        # order 2 of a narrow fibre is that of a point, times its strength
        point_5V = torch.from_numpy(-basis_matrix(directions_N3, 2)[:, 1:].T).float()
        truth_5V = point_5V * sample.truth[1] / point_5V.norm(dim=0)
        sd_V = (torch.tensor(weights) @ sample.terms[:, 1] / 5).sqrt()
        error_5V = sd_V * torch.from_numpy(rng.normal(size=(5, len(sd_V)))).float()
        out.append(attrs.evolve(sample, order2=truth_5V + error_5V, order2_truth=truth_5V))
    return out


def test_cones_hold_the_directions_of_other_subjects():
    weights = [0.02, 0.3, 1.0, 0.0, 0.5]
    direction = fit_direction(fibres(6, 0, weights))
    assert sum(direction[1:]) == pytest.approx(sum(weights[1:]), rel=0.2)
    assert cone_coverage(fibres(6, 1, weights), direction) == pytest.approx(0.95, abs=0.01)
    twice = [4 * w for w in weights]
    assert cone_coverage(fibres(6, 1, twice), direction) < 0.7


def test_without_order_2_there_are_no_cones():
    assert fit_direction(known_samples(2, 0, [0.001, 0.0, 0.0, 0.0, 0.0])) is None


def test_the_plot_is_drawn(tmp_path):
    samples = known_samples(2, 3, [0.001, 0.0, 0.0, 0.0, 0.0])
    fitted = fit_intervals(samples, SCALE)
    plot_coverage(coverage_table(samples, fitted, SCALE), tmp_path / "coverage.png")
    assert (tmp_path / "coverage.png").stat().st_size > 5000


def test_no_detail_in_a_uniform_image():
    inside = torch.zeros(9, 9, 9, dtype=torch.bool)
    inside[2:7, 2:7, 2:7] = True
    root = 2.0 * inside.expand(3, 9, 9, 9).float()
    found = terms(root, torch.zeros_like(root), torch.zeros_like(root), inside)
    assert found[4][:, inside].abs().max() < 1e-9
    sd = root_sd(found, [[0, 0, 0, 0.25, 1.0]] * 3)
    assert sd[:, inside].numpy() == pytest.approx(1.0)


def test_interval_of_the_square_reaches_what_the_roots_interval_does():
    root, sd = torch.tensor([0.1]), torch.tensor([1.0])
    assert float(1.6449 * rish_sd(root, sd)) == pytest.approx((0.1 + 1.6449) ** 2 / 2, rel=1e-4)


@pytest.mark.parametrize("order", [0, 2])
def test_spread_of_anisotropy_is_its_derivative(order):
    """Scale one order of a single-fibre signal a little, and see how far FA goes."""
    from dmri7t.simulation.acquisition import spread_directions

    directions = spread_directions(60)
    along = (directions @ np.array([0.36, 0.48, 0.8])) ** 2
    # a tensor's signal made of orders 0 and 2 alone
    from dmri7t.signal.harmonics import fit, plan_fit

    signal = torch.from_numpy(np.exp(-1.0 * (0.5 + 0.45 * along)))[:, None]
    sh = fit(signal, plan_fit(directions, 2))

    def anisotropy(coefficients: torch.Tensor) -> float:
        made = torch.cat([torch.ones(1, 1).double(), synthesize(coefficients, directions)])
        bvals = np.array([0.0, *[1000.0] * 60])
        table = np.concatenate([np.zeros((1, 3)), directions])
        return float(fractional_anisotropy(fit_tensor(made, bvals, table)))

    step = 0.01
    scaled = sh.clone()
    part = slice(0, 1) if order == 0 else slice(1, 6)
    scaled[part] *= 1 + step
    moved = abs(anisotropy(scaled) - anisotropy(sh))
    features = torch.cat([rish(sh), torch.zeros(1, 1)])
    sd = torch.zeros(3, 1)
    sd[order // 2] = 2 * step * features[order // 2]
    predicted = float(anisotropy_sd(torch.tensor([anisotropy(sh)]), features, sd, 1000.0))
    assert predicted == pytest.approx(moved, rel=0.25)


def test_command_writes_into_the_model(tiny_model, tmp_path, capsys):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    command = f"calibrate {model} --subjects 3 --check-subjects 2 --size 20 --threads 1"
    command += " --share-subjects 1 --novelty-subjects 0"
    main([*command.split(), "--output", str(tmp_path / "out")])
    config = check_bundle(model)
    shares, change = config.shares, config.shares.fit.change
    assert np.shape(change.samples) == np.shape(change.super_resolution) == (2, 3)
    assert all(0 <= share <= 1 for share in shares.samples + shares.super_resolution)
    assert np.shape(config.calibration.intervals.weights) == (3, 5)
    assert np.shape(config.calibration.intervals.direction) == (5,)
    assert 0 <= config.calibration.check.cone_95 <= 1
    assert set(config.calibration.forecast) == {"R0", "R2", "R4", "FA"}
    card = (model / "README.md").read_text()
    assert "## Uncertainty" in card and "lay within cones" in card
    assert (tmp_path / "out/coverage.png").exists()
    assert Translator.load(model).calibrated
    assert "nominal" in capsys.readouterr().out
