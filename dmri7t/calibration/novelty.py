"""Fit the comparison of scans with a model's training data, and set when it raises an alarm."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dmri7t.calibration.examples import (
    CHECKED,
    NoveltyExample,
    compared_with,
    draw_block,
    draw_examples,
    put_fault,
    volumes_of,
)
from dmri7t.models.fitted import Alarms
from dmri7t.models.novelty import LIMIT, RESEMBLES, Compared, Novelty, Threshold, cells_of, whiten
from dmri7t.models.translator import Translator
from dmri7t.progress import track
from dmri7t.simulation.faults import FAULTS
from dmri7t.simulation.subjects import NOVELTY_CHECK, NOVELTY_THRESHOLDS, TRAINING

LEVEL = 0.01
"""False alarms of a scan, in equal parts by each way of comparing."""

KEPT_CELLS = 2000
"""Training cells to which distances are measured."""

RIDGE = 3e-3
"""Weight of the penalty on how expectations depend on the scan, over the number of cells."""

WIDTH = 64
"""Of the recognizer's two hidden layers."""

STEPS = 2500

NOISE = 0.5
"""Standard deviation of the noise on what it is shown, over that of each feature."""

DROPOUT = 0.2


@attrs.frozen
class NoveltySubjects:
    """Seeds of the simulated subjects that take part.

    Parameters
    ----------
    training : range
        Whose cells are remembered: the first ones that models are trained on.
    thresholds : range
        On whom the thresholds are set.
    check : range
        On whom alarms are counted.
    """

    training: range = TRAINING.take(400)
    thresholds: range = NOVELTY_THRESHOLDS.take(200)
    check: range = NOVELTY_CHECK.take(60)


def _join(examples: list[NoveltyExample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All cells of some scans: features (F, n), contexts (C, n), and labels (n, K) by kind."""
    features = torch.cat([e.features for e in examples], 1)
    contexts = [e.context[:, None].expand(-1, len(e.faulty)) for e in examples]
    kinds = torch.eye(len(FAULTS))
    none = torch.zeros(len(FAULTS))
    labels = [
        e.faulty[:, None] * (kinds[FAULTS.index(e.kind)] if e.kind else none) for e in examples
    ]
    return features, torch.cat(contexts, 1), torch.cat(labels)


def fit_distance(examples: list[NoveltyExample]) -> dict[str, torch.Tensor]:
    """Fit what features a scan leads one to expect, and choose the training cells to be kept.

    Parameters
    ----------
    examples : list of NoveltyExample
        Of scans without faults.

    Returns
    -------
    dict of Tensor
        Those of the distance, see :class:`dmri7t.models.novelty.Novelty`.
    """
    features, contexts, _ = _join(examples)
    tensors = {
        "context_mean": contexts.mean(1),
        "context_sd": contexts.std(1).clamp_min(1e-3),
    }
    standard = (contexts - tensors["context_mean"][:, None]) / tensors["context_sd"][:, None]
    standard = standard.clamp(-LIMIT, LIMIT)
    regressors = torch.cat([torch.ones_like(standard[:1]), standard]).double()
    ridge = RIDGE * regressors.shape[1] * torch.eye(len(regressors), dtype=regressors.dtype)
    ridge[0, 0] = 1e-9
    normal = regressors @ regressors.T + ridge

    def regress(values: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(normal, regressors @ values.double().T).T.float()

    tensors["expected"] = regress(features)
    residual = features - tensors["expected"] @ regressors.float()
    # the mean logarithm of a normal variable's size lies 0.635 below that of its spread
    tensors["log_spread"] = regress((residual.abs() + 1e-3).log() + 0.635)
    tensors["whitening"] = torch.eye(len(features))
    whitened = whiten(features, contexts, tensors)
    values, vectors = torch.linalg.eigh(torch.cov(whitened.T))
    # directions of hardly any variance would make noise of rounding
    tensors["whitening"] = vectors / values.clamp_min(0.05).sqrt()
    tensors["training_cells"] = cover(whitened @ tensors["whitening"], KEPT_CELLS)
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


def fit_recognizer(examples: list[NoveltyExample]) -> dict[str, torch.Tensor]:
    """Train a small network to tell cells with each kind of fault from others.

    Without much noise on its input and dropout it grows so sure of itself that cells of scans
    that it was not shown reach high odds, which then set the thresholds.
    """
    features, contexts, labels = _join(examples)
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


def fit_threshold(maps: list[torch.Tensor], level: float) -> Threshold:
    """Fit the distribution of the largest value of a scan, and how it grows with the brain.

    Parameters
    ----------
    maps : list of Tensor (x, y, z)
        Of simulated blocks; zero where there is no cell.
    level : float
        Of false alarms.
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
    return Threshold(
        location=location,
        scale=max(scale, 1e-6),
        growth=max(float(growth), 0.0),
        cells=cells,
        level=level,
    )


def _octants(volume: torch.Tensor) -> float:
    """Mean over the eight parts of a volume of their largest value."""
    parts = [volume]
    for axis in range(3):
        parts = [half for part in parts for half in part.tensor_split(2, axis)]
    return float(np.mean([float(part.max()) for part in parts if part.any()] or [0.0]))


def fit_novelty(
    translator: Translator, folder: Path, subjects: NoveltySubjects, size: int = 32
) -> Alarms:
    """Fit the comparison on simulated scans and write it into the model's folder.

    The bundle has to be written anew after that, as a file of it changed.

    Parameters
    ----------
    translator : Translator
        The trained model.
    folder : Path
        Of the model.
    subjects : NoveltySubjects
    size : int
        Edge of the simulated blocks in 3T voxels.
    """
    examples = draw_examples(translator, subjects.training, size)
    whole = [e for e in examples if not e.faulty.any()]
    tensors = {**fit_distance(whole), **fit_recognizer(examples)}
    novelty = Novelty(tensors, {})
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in RESEMBLES}
    for seed in track(subjects.thresholds, "novelty: thresholds", len(subjects.thresholds)):
        patch = draw_block(seed, size)
        cells = cells_of(*compared_with(translator, patch, volumes_of(patch)))
        for blocks, value in zip(maps.values(), novelty.values(cells), strict=True):
            # zero stands for where there is no cell
            blocks.append(cells.place(value.clamp_min(1e-6)))
    thresholds = {name: fit_threshold(blocks, LEVEL / len(maps)) for name, blocks in maps.items()}
    novelty = Novelty(tensors, thresholds)
    novelty.save(folder)
    false_alarms, detected = check(translator, novelty, subjects.check, size)
    return Alarms(
        subjects=len(subjects.thresholds),
        checked=len(subjects.check),
        false_alarms=false_alarms,
        detected=detected,
    )


def check(
    translator: Translator, novelty: Novelty, seeds: range, size: int
) -> tuple[float, dict[str, float]]:
    """Count alarms on other simulated subjects: the share without faults, and with each of some."""
    alarms: dict[str, list[bool]] = {name: [] for name in ("none", *CHECKED)}
    for seed in track(seeds, "novelty: check", len(seeds)):
        patch = draw_block(seed, size)
        volumes = volumes_of(patch)
        for name, flagged in alarms.items():
            changed = volumes if name == "none" else put_fault(name, volumes, seed)
            compared: Compared = novelty.compare(*compared_with(translator, patch, changed))
            flagged.append(compared.flagged)
    shares = {name: float(np.mean(flags)) if flags else 0.0 for name, flags in alarms.items()}
    return shares.pop("none"), shares
