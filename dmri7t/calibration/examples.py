"""Simulated scans with and without faults, cell by cell: what novelty is learned and checked on."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch.nn import functional

from dmri7t.models.box import Box
from dmri7t.models.novelty import CELL, Cells, cells_of
from dmri7t.models.translator import Translator
from dmri7t.progress import track
from dmri7t.signal.shell import Brain, Shell
from dmri7t.simulation import faults
from dmri7t.simulation.acquisition import draw_protocol
from dmri7t.simulation.faults import Lesion, Volumes
from dmri7t.simulation.patches import Patch, draw_patches, measured

CELLS_A_SCAN = 400
"""Cells of a scan that take part in a fit."""

LESIONS = {"stroke": faults.STROKE, "oedema": faults.OEDEMA, "cyst": faults.CYST}

CHECKED = (*LESIONS, "slab", "slices")
"""Faults whose detection is measured."""


@attrs.frozen(eq=False)
class NoveltyExample:
    """Some cells of a simulated scan, and which of them are faulty.

    Parameters
    ----------
    features : Tensor (F, k)
    context : Tensor (C,)
    faulty : Tensor (k,) bool
    kind : str
        Of the fault, one of :data:`dmri7t.simulation.faults.FAULTS`; empty where there is none.
    """

    features: torch.Tensor
    context: torch.Tensor
    faulty: torch.Tensor
    kind: str = ""


def draw_block(seed: int, size: int) -> Patch:
    """Draw a block as for training, but of a scan that lost no slices: that is a fault."""
    protocol = draw_protocol(np.random.default_rng([seed, 1]))
    whole = attrs.evolve(protocol, low=attrs.evolve(protocol.low, dropout=0.0))
    return draw_patches(seed, size, whole)[0]


def volumes_of(patch: Patch) -> Volumes:
    """What faults are put into."""
    brain = patch.shell.brain
    return Volumes(
        b0=patch.b0,
        signal=patch.signal,
        brain=brain,
        bval=float(patch.protocol.bval),
        sigma=float(patch.shell.description.sigma * brain.pick(patch.b0).median()),
        n_b0=patch.protocol.n_b0,
    )


def compared_with(
    translator: Translator, patch: Patch, volumes: Volumes
) -> tuple[Shell, torch.Tensor | None]:
    """What :meth:`dmri7t.models.novelty.Novelty.compare` takes, of a patch with other volumes.

    Returns
    -------
    shell : Shell
    code_distance : Tensor (x, y, z), optional
        None where the model has no latents.
    """
    brain, protocol = patch.shell.brain, patch.protocol
    shell = Shell.from_signal(measured(volumes.b0, volumes.signal, protocol, brain))
    if not translator.samples_drawn:
        return shell, None
    with torch.inference_mode():
        return shell, translator.quantized(translator.stack(shell))[1][0].cpu()


def draw_examples(translator: Translator, seeds: range, size: int) -> list[NoveltyExample]:
    """Simulate scans, each as it is and with each kind of fault; keep some cells of each.

    Parameters
    ----------
    translator : Translator
        Whose latents are among the features.
    seeds : range
        Of the subjects.
    size : int
        Edge of the simulated blocks in 3T voxels.
    """
    examples = []
    for seed in track(seeds, "novelty", len(seeds)):
        patch = draw_block(seed, size)
        volumes, rng = volumes_of(patch), np.random.default_rng([seed, 3])
        nowhere = np.zeros(volumes.brain.mask.shape, bool)
        drawn = [("", volumes, nowhere)]
        drawn += [(kind, *faults.draw_fault(kind, volumes, rng)) for kind in faults.FAULTS]
        for kind, changed, fault_XYZ in drawn:
            cells = cells_of(*compared_with(translator, patch, changed))
            example = choose_cells(cells, fault_XYZ, patch.shell.brain, seed)
            examples.append(attrs.evolve(example, kind=kind))
    return examples


def choose_cells(cells: Cells, fault_XYZ: np.ndarray, brain: Brain, seed: int) -> NoveltyExample:
    """Keep some cells of a scan, those that lie in a fault and those that lie outside apart.

    Parameters
    ----------
    cells : Cells
        Of the whole scan.
    fault_XYZ : ndarray of bool
        Where the fault lies.
    brain : Brain
    seed : int
        Decides which cells.
    """
    fault_V = brain.pick(torch.as_tensor(fault_XYZ)).float()
    both_2V = torch.stack([fault_V, torch.ones_like(fault_V)])
    share = functional.avg_pool3d(Box.around(brain, CELL).place(both_2V)[None], CELL)[0]
    faulty_n = (share[0] / share[1].clamp_min(0.1))[cells.inside]
    order = torch.randperm(len(faulty_n), generator=torch.Generator().manual_seed(seed))
    clear, hit = (order[test[order]] for test in (faulty_n < 0.01, faulty_n > 0.7))
    chosen = torch.cat([clear[:CELLS_A_SCAN], hit[:CELLS_A_SCAN]])
    return NoveltyExample(cells.features[:, chosen], cells.context, faulty_n[chosen] > 0.5)


def put_fault(name: str, volumes: Volumes, seed: int) -> Volumes:
    """Put a fault of :data:`CHECKED` in the middle of a block's brain."""
    rng = np.random.default_rng([seed, 4])
    mask = volumes.brain.mask
    depth = np.flatnonzero(mask.any((0, 1)))
    middle = int(depth[len(depth) // 2])
    if name == "slab":
        return faults.empty_slab(volumes, max(middle - 2, 0), 4)
    if name == "slices":
        n = len(volumes.signal)
        hit = rng.permutation(n)[: max(3, n // 5)].tolist()
        return faults.lose_slices(volumes, hit, range(max(middle - 2, 0), middle + 2))
    lesion: Lesion = LESIONS[name]
    # of some balls, the one of which most lies in the brain
    inside = np.argwhere(mask)
    balls = [
        faults.ball(volumes, inside[rng.integers(len(inside))], lesion.radius) for _ in range(20)
    ]
    return faults.put_lesion(volumes, max(balls, key=np.count_nonzero), lesion, seed)
