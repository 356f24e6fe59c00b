"""Known effects: they are what they are said to be, and what is kept of them is counted right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dmri7t.evaluation.chain import Estimate, interpolate_shell
from dmri7t.evaluation.effects import (
    CONTRASTS,
    EFFECTS,
    GROUP,
    LESIONS,
    SPREAD,
    TRUTH,
    Found,
    draw_visits,
    effect_sizes,
    run_effects,
)
from dmri7t.evaluation.effects_tables import summarize_effects, summarize_peaks, write_effects
from dmri7t.evaluation.methods import Method
from dmri7t.evaluation.peaks import Deconvolution, agreement
from dmri7t.simulation.acquisition import spread_directions
from dmri7t.simulation.subjects import HELD_OUT

SEEDS = HELD_OUT.take(2, 600_000)


@pytest.fixture(scope="module")
def visits():
    return next(draw_visits(SEEDS))


@pytest.fixture(scope="module")
def found() -> Found:
    """Interpolation, and a method that answers with a fifth of all harmonics above order 0."""

    def weaker(scan, shell, seed):
        plain = interpolate_shell(scan, shell)
        return Estimate(plain.rish_3V, torch.cat([plain.sh_CV[:1], plain.sh_CV[1:] / 5]))

    methods = [
        Method("interpolation", lambda scan, shell, seed: interpolate_shell(scan, shell)),
        Method("weaker", weaker),
    ]
    return run_effects(SEEDS, methods)


def test_changes_are_as_large_as_they_are_said_to_be(visits):
    change = visits.change
    before, after = (effect_sizes(change, s, s.truth) for s in (visits.plain, visits.changed))
    assert after[GROUP] / before[GROUP] == pytest.approx(0.95, abs=0.01)
    assert before[SPREAD] == after[SPREAD] == 0
    contrast = {name: after[name] - before[name] for name in CONTRASTS}
    for radius in LESIONS:
        assert contrast[f"FA {radius:g} mm"] < -0.1
        # signals 15 % smaller at b = 1000 are ln(1 / 0.85) = 0.16 um2/ms more; the mean logarithm
        # of rounder ones is larger, which takes some of that away
        assert 0.08 < contrast[f"MD {radius:g} mm"] < 0.16
        assert contrast[f"R0 {radius:g} mm"] < -0.1
    # beyond the changes nothing is another one
    far = torch.as_tensor(visits.plain.scan.brain_out.mask)
    outside = torch.ones_like(far)
    for ball in (change.bundle, *change.lesions):
        outside &= ball.distance(visits.plain.axes) > ball.radius + 10
    rows = outside[far]
    torch.testing.assert_close(
        visits.plain.truth.sh_CV[:, rows], visits.changed.truth.sh_CV[:, rows]
    )


def test_groups_share_their_noise_and_the_repeat_does_not(visits):
    plain, changed, again = (s.scan.signal_NV for s in (visits.plain, visits.changed, visits.again))
    inside = torch.as_tensor(visits.plain.scan.brain.mask)
    low = visits.plain.scan.brain.grid
    axes = tuple(low.affine[a, 3] + low.affine[a, a] * np.arange(low.shape[a]) for a in range(3))
    outside = torch.ones_like(inside)
    for ball in (visits.change.bundle, *visits.change.lesions):
        outside &= ball.distance(axes) > ball.radius + 10
    rows = outside[inside]
    torch.testing.assert_close(plain[:, rows], changed[:, rows])
    assert (plain[:, rows] - again[:, rows]).std() > 0.02 * plain[:, rows].mean()


def test_what_is_kept(found, tmp_path):
    table = write_effects(found, tmp_path, ["A note."]).set_index(["method", "effect"])
    assert set(table.index.get_level_values("effect")) == set(EFFECTS)
    assert all(table.loc[TRUTH, "kept"] == 1)
    kept = {name: table.loc[(name, GROUP), "kept"] for name in ("interpolation", "weaker")}
    assert kept["interpolation"] == pytest.approx(1, abs=0.25)
    # where FA is large it grows less than the harmonics: of a fifth is left more than that
    assert 0.2 < kept["weaker"] / kept["interpolation"] < 0.6
    big = f"R0 {LESIONS[-1]:g} mm"
    assert table.loc[("weaker", big), "kept"] == table.loc[("interpolation", big), "kept"]
    assert table.loc[("interpolation", big), "kept"] == pytest.approx(1, abs=0.15)
    assert table.loc[("interpolation", GROUP), "voxel_d_kept"] < 1
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("A note.") and "| CSD peaks at crossings | degrees |" in text
    assert "| Repeats, FA |" in text and "| Lesion, contrast kept | FA 2 mm |" in text
    for name in ("effects", "subjects", "peaks", "repeats"):
        assert (tmp_path / f"{name}.tsv").stat().st_size > 100
    peaks = summarize_peaks(found.peaks)
    assert peaks.loc[TRUTH, ["missed", "false"]].max() == 0
    assert 1 < peaks.loc["interpolation", "degrees"] < 30


def test_repeats_of_simulated_heads(found):
    repeats = found.repeats.set_index(["method", "map"])
    assert repeats.loc[(TRUTH, "FA"), "within"].max() == 0
    assert repeats.loc[(TRUTH, "FA"), "icc"].min() == pytest.approx(1)
    assert repeats.loc[("interpolation", "FA"), "within"].min() > 1e-4
    # smaller harmonics have less noise, and as much less that differs between voxels
    noise, kept = (
        repeats.loc[("weaker", "FA"), column].mean()
        / repeats.loc[("interpolation", "FA"), column].mean()
        for column in ("within", "between")
    )
    assert noise < 0.6 and kept < 0.6


def test_kept_and_cohens_d_by_hand():
    rows = pd.DataFrame(
        {
            "subject": ["a", "b"] * 4,
            "group": (["as it is"] * 2 + ["changed"] * 2) * 2,
            "method": [TRUTH] * 4 + ["m"] * 4,
            **dict.fromkeys(EFFECTS, [1.0, 3.0, 2.0, 4.0, 1.0, 3.0, 1.5, 3.5]),
            SPREAD: [0.0] * 4 + [2.0] * 4,
        }
    )
    table = summarize_effects(rows).set_index(["method", "effect"])
    truth, mine = (table.loc[(name, GROUP)] for name in (TRUTH, "m"))
    assert truth["difference"] == 1 and truth["d"] == pytest.approx(1 / np.sqrt(2))
    assert mine["kept"] == pytest.approx(0.5) == mine["d_kept"]
    assert mine["kept_se"] == 0
    assert mine["voxel_d"] == pytest.approx(0.5 / np.sqrt(2 + 4))
    assert mine["voxel_d_kept"] == pytest.approx(0.5 * np.sqrt(2) / np.sqrt(6))


def test_peaks_of_a_right_angle():
    directions, bval = spread_directions(64), 3000.0
    values = np.array([1.7e-3, 0.3e-3])

    def tensor(axis: int) -> np.ndarray:
        cosine = directions[:, axis] ** 2
        return np.exp(-bval * (values[1] + (values[0] - values[1]) * cosine))

    singles = np.stack([tensor(i % 3) for i in range(30)])
    csd = Deconvolution.of(singles, bval, directions)
    assert csd.eigenvalues == pytest.approx([1.7e-3, 0.3e-3, 0.3e-3], rel=0.02)
    truth = [np.eye(3)[:1], np.eye(3)[:2]]
    found = csd.peaks(np.stack([tensor(0), (tensor(0) + tensor(1)) / 2]))
    same = agreement(found, truth)
    assert same.missed == same.false == 0 and same.degrees < 5
    swapped = agreement(found[::-1], truth)
    assert swapped.missed == swapped.false == 0.5
