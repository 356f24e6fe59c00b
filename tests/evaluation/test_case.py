"""Errors against a truth that nobody measured without noise."""

from __future__ import annotations

import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.evaluation.case import DWI, HeldOut, ReferenceNoise
from dmri7t.evaluation.chain import Estimate
from dmri7t.signal.harmonics import fit, plan_fit, synthesize
from dmri7t.signal.rish import rish

N_VOXELS = 20_000


def test_noise_of_the_reference_is_taken_off_and_that_of_the_answer_counts():
    generator = torch.Generator().manual_seed(0)
    true_CV = torch.randn(15, N_VOXELS, generator=generator)
    true_CV[0] += 3

    def measure(directions_N3, sigma=0.8):
        clean_NV = synthesize(true_CV, directions_N3)
        return clean_NV + sigma * torch.randn(clean_NV.shape, generator=generator)

    seen_N3, given_N3 = fibonacci_directions(40), fibonacci_directions(33)
    seen_NV = measure(seen_N3)
    seen_CV = fit(seen_NV, plan_fit(seen_N3, 4, 0.0))
    given_CV = fit(measure(given_N3), plan_fit(given_N3, 4, 0.0))
    held_out = HeldOut(seen_NV, seen_N3, given_CV)
    truth = Estimate(rish(seen_CV)[:3], seen_CV)
    counted_V = torch.ones(N_VOXELS, dtype=bool)

    def errors(sh_CV):
        return held_out.errors(Estimate(rish(sh_CV)[:3], sh_CV), truth, counted_V)

    assert errors(true_CV) == pytest.approx({DWI: 0, "C0": 0, "C2": 0, "C4": 0}, abs=0.01)
    # an answer's error is what it is: a tenth too large everywhere is a hundredth
    assert errors(1.1 * true_CV) == pytest.approx(
        {DWI: 0.01, "C0": 0.01, "C2": 0.01, "C4": 0.01}, abs=0.01
    )
    # the measurement itself is off by its own noise, which products do not hide
    off = (given_CV - true_CV).square().sum() / true_CV.square().sum()
    basis_error = errors(given_CV)
    assert basis_error["C2"] > 0.01 and float(off) > 0.01
    expected = (given_CV - true_CV)[1:6].square().sum() / true_CV[1:6].square().sum()
    assert basis_error["C2"] == pytest.approx(float(expected), abs=0.01)


def test_what_few_directions_cannot_show_is_no_second_measurement():
    """Of halves that fit order 2 alone, the noise of the reference is taken off by its size: the
    error of an answer that has order 4 is none, and that of one without it what is missing."""
    generator = torch.Generator().manual_seed(1)
    true_CV = torch.randn(15, N_VOXELS, generator=generator)
    true_CV[0] += 3
    seen_N3, given_N3 = fibonacci_directions(10), fibonacci_directions(9)
    clean_NV = synthesize(true_CV, seen_N3)
    seen_NV = clean_NV + 0.5 * torch.randn(clean_NV.shape, generator=generator)
    plans = [plan_fit(directions, 2, 0.0) for directions in (seen_N3, given_N3)]
    seen_CV = fit(seen_NV, plans[0])
    given_CV = fit(synthesize(true_CV, given_N3), plans[1])
    noise = ReferenceNoise(torch.full((N_VOXELS,), 0.25), 10, plans[0].noise_L)
    held_out = HeldOut(seen_NV, seen_N3, given_CV, noise=noise)
    truth, counted_V = Estimate(rish(seen_CV), seen_CV), torch.ones(N_VOXELS, dtype=bool)

    def error(sh_CV):
        return held_out.errors(Estimate(rish(sh_CV), sh_CV), truth, counted_V)[DWI]

    assert error(true_CV) == pytest.approx(0, abs=0.005)
    missing = clean_NV - synthesize(true_CV[:6], seen_N3)
    expected = float(missing.square().sum() / clean_NV.square().sum())
    assert error(true_CV[:6]) == pytest.approx(expected, abs=0.005) and expected > 0.05
