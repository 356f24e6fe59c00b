"""Fit the comparison of scans with a model's training data, and set when it raises an alarm."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dmri7t.evaluation.simulated import scan_of
from dmri7t.models import inputs
from dmri7t.models.box import Box
from dmri7t.models.fitted import Alarms
from dmri7t.models.novelty import (
    CELL,
    LIMIT,
    RESEMBLES,
    Cells,
    Compared,
    Novelty,
    cells_of,
    whiten,
)
from dmri7t.models.translator import Translator
from dmri7t.signal.coherence import coherent_rish
from dmri7t.signal.slices import slice_loss
from dmri7t.simulation import faults
from dmri7t.simulation.acquisition import draw_protocol
from dmri7t.simulation.faults import Lesion, Volumes
from dmri7t.simulation.patches import Patch, draw_patches

FIRST_TRAINING_SEED = 0
"""Training cells are of the first training seeds."""

FIRST_THRESHOLD_SEED = 1_550_000
"""Subjects on whom thresholds are set have seeds from here on."""

FIRST_CHECK_SEED = 1_760_000
"""Subjects on whom alarms are counted have seeds from here on."""

LEVEL = 0.01
"""False alarms of a scan, in equal parts by each way of comparing."""

KEPT_CELLS = 2000
"""Training cells to which distances are measured."""

CELLS_A_SCAN = 400
"""Cells of a scan that take part in a fit."""

RIDGE = 3e-3
"""Weight of the penalty on how expectations depend on the scan, over the number of cells."""

WIDTH = 64
"""Of the recognizer's two hidden layers."""

STEPS = 2500

NOISE = 0.5
"""Standard deviation of the noise on what it is shown, over that of each feature."""

DROPOUT = 0.2

LESIONS = {"stroke": faults.STROKE, "oedema": faults.OEDEMA, "cyst": faults.CYST}

CHECKED = (*LESIONS, "slab", "slices")
"""Faults whose detection is measured."""


@attrs.frozen(eq=False)
class Example:
    """Cells of a simulated scan, and which of them are faulty.

    Parameters
    ----------
    cells : Cells
    faulty : Tensor (n,)
        Share of each cell that a fault covers.
    """

    cells: Cells
    faulty: torch.Tensor


@attrs.frozen(eq=False)
class Sampled:
    """Some cells of an example.

    Parameters
    ----------
    features : Tensor (F, k)
    context : Tensor (C,)
    faulty : Tensor (k,) bool
    kind : str
        Of the fault, empty where there is none.
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
    return Volumes(
        b0=patch.b0,
        signal=patch.signal,
        mask=patch.mask.numpy(),
        voxel_sizes=patch.protocol.voxel_sizes,
        bval=float(patch.protocol.bval),
        sigma=float(patch.described.sigma * patch.b0[patch.mask].median()),
        n_b0=patch.protocol.n_b0,
    )


def shell_maps(translator: Translator, patch: Patch, volumes: Volumes) -> dict[str, Any]:
    """What :meth:`dmri7t.models.novelty.Novelty.compare` takes, of a patch with other volumes."""
    scan = scan_of(attrs.evolve(patch, b0=volumes.b0, signal=volumes.signal))
    made = scan.represent()
    maps = {
        "rish_3V": made.rish_LV,
        "noise_3V": made.noise_LV,
        "coherent_9V": coherent_rish(made.sh_CV, scan.mask),
    }
    distance = None
    if translator.samples_drawn:
        box = Box.around(scan.mask, translator.multiple)
        placed = [box.place(values.float(), scan.mask) for values in maps.values()]
        inside = box.place(torch.ones(1, int(scan.mask.sum())), scan.mask)
        stack = inputs.features(*placed, inside, translator.scale.cpu())[None]
        with torch.inference_mode():
            distance = translator.quantized(stack.to(translator.device))[1][0].cpu()
    described = scan.describe(made)
    return {
        **maps,
        "loss_V": slice_loss(scan.signal_NV, scan.mask),
        "mask_XYZ": scan.mask,
        "described": described,
        "code_distance": distance,
    }


def example_of(
    translator: Translator, patch: Patch, volumes: Volumes, place: np.ndarray | None = None
) -> Example:
    """Cells of a patch with other volumes; a fault's place tells which are faulty."""
    cells = cells_of(**shell_maps(translator, patch, volumes))
    faulty = torch.zeros(cells.features.shape[1])
    if place is not None:
        box = Box.around(volumes.mask, CELL)
        both = torch.as_tensor(np.stack([place & volumes.mask, volumes.mask])[..., volumes.mask])
        share = functional.avg_pool3d(box.place(both.float(), volumes.mask)[None], CELL)[0]
        faulty = (share[0] / share[1].clamp_min(0.1))[cells.inside]
    return Example(cells, faulty)


def draw_examples(translator: Translator, seeds: Iterable[int], size: int) -> list[Sampled]:
    """Simulate scans, each as it is and with each kind of fault; keep some cells of each."""
    found = []
    for seed in seeds:
        patch = draw_block(seed, size)
        volumes, rng = volumes_of(patch), np.random.default_rng([seed, 3])
        found.append(sample(example_of(translator, patch, volumes), seed))
        for kind in faults.FAULTS:
            changed, place = faults.draw_fault(kind, volumes, rng)
            found.append(sample(example_of(translator, patch, changed, place), seed, kind))
        print(f"[novelty] subject {seed}", flush=True)
    return found


