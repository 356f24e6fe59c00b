"""Examples for novelty: which cells are faulty, and what a block holds before a fault is put in."""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.calibration.examples import (
    CELLS_A_SCAN,
    choose_cells,
    draw_block,
    put_fault,
    volumes_of,
)
from dmri7t.models.novelty import Cells
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain
from dmri7t.signal.slices import slice_loss
from dmri7t.simulation.subjects import NOVELTY_CHECK


def test_cells_are_faulty_where_the_fault_lies():
    """A fault covers the lower half of a block and half of one layer of cells above it."""
    shape = (24, 24, 24)
    brain = Brain(np.ones(shape, bool), Grid(shape, np.eye(4)))
    inside = torch.ones(12, 12, 12, dtype=torch.bool)
    height_n = torch.arange(12.0).expand(inside.shape)[inside]
    context, loss = torch.tensor([3.0]), torch.zeros(len(height_n))
    cells = Cells(height_n[None], context, loss, inside, (2.0, 2.0, 2.0))
    fault = np.zeros(shape, bool)
    fault[:, :, :13] = True
    example = choose_cells(cells, fault, brain, seed=0)
    (height_k,) = example.features
    assert torch.equal(example.faulty, height_k < 6)
    # neither clear nor faulty
    assert not (height_k == 6).any()
    assert example.faulty.sum() == (~example.faulty).sum() == CELLS_A_SCAN
    assert torch.equal(example.context, context) and example.kind == ""
    clear = choose_cells(cells, np.zeros(shape, bool), brain, seed=0)
    assert len(clear.faulty) == CELLS_A_SCAN and not clear.faulty.any()


def test_blocks_lose_slices_only_when_they_are_put_in():
    seed = NOVELTY_CHECK.first + 300
    volumes = volumes_of(draw_block(seed, 24))
    faulty = put_fault("slices", volumes, seed)
    inside = torch.as_tensor(volumes.brain.mask)
    before, after = (slice_loss(v.signal[:, inside], v.brain.mask).max() for v in (volumes, faulty))
    assert before < 0.4 < 0.6 < after
