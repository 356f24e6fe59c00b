"""Comparing a scan with training data: what is far is found, and thresholds are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attrs import evolve
from shells import shell_with

from dmri7t.errors import ModelError
from dmri7t.models.bundle import check_bundle, write_bundle
from dmri7t.models.novelty import (
    ALARM_ML,
    RESEMBLES,
    Cells,
    Novelty,
    Threshold,
    cells_of,
    nearest_distance,
    surroundings,
    whiten,
)
from dmri7t.models.translator import Translator
from dmri7t.signal.describe import Description
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain, Shell

DESCRIPTION = Description([2.0, 2.0, 2.0], 1000, 30, 0.05, 1.0, [0.0] * 3)

SHAPE = (35, 40, 31)


@pytest.fixture
def mask() -> np.ndarray:
    """An ellipsoid that fills no whole number of cells."""
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"), -1)
    return (places**2).sum(-1) < 0.9


def shell_in(mask: np.ndarray, seed: int = 0) -> Shell:
    """RISH of tissue of 0.8e-3 mm2/s with a little noise."""
    rng = np.random.default_rng(seed)
    n = int(mask.sum())
    level = torch.tensor([4 * np.pi * np.exp(-1.6), 0.2, 0.02])[:, None]
    rish = level * torch.from_numpy(rng.uniform(0.9, 1.1, (3, n)))
    return shell_with(
        rish.float(),
        Brain(mask, Grid(mask.shape, np.diag([2.0, 2.0, 2.0, 1.0]))),
        DESCRIPTION,
        noise_3V=0.1 * level.expand(3, n).float(),
        coherent_9V=torch.cat([0.9 * rish, rish, rish]).float(),
        loss_V=torch.from_numpy(rng.uniform(0.01, 0.03, n)).float(),
    )


def known_novelty(cells: Cells) -> Novelty:
    """Training data whose features were those of these cells, spread by one; no recognizer."""
    n, c = len(cells.features), len(cells.context)
    expected = torch.zeros(n, 1 + c)
    expected[:, 0] = cells.features.mean(1)
    tensors = {
        "expected": expected,
        "log_spread": torch.zeros(n, 1 + c),
        "whitening": torch.eye(n),
        "training_cells": torch.zeros(1, n),
        "context_mean": torch.zeros(c),
        "context_sd": torch.ones(c),
        "input_mean": torch.zeros(n + c),
        "input_sd": torch.ones(n + c),
        "weight0": torch.zeros(4, n + c),
        "bias0": torch.full((4,), -20.0),
    }
    fitted = Threshold(location=1.0, scale=0.1, growth=0.05, cells=500, level=0.005)
    return Novelty(tensors, dict.fromkeys(RESEMBLES, fitted))


def test_diffusivity_is_found_again(mask):
    cells = cells_of(shell_in(mask))
    assert cells.features[0].median() == pytest.approx(0.8, abs=0.02)
    assert cells.features.shape[1] == int(cells.inside.sum()) > 100
    assert torch.isfinite(cells.features).all() and torch.isfinite(cells.context).all()


def test_unfitted_order_says_nothing(mask):
    shell = shell_in(mask)
    for values in (shell.rish_3V, shell.noise_3V):
        values[2] = 0
    cells = cells_of(shell)
    assert (cells.features[[4, 7, 8]] == 0).all()


def test_surroundings_of_a_constant_are_the_constant(mask):
    inside = torch.as_tensor(mask)
    found = surroundings(inside, (2.0, 2.0, 5.0), 4.0)(3.0 * torch.ones(1, *SHAPE))
    assert found[0][inside].numpy() == pytest.approx(3.0, rel=1e-5)


def test_surroundings_reach_as_far_in_mm_whatever_the_cells():
    inside = torch.ones(41, 41, 41, dtype=torch.bool)
    point = torch.zeros(1, 41, 41, 41)
    point[0, 20, 20, 20] = 1.0
    spread = surroundings(inside, (1.0, 2.0, 4.0), 6.0)(point)[0]
    at = torch.arange(41) - 20.0
    for axis, step in enumerate((1.0, 2.0, 4.0)):
        others = tuple(a for a in range(3) if a != axis)
        profile = spread.sum(others)
        sd = float(((at * step).square() * profile).sum() / profile.sum()) ** 0.5
        assert sd == pytest.approx(6.0, rel=0.03)


def test_nearest_distance_is_that_of_all_pairs():
    torch.manual_seed(0)
    cells, known = torch.randn(50, 6), torch.randn(20, 6)
    expected = torch.cdist(cells, known).min(1).values
    assert nearest_distance(cells, known).numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_what_the_scan_leads_to_expect_is_taken_out(mask):
    """Features that follow the context are no novelty; the same ones without it are."""
    cells = cells_of(shell_in(mask))
    tensors = known_novelty(cells).tensors
    tensors["expected"][:, 1] = 2.0
    context = cells.context.clone()
    shift = 1.5
    moved = cells.features + 2.0 * shift
    context[0] = cells.context[0] + shift
    before = whiten(cells.features, cells.context, tensors)
    assert whiten(moved, context, tensors).numpy() == pytest.approx(before.numpy(), abs=1e-4)


def test_a_strange_place_is_flagged_where_it_is(mask):
    shell = shell_in(mask)
    novelty = known_novelty(cells_of(shell))
    plain = novelty.compare(shell)
    assert not plain.flagged and plain.volume_ml == 0
    strange = np.zeros(SHAPE, bool)
    strange[8:16, 20:28, 12:20] = True
    at = torch.as_tensor(strange[mask])
    for values in (shell.rish_3V, shell.coherent_9V):
        values[:, at] *= 0.05
    found = novelty.compare(shell)
    assert found.flagged and found.score > 1 and found.volume_ml > 0.2
    assert len(found.map_V) == int(mask.sum())
    assert found.map_V[at].mean() > 1.5 * found.map_V[~at].median()
    highest = np.argwhere(mask)[int(found.map_V.argmax())]
    assert strange[tuple(highest)]
    record = found.record()
    assert set(record) == {*("score", "volume_ml", "flagged", "resembles"), "alarm_ml", "spots"}
    first = found.spots[0]
    assert first.score == pytest.approx(found.score) and first.volume_ml >= ALARM_ML
    place = np.linalg.solve(shell.brain.grid.affine, [*first.place_mm, 1])[:3]
    assert strange[tuple(place.round().astype(int))]
    small = evolve(found, spots=(evolve(first, volume_ml=0.9 * ALARM_ML),))
    assert not small.flagged and small.record()["spots"]
    assert found.resembles == ""


def test_slices_that_lost_signal_are_flagged_where_they_are(mask):
    shell = shell_in(mask)
    novelty = known_novelty(cells_of(shell))
    at = np.zeros(SHAPE, bool)
    at[:, :, 14:18] = True
    at = torch.as_tensor(at[mask])
    shell.loss_V[at] = 3.0
    found = novelty.compare(shell)
    # its threshold lies at about 1.5
    assert found.flagged and found.score == pytest.approx(2, rel=0.1)
    assert found.resembles == "slices that lost signal in some volumes"
    # cells at the border of the slices hold some of them
    assert found.map_V[at].min() > 0.9 and found.map_V[~at].median() < 0.2


def test_another_versions_features_are_refused(mask, tmp_path):
    made = known_novelty(cells_of(shell_in(mask)))
    short = {name: tensor[..., :-3] for name, tensor in made.tensors.items()}
    Novelty(short | {"expected": made.tensors["expected"][:-3]}, made.thresholds).save(tmp_path)
    with pytest.raises(ModelError, match=r"novelty.safetensors.*dmri7t-model calibrate"):
        Novelty.load(tmp_path)
    one = {"distance": made.thresholds["distance"], "odds": made.thresholds["low"]}
    Novelty(made.tensors, one).save(tmp_path)
    with pytest.raises(ModelError, match=r"novelty.safetensors.*dmri7t-model calibrate"):
        Novelty.load(tmp_path)
    without_growth = {name: {"location": 1.0, "scale": 0.1, "cells": 5} for name in RESEMBLES}
    Novelty(made.tensors, without_growth).save(tmp_path)
    with pytest.raises(ModelError, match=r"novelty.safetensors.*growth is missing.*calibrate"):
        Novelty.load(tmp_path)


def test_threshold_grows_with_the_brain(mask):
    novelty = known_novelty(cells_of(shell_in(mask)))
    small, same, large = (novelty.threshold("distance", n) for n in (50, 500, 200_000))
    # 1 of 200 draws from this Gumbel distribution lies higher
    assert same == pytest.approx(1.0 + 0.1 * 5.2958, abs=1e-3)
    assert small < same < large < same + 0.31


def test_saved_in_a_model_it_is_checked_loaded_and_in_no_ones_way(mask, tiny_model, tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    assert Novelty.load(folder) is None
    shell = shell_in(mask)
    made = known_novelty(cells_of(shell))
    made.save(folder)
    write_bundle(folder, check_bundle(folder))
    assert "novelty.safetensors" in check_bundle(folder).files
    # whoever may read the description may read the weights
    modes = {(folder / name).stat().st_mode for name in ("novelty.safetensors", "config.json")}
    assert len(modes) == 1
    again = Novelty.load(folder)
    assert torch.equal(again.compare(shell).map_V, made.compare(shell).map_V)
    translator = Translator.load(folder)
    encoded = translator.encode(shell)
    distance = encoded.latent.distance
    assert distance.shape == encoded.latent.codes.shape[1:] and (distance >= 0).all()
    with_codes = cells_of(shell, distance)
    assert len(with_codes.features) == len(cells_of(shell).features) + 1