def sample(example: Example, seed: int, kind: str = "") -> Sampled:
    """Keep some cells of an example, those with and without a fault apart."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(example.faulty), generator=generator)
    clear, hit = (order[test[order]] for test in (example.faulty < 0.01, example.faulty > 0.7))
    chosen = torch.cat([clear[:CELLS_A_SCAN], hit[:CELLS_A_SCAN]])
    context = example.cells.context
    return Sampled(example.cells.features[:, chosen], context, example.faulty[chosen] > 0.5, kind)


def put_fault(name: str, volumes: Volumes, seed: int) -> Volumes:
    """Put a fault of :data:`CHECKED` in the middle of a block's brain."""
    rng = np.random.default_rng([seed, 4])
    depth = np.flatnonzero(volumes.mask.any((0, 1)))
    middle = int(depth[len(depth) // 2])
    if name == "slab":
        return faults.empty_slab(volumes, max(middle - 2, 0), 4)
    if name == "slices":
        n = len(volumes.signal)
        hit = rng.permutation(n)[: max(3, n // 5)]
        return faults.lose_slices(volumes, hit, range(max(middle - 2, 0), middle + 2))
    lesion: Lesion = LESIONS[name]
    # of some places, the one where most of the ball lies in the brain
    inside = np.argwhere(volumes.mask)
    places = [
        faults.ball(volumes, inside[rng.integers(len(inside))], lesion.radius) for _ in range(20)
    ]
    best = max(places, key=lambda place: int(place.sum()))
    return faults.put_lesion(volumes, best, lesion, seed)


def _join(samples: list[Sampled]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All cells of some scans: features (F, n), contexts (C, n), and labels (n, K) by kind."""
    features = torch.cat([s.features for s in samples], 1)
    contexts = [s.context[:, None].expand(-1, len(s.faulty)) for s in samples]
    kinds = torch.eye(len(faults.FAULTS))
    none = torch.zeros(len(faults.FAULTS))
    labels = [
        s.faulty[:, None] * (kinds[faults.FAULTS.index(s.kind)] if s.kind else none)
        for s in samples
    ]
    return features, torch.cat(contexts, 1), torch.cat(labels)


def fit_distance(samples: list[Sampled]) -> dict[str, torch.Tensor]:
    """Fit what features a scan leads one to expect, and choose the training cells to be kept.

    Parameters
    ----------
    samples : list of Sampled
        Of scans without faults.
    """
    features, contexts, _ = _join(samples)
    tensors = {
        "context_mean": contexts.mean(1),
        "context_sd": contexts.std(1).clamp_min(1e-3),
    }
    known = (contexts - tensors["context_mean"][:, None]) / tensors["context_sd"][:, None]
    known = torch.cat([torch.ones_like(known[:1]), known.clamp(-LIMIT, LIMIT)]).double()
    ridge = RIDGE * known.shape[1] * torch.eye(len(known), dtype=known.dtype)
    ridge[0, 0] = 1e-9
    normal = known @ known.T + ridge

    def regress(values: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(normal, known @ values.double().T).T.float()

    tensors["expected"] = regress(features)
    left = features - tensors["expected"] @ known.float()
    # the mean logarithm of a normal variable's size lies 0.635 below that of its spread
    tensors["log_spread"] = regress((left.abs() + 1e-3).log() + 0.635)
    tensors["whitening"] = torch.eye(len(features))
    standard = whiten(features, contexts, tensors)
    values, vectors = torch.linalg.eigh(torch.cov(standard.T))
    # directions of hardly any variance would make noise of rounding
    tensors["whitening"] = vectors / values.clamp_min(0.05).sqrt()
    tensors["training_cells"] = cover(standard @ tensors["whitening"], KEPT_CELLS)
    return tensors


def cover(cells: torch.Tensor, n: int, most: int = 50_000) -> torch.Tensor:
    """Choose ``n`` of the cells (N, F) such that every other one has a chosen one near it.

    One after another the cell farthest from all chosen ones (Gonzalez 1985, Theor Comput Sci
    38:293): rare cells are kept as well as common ones.
    """
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    cells = cells[order[:most]]
    chosen = [0]
    distance = (cells - cells[0]).square().sum(1)
    while len(chosen) < min(n, len(cells)):
        farthest = int(distance.argmax())
        chosen.append(farthest)
        distance = torch.minimum(distance, (cells - cells[farthest]).square().sum(1))
    return cells[chosen]


def fit_recognizer(samples: list[Sampled]) -> dict[str, torch.Tensor]:
    """Train a small network to tell cells with each kind of fault from others.

    Without much noise on its input and dropout it grows so sure of itself that cells of scans
    that it was not shown reach high odds, which then set the thresholds.
    """
    features, contexts, labels = _join(samples)
    seen = torch.cat([features, contexts]).T
    mean, sd = seen.mean(0), seen.std(0).clamp_min(1e-3)
    seen = ((seen - mean) / sd).clamp(-LIMIT, LIMIT)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = (seen.shape[1], WIDTH, WIDTH, labels.shape[1])
        layers = [nn.Linear(*pair) for pair in pairwise(widths)]
        hidden = [(layer, nn.ReLU(), nn.Dropout(DROPOUT)) for layer in layers[:-1]]
        network = nn.Sequential(*chain(*hidden), layers[-1])
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            chosen = torch.randint(len(seen), (1024,))
            shown = seen[chosen] + NOISE * torch.randn(1024, seen.shape[1])
            loss = functional.binary_cross_entropy_with_logits(network(shown), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    tensors = {"input_mean": mean, "input_sd": sd}
    for i, layer in enumerate(layers):
        tensors |= {f"weight{i}": layer.weight.detach(), f"bias{i}": layer.bias.detach()}
    return tensors


def fit_threshold(maps: list[torch.Tensor], level: float) -> dict[str, float]:
    """Fit the distribution of the largest value of a scan, and how it grows with the brain.

    Parameters
    ----------
    maps : list of Tensor (x, y, z)
        Of simulated blocks; zero where there is no cell.
    level : float
        Of false alarms.

    Returns
    -------
    dict
        See :meth:`dmri7t.models.novelty.Novelty.threshold`.
    """
    n = np.array([max(int((m != 0).sum()), 1) for m in maps], float)
    cells = float(np.median(n))
    largest = np.array([float(m.max()) for m in maps])
    # the largest of a block over that of its octants: what eight times as many cells add
    growth = np.mean([float(m.max()) - _octants(m) for m in maps]) / np.log(8)
    largest = largest - growth * np.log(n / cells)
    middle, high = np.quantile(largest, [0.5, 0.95])
    reduced = -np.log(-np.log([0.5, 0.95]))
    scale = float((high - middle) / (reduced[1] - reduced[0]))
    location = float(middle - scale * reduced[0])
    return {
        "location": location,
        "scale": max(scale, 1e-6),
        "growth": max(float(growth), 0.0),
        "cells": cells,
        "level": level,
    }


def _octants(volume: torch.Tensor) -> float:
    """Mean over the eight parts of a volume of their largest value."""
    parts = [volume]
    for axis in range(3):
        parts = [half for part in parts for half in part.tensor_split(2, axis)]
    return float(np.mean([float(part.max()) for part in parts if part.any()] or [0.0]))


def fit_novelty(
    translator: Translator,
    folder: Path,
    n_training: int = 400,
    n_threshold: int = 200,
    n_check: int = 60,
    size: int = 32,
) -> Alarms:
    """Fit the comparison on simulated scans and write it into the model's folder.

    The bundle has to be written anew after that, as a file of it changed.

    Parameters
    ----------
    translator : Translator
        The trained model.
    folder : Path
        Of the model.
    n_training, n_threshold, n_check : int
        Subjects whose cells are remembered, on whom thresholds are set, and on whom alarms are
        counted.
    size : int
        Edge of the simulated blocks in 3T voxels.
    """
    first = FIRST_TRAINING_SEED
    samples = draw_examples(translator, range(first, first + n_training), size)
    print(f"[novelty] {n_training} subjects with and without faults", flush=True)
    whole = [s for s in samples if not s.faulty.any()]
    tensors = {**fit_distance(whole), **fit_recognizer(samples)}
    novelty = Novelty(tensors, {})
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in RESEMBLES}
    for seed in range(FIRST_THRESHOLD_SEED, FIRST_THRESHOLD_SEED + n_threshold):
        patch = draw_block(seed, size)
        cells = cells_of(**shell_maps(translator, patch, volumes_of(patch)))
        for found, value in zip(maps.values(), novelty.values(cells), strict=True):
            # zero stands for where there is no cell
            found.append(cells.place(value.clamp_min(1e-6)))
    print(f"[novelty] thresholds on {n_threshold} subjects", flush=True)
    thresholds = {name: fit_threshold(found, LEVEL / len(maps)) for name, found in maps.items()}
    novelty = Novelty(tensors, thresholds)
    novelty.save(folder)
    none, detected = check(translator, novelty, n_check, size)
    return Alarms(subjects=n_threshold, checked=n_check, false_alarms=none, detected=detected)


def check(
    translator: Translator, novelty: Novelty, n: int, size: int
) -> tuple[float, dict[str, float]]:
    """Count alarms on other simulated subjects: the share without faults, and with each of some."""
    alarms: dict[str, list[bool]] = {name: [] for name in ("none", *CHECKED)}
    for seed in range(FIRST_CHECK_SEED, FIRST_CHECK_SEED + n):
        patch = draw_block(seed, size)
        volumes = volumes_of(patch)
        for name, found in alarms.items():
            changed = volumes if name == "none" else put_fault(name, volumes, seed)
            compared: Compared = novelty.compare(**shell_maps(translator, patch, changed))
            found.append(compared.flagged)
    shares = {name: float(np.mean(found)) if found else 0.0 for name, found in alarms.items()}
    return shares.pop("none"), shares
