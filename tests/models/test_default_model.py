"""The model that ships: whole, what it says it is, and better than interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmri7t.calibration.examples import compared_with, put_fault, volumes_of
from dmri7t.evaluation.case import Case, metrics_of
from dmri7t.evaluation.chain import Estimate, Sampling, interpolate_shell, translate_shell
from dmri7t.evaluation.simulated import draw_blocks, scan_of, simulated_cases
from dmri7t.models.bundle import check_bundle, resolve_model
from dmri7t.models.novelty import Novelty
from dmri7t.models.translator import Translator
from dmri7t.signal.harmonics import synthesize
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.subjects import HELD_OUT, NOVELTY_CHECK


@pytest.fixture(scope="module")
def translator():
    return Translator.load(resolve_model("default"))


@pytest.fixture(scope="module")
def patch():
    return next(draw_blocks(HELD_OUT.take(1, 77), "hcp", 28))


def test_it_ships_is_whole_and_was_measured_better_than_interpolation():
    folder = resolve_model("default")
    config = check_bundle(folder)
    assert config.training.source == "simulated pairs"
    assert sum(p.stat().st_size for p in folder.parent.rglob("*") if p.is_file()) < 25e6
    nmse, ssim = config.metrics.nmse, config.metrics.ssim
    for name, value in nmse["default"].items():
        # R0 of one scan that is nearly all noise, the floor of its signals over a b0 that is no
        # more than that, rules the mean error of all twenty
        if name != "R0":
            assert value.mean < nmse["interpolation"][name].mean, name
        assert ssim["default"][name].mean > ssim["interpolation"][name].mean, name


def test_its_signals_are_better_than_interpolation_on_every_head_it_never_saw(translator):
    """Protocols as labs run them; RISH and FA are better on the mean, not on every quiet scan."""
    ours, theirs = [], []
    for case in simulated_cases(HELD_OUT.take(5, 77), "any", 24):
        shell = case.scan.represent()
        pair = (
            translate_shell(translator, case.scan, shell),
            interpolate_shell(case.scan, shell),
        )
        mine, plain = (signal_error(estimate, case) for estimate in pair)
        assert mine < plain, case.subject
        for side, estimate in zip((ours, theirs), pair, strict=True):
            side.append(metrics_of(estimate, case))
    for name in ("NMSE R2", "NMSE R4", "NMSE FA"):
        mine, plain = (np.mean([f[name] for f in side]) for side in (ours, theirs))
        assert mine < plain, name


def signal_error(estimate: Estimate, case: Case) -> float:
    """NMSE of an answer's signals along the scan's directions, against the truth's."""
    counted_V = torch.as_tensor(case.counted[case.scan.brain_out.mask])
    made, true = (
        synthesize(side.sh_CV[:, counted_V], case.scan.directions_N3)
        for side in (estimate, case.truth)
    )
    return float((made - true).square().sum() / true.square().sum())


def test_its_latent_matters(translator, patch):
    """The latents of another place give another image, by far more than rounding would."""
    scan = scan_of(patch)
    shell = scan.represent()
    encoded = translator.encode(shell)
    latents = translator.diffuse(encoded.latent, samples=1)
    own = translator.decode(encoded, latents).samples_S3V[0]
    other = translator.decode(encoded, latents.roll(5, 2)).samples_S3V[0]
    change = (own - other).square().mean(1).sqrt() / own.square().mean(1).sqrt()
    assert (change > 0.02).all(), change


def test_seed_decides_the_samples_and_the_orders_that_take_of_them(translator, patch):
    scan = scan_of(patch)
    encoded = translator.encode(scan.represent())
    first, again, other = (
        translator.decode(encoded, translator.diffuse(encoded.latent, 2, 1, seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.samples_S3V, again.samples_S3V)
    assert torch.equal(first.estimate_3V, again.estimate_3V)
    assert not torch.allclose(first.samples_S3V, other.samples_S3V)
    moved = [
        not torch.equal(*pair) for pair in zip(first.estimate_3V, other.estimate_3V, strict=True)
    ]
    assert moved == [share > 0 for share in translator.config.shares.samples]


def test_answer_is_finite(translator, patch):
    scan = scan_of(patch)
    made = translate_shell(translator, scan, scan.represent(), Sampling(2, 2))
    assert np.isfinite(made.rish_3V.numpy()).all() and np.isfinite(made.sh_CV.numpy()).all()
    assert (made.sd_3V >= 0).all() and (made.sd_3V.mean(1) > 0).all()


@pytest.mark.parametrize("fault", ["none", "stroke", "slab"])
def test_it_knows_faults_from_heads_like_those_of_training(translator, fault):
    """Alarms come from :mod:`dmri7t.models.novelty`, as the app raises them."""
    known = Novelty.load(resolve_model("default"))
    seed = NOVELTY_CHECK.first + 100
    block = draw_patches(seed, 32)[0]
    volumes = volumes_of(block)
    if fault != "none":
        volumes = put_fault(fault, volumes, seed)
    found = known.compare(*compared_with(translator, block, volumes))
    assert found.flagged == (fault != "none"), found.score
