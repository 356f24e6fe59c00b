"""What part filter and model get in a shell's result, by what the shell says."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from dmri7t.evaluation.simulated import draw_blocks, scan_of, truth_of
from dmri7t.models.bundle import resolve_model
from dmri7t.models.translator import Translator
from dmri7t.models.weighing import (
    BY_MODEL,
    HELD,
    UNASKED,
    UNASKED_RISH,
    Weighing,
    ask_shell,
    estimate_shell,
    mix_shell,
)
from dmri7t.signal.harmonics import fit, plan_fit, synthesize
from dmri7t.signal.held_out import Evidence
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.shell import Shell
from dmri7t.simulation.subjects import HELD_OUT

FINE = (1.05, 1.05, 1.05)
"""Voxel sizes of HCP's 7T scans, mm."""


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.load(resolve_model("default"))


@pytest.fixture(scope="module")
def patch():
    return next(draw_blocks(HELD_OUT.take(1, 78), "hcp", 22))


@pytest.fixture(scope="module")
def scan(patch):
    """A third of HCP's directions, which is noise enough for something to gain."""
    scan = scan_of(patch)
    kept = list(range(0, len(scan.directions_N3), 3))
    return attrs.evolve(
        scan, signal_NV=scan.signal_NV[kept], directions_N3=scan.directions_N3[kept]
    )


def test_noisy_scan_is_filtered_and_foretells_directions_better(translator, scan):
    estimate = estimate_shell(
        translator, scan, Shell.from_signal(scan), scan.brain.voxel_sizes, Weighing(compare=True)
    )
    evidence = estimate.evidence
    ratios = {error.name: error.ratio for error in evidence.errors}
    assert min(evidence.shares[0]) > 0.5 and ratios["result"] < 0.9
    assert {error.name for error in evidence.beside} == {"mppca", "result"}
    assert evidence.voxels == scan.brain.n_voxels


def test_directions_that_took_no_part_agree_with_the_evidence(translator, scan, patch):
    """The other two thirds of the directions: the gain is of the same kind, with all of a third."""
    shell = Shell.from_signal(scan)
    estimate = estimate_shell(translator, scan, shell, scan.brain.voxel_sizes)
    whole = scan_of(patch)
    others = [i for i in range(len(whole.directions_N3)) if i % 3]
    directions_N3 = whole.directions_N3[others]
    measured_NV = whole.signal_NV[others] / whole.b0_V
    noise = float(shell.sigma_V.median()) ** 2

    def error(sh_CV: torch.Tensor) -> float:
        foretold_NV = synthesize(sh_CV, directions_N3)
        return float((foretold_NV - measured_NV).square().mean()) - noise

    ratio = {e.name: e.ratio for e in estimate.evidence.errors}["result"]
    # shares of the model scale on the finer grid: here what the scan's own coefficients say
    assert ratio < error(estimate.sh_CV) / error(shell.sh_CV) < 0.6


def test_scan_without_noise_stays_as_it_is(translator, scan):
    sh_CV = fit(scan.signal_NV, plan_fit(scan.directions_N3, 4, 0.0))
    clean = attrs.evolve(scan, signal_NV=synthesize(sh_CV, scan.directions_N3))
    shell = Shell.from_signal(clean, 4, 0.0)
    estimate = estimate_shell(
        translator, clean, shell, clean.brain.voxel_sizes, Weighing(order=4, laplace_beltrami=0.0)
    )
    change = (estimate.sh_CV - shell.sh_CV).square().sum() / shell.sh_CV.square().sum()
    assert change < 1e-5
    assert estimate.model_shares == (0.0, 0.0, 0.0)


def test_few_directions_say_why_nothing_was_measured(translator, scan):
    few = attrs.evolve(scan, signal_NV=scan.signal_NV[:9], directions_N3=scan.directions_N3[:9])
    evidence = estimate_shell(translator, few, Shell.from_signal(few), FINE).evidence
    assert evidence.reason.startswith("9 directions; from 12 on")
    assert evidence.reason.endswith("other people's scans")
    assert evidence.errors == () and evidence.shares == ((1.0, 1.0), (UNASKED, 0.0))
    assert evidence.rish_shares == UNASKED_RISH
    # how sharp order 0 should be is a question of finer grids
    same = estimate_shell(translator, few, Shell.from_signal(few), few.brain.voxel_sizes).evidence
    assert same.shares == ((1.0, 1.0), (0.0, 0.0))
    assert same.rish_shares == (0.0, *UNASKED_RISH[1:])
    six = attrs.evolve(scan, signal_NV=scan.signal_NV[:6], directions_N3=scan.directions_N3[:6])
    # nothing is left to tell noise by: the result is the interpolation
    evidence = estimate_shell(translator, six, Shell.from_signal(six), FINE).evidence
    assert evidence.shares == ((0.0, 0.0), (0.0, 0.0)) and not evidence.rish_shares
    assert evidence.reason.endswith("can be left out")


def test_model_decides_where_it_is_asked_to(translator, scan):
    shell = Shell.from_signal(scan)
    pure = Weighing(by_scan=False, hold=False)
    estimate = estimate_shell(translator, scan, shell, FINE, pure)
    assert estimate.sh_CV is shell.sh_CV and estimate.model_shares == (1.0, 1.0, 1.0)
    assert estimate.trust_V is None and estimate.evidence.reason == BY_MODEL
    sample = estimate_shell(translator, scan, shell, FINE, Weighing(whole_model=True))
    assert sample.model_shares == (1.0, 1.0, 1.0)
    assert not np.allclose(sample.sh_CV, shell.sh_CV)


