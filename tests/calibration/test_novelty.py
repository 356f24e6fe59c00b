"""Fitting the comparison with training data, on cells whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmri7t.calibration.examples import NoveltyExample
from dmri7t.calibration.novelty import cover, fit_distance, fit_recognizer, fit_threshold
from dmri7t.models.novelty import RESEMBLES, Cells, Novelty
from dmri7t.simulation.faults import FAULTS

N_FEATURES = 6


def examples_of(n: int, seed: int) -> list[NoveltyExample]:
    """Scans whose level hangs on their context; a fault of kind k moves feature k."""
    rng = np.random.default_rng(seed)
    examples = []
    for kind in ["", *FAULTS] * n:
        context = rng.normal(size=2)
        cells = 2 * context[0] + rng.normal(size=(N_FEATURES, 100))
        faulty = np.arange(100) < 30 * bool(kind)
        if kind:
            cells[FAULTS.index(kind), faulty] += 6
        parts = (torch.from_numpy(x).float() for x in (cells, context))
        examples.append(NoveltyExample(*parts, torch.from_numpy(faulty), kind))
    return examples


def cells_like(example: NoveltyExample) -> Cells:
    """All cells of an example in a row, too far apart to be smoothed."""
    inside = torch.ones(example.features.shape[1], 1, 1, dtype=torch.bool)
    loss = torch.zeros(len(inside))
    return Cells(example.features, example.context, loss, inside, (50.0, 50.0, 50.0))


def test_each_kind_of_fault_is_told_from_the_others_and_from_none(monkeypatch):
    monkeypatch.setattr("dmri7t.calibration.novelty.STEPS", 500)
    tensors = fit_recognizer(examples_of(20, 0))
    novelty = Novelty(tensors, {})
    for example in examples_of(2, 1):
        odds = novelty.odds(cells_like(example))
        assert odds.shape == (len(FAULTS), 100)
        if example.kind:
            hit = odds[:, example.faulty].mean(1)
            assert FAULTS[int(hit.argmax())] == example.kind
            assert hit.max() > odds[:, ~example.faulty].max(1).values.mean() + 1


def test_what_is_simulated_has_a_name():
    assert tuple(RESEMBLES) == ("distance", "slices", *FAULTS)


def test_distance_tells_cells_that_no_training_scan_had():
    tensors = fit_distance([s for s in examples_of(20, 0) if not s.kind])
    novelty = Novelty(tensors, {})
    like, unlike = [], []
    for example in examples_of(2, 1):
        distance = novelty.distance(cells_like(example))
        like.append(distance[~example.faulty])
        unlike.append(distance[example.faulty])
    assert torch.cat(unlike).median() > 2 * torch.cat(like).quantile(0.9)


def test_threshold_is_exceeded_as_often_as_it_says():
    rng = np.random.default_rng(3)
    blocks = [torch.from_numpy(rng.exponential(size=(10, 10, 10))) for _ in range(400)]
    fitted = fit_threshold(blocks, 0.05)
    threshold = Novelty({}, {"distance": fitted}).threshold("distance", 1000)
    others = rng.exponential(size=(4000, 1000)).max(1)
    assert (others > threshold).mean() == pytest.approx(0.05, abs=0.025)


def test_every_cell_has_a_kept_one_near_it():
    rng = np.random.default_rng(4)
    cells = torch.from_numpy(rng.normal(size=(3000, 2))).float()
    rare = torch.tensor([[30.0, 30.0]])
    kept = cover(torch.cat([cells, rare]), 60)
    distance = torch.cdist(torch.cat([cells, rare]), kept).min(1).values
    assert len(kept) == 60 and distance.max() < 1.2