def test_the_floor_of_the_noise_is_taken_out_unless_it_is_to_be_kept(translator, scan):
    """Of magnitudes with much noise: the mean signal is then nearer to the one without it."""
    sigma = 0.12 * float(scan.b0_V.median())
    noise = torch.randn(2, *scan.signal_NV.shape, generator=torch.Generator().manual_seed(2))
    loud_NV = torch.hypot(scan.signal_NV + sigma * noise[0], sigma * noise[1])
    loud = attrs.evolve(scan, signal_NV=loud_NV)
    shell, truth_V = Shell.from_signal(loud), scan.signal_NV.mean(0) / floor_b0(scan.b0_V)
    evidence = Evidence(((1.0,) * 3, (0.0,) * 3))
    errors = []
    for weighing in (Weighing(remove_floor=False), Weighing()):
        estimate = mix_shell(loud, shell, evidence, weighing)
        mean_V = estimate.sh_CV[0] / (4 * np.pi) ** 0.5 * floor_b0(estimate.b0_V)
        errors.append(float((mean_V / floor_b0(scan.b0_V) - truth_V).mean()))
    assert errors[0] > 0.004 and abs(errors[1]) < 0.6 * errors[0]
    # what nothing was filtered of is the interpolation
    plain = mix_shell(loud, shell, Evidence(((0.0,) * 3, (0.0,) * 3)), Weighing())
    assert plain.floor == 0


def test_a_model_that_scales_wholly_is_held_to_the_scan_without_the_floor(translator, scan):
    """Much noise raises the mean of magnitudes; what a model's order 0 is held to is nearer to the
    mean of the signals. Directions of the fit stay as they were measured."""
    sigma = 0.12 * float(scan.b0_V.median())
    noise = torch.randn(2, *scan.signal_NV.shape, generator=torch.Generator().manual_seed(3))
    loud_NV = torch.hypot(scan.signal_NV + sigma * noise[0], sigma * noise[1])
    loud = attrs.evolve(scan, signal_NV=loud_NV)
    shell, weighing = Shell.from_signal(loud), Weighing(by_scan=False)
    evidence = ask_shell(translator, loud, FINE, weighing)
    assert evidence.reason == BY_MODEL + HELD
    held = mix_shell(loud, shell, evidence, weighing)
    with_floor = mix_shell(loud, shell, evidence, attrs.evolve(weighing, remove_floor=False))
    truth_V = (4 * np.pi) ** 0.5 * scan.signal_NV.mean(0) / floor_b0(scan.b0_V)
    high, low = (float((e.rish_3V[0].sqrt() - truth_V).mean()) for e in (with_floor, held))
    assert high > 0.015 and abs(low) < 0.5 * high
    assert held.floor > 0 and with_floor.floor == 0
    assert torch.equal(held.sh_CV[1:], shell.sh_CV[1:])
    for estimate in (held, with_floor):
        assert estimate.model_shares == (1.0, 1.0, 1.0)
        assert 0 < float(estimate.trust_V.min()) <= float(estimate.trust_V.max()) <= 1


def test_coarser_scan_lets_a_model_of_its_own_kind_in(translator):
    """Simulated heads with all of HCP's directions, for which the model was trained: what a scan
    says of it 1.19 times coarser holds, over six heads, on the finer grid against the truth."""
    with_model, without, taken = 0.0, 0.0, 0
    for patch in draw_blocks(HELD_OUT.take(6, 78), "hcp", 22):
        scan = scan_of(patch)
        shell = Shell.from_signal(scan)
        estimate = estimate_shell(translator, scan, shell, FINE)
        evidence = estimate.evidence
        assert evidence.factor == pytest.approx(1.25 / 1.05, rel=1e-3)
        ratios = {error.name: error.ratio for error in evidence.coarser}
        assert set(ratios) == {"filter", "model", "result"}
        # its shares were fitted without what they foretell
        assert ratios["result"] <= ratios["filter"] + 1e-3
        assert len(evidence.rish_shares) == 3
        assert "model" not in {e.name for e in evidence.errors}
        taken += estimate.takes_model
        encoded = translator.encode(shell)
        decoded = translator.decode(encoded, None)
        generated = translator.super_resolve(encoded, decoded, scan.brain_out, estimate=estimate)
        fine_CV = scan.regrid()(estimate.sh_CV)
        result_CV, _ = estimate.scaled(fine_CV, generated.model_3V)
        truth_CV = truth_of(patch).sh_CV
        rows = min(len(fine_CV), len(truth_CV))
        with_model += float((result_CV[:rows] - truth_CV[:rows]).square().sum())
        without += float((fine_CV[:rows] - truth_CV[:rows]).square().sum())
    assert taken and with_model < without


def test_grid_that_is_no_finer_asks_of_the_scan_as_it_is(translator, scan):
    shell = Shell.from_signal(scan)
    evidence = estimate_shell(translator, scan, shell, scan.brain.voxel_sizes).evidence
    assert evidence.coarser == () and evidence.factor == 1
    assert {error.name for error in evidence.errors} == {"filter", "model", "result"}
