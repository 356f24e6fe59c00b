"""Whether effects survive: a bundle whose FA is lower in one group, lesions, crossings, repeats.

Every simulated head is scanned three times: as it is, with a change that is known, and as it is
once more. The first two share noise and flaws of the scan: the mean of what a method makes of
them is the same as with noise of their own each, and few heads tell it. The third has its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import pandas as pd
import torch

from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.evaluation.methods import Method
from dmri7t.evaluation.peaks import Deconvolution, agreement
from dmri7t.evaluation.repeatability import repeatability
from dmri7t.evaluation.tensors import TISSUE
from dmri7t.progress import Progress
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.resample import bounding_box
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain
from dmri7t.simulation.acquisition import (
    Block,
    Contrast,
    Protocol,
    hcp_protocol,
    random_rotation,
    render,
    spread_directions,
)
from dmri7t.simulation.fields import Axes
from dmri7t.simulation.head import Head
from dmri7t.simulation.patches import axes_grid, block_axes, centre_inside, measure, measured

SIZE = 32
"""Edge of a block, 3T voxels."""

VOXEL, DIRECTIONS, N_B0, SNR = 2.0, 32, 4, 20.0
"""A scan that a laboratory might have: mm, directions of b = 1000, b0s, SNR of the b0."""

LESS = 0.08
"""By how much the bundle's harmonics of order 2 and up are smaller; its FA is then 5 % lower."""

BUNDLE, CORE = 7.0, 5.0
"""Radius of the bundle's piece that is changed, and of that whose FA is taken, mm."""

LESIONS = (2.0, 4.0, 6.0)
"""Radii of the lesions, mm."""

FADES = 1.0
"""A change fades over so much beyond its radius, mm."""

DARKER, ROUNDER = 0.15, 0.3
"""By how much the signals of a lesion are smaller, and those of order 2 and up besides."""

AROUND = (2.0, 5.0)
"""A lesion's surroundings: from here to there beyond it, mm."""

RIM = 8.0
"""No change has its centre nearer to the block's border, mm."""

COHERENT = 0.4
"""Changes lie where order 2 has at least so much of its largest value, in a mean over a ball."""

MARGIN = 4
"""Voxels of the output at a block's border that do not count for peaks and repeats."""

CROSSINGS = 150
"""Voxels of each head whose peaks are looked at."""

CLEARLY = 40.0
"""Degrees between two peaks of the truth that make a crossing."""

GROUP = "bundle FA"
"""The effect by which two groups differ."""

SPREAD = "spread of errors"
"""Column: standard deviation, over a bundle's voxels, of what FA is off by."""

CONTRASTS = tuple(f"{name} {radius:g} mm" for name in ("FA", "MD", "R0") for radius in LESIONS)
"""Lesions' contrasts, by what is looked at and the lesion's radius."""

EFFECTS = (GROUP, *CONTRASTS)
"""What is looked for."""

TRUTH = "truth"
"""Name of the answer without noise."""

PLAIN, CHANGED = "as it is", "changed"
"""The two groups."""


@attrs.frozen(eq=False)
class Ball:
    """A ball in a head.

    Parameters
    ----------
    centre_3 : ndarray (3,)
        mm.
    radius : float
        mm.
    """

    centre_3: np.ndarray
    radius: float

    def distance(self, axes: Axes) -> torch.Tensor:
        """Distance of voxels (X, Y, Z) from the centre, mm."""
        x, y, z = (
            torch.from_numpy(a - c).float() for a, c in zip(axes, self.centre_3, strict=True)
        )
        squares = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2
        return squares.sqrt()

    def weight(self, axes: Axes) -> torch.Tensor:
        """1 within the radius, down to 0 over :data:`FADES`: (X, Y, Z)."""
        return (1 - (self.distance(axes) - self.radius) / FADES).clamp(0, 1)


@attrs.frozen(eq=False)
class Change:
    """What is changed in a head; no two balls touch.

    Parameters
    ----------
    bundle : Ball
    lesions : tuple of Ball
        In the order of :data:`LESIONS`.
    """

    bundle: Ball
    lesions: tuple[Ball, ...]

    def __call__(self, contrast: Contrast, axes: Axes) -> Contrast:
        """Change what scanners see of a head."""
        b0, shell = contrast
        lesion = sum((ball.weight(axes) for ball in self.lesions), torch.zeros(()))
        darker = 1 - DARKER * lesion
        rounder = (1 - LESS * self.bundle.weight(axes)) * (1 - ROUNDER * lesion)
        return b0, torch.cat([shell[:1] * darker, shell[1:] * darker * rounder])


@attrs.frozen(eq=False)
class Scanned:
    """A head's block without noise, and a noisy scan of it.

    Parameters
    ----------
    scan : ShellScan
    truth : Estimate
    axes : tuple of three ndarrays
        Of the output, mm.
    """

    scan: ShellScan
    truth: Estimate
    axes: Axes


@attrs.frozen(eq=False)
class Visits:
    """One head's three scans.

    Parameters
    ----------
    name : str
    change : Change
    plain, changed : Scanned
        With the same noise.
    again : Scanned
        As it is, with noise of its own.
    """

    name: str
    change: Change
    plain: Scanned
    changed: Scanned
    again: Scanned


def draw_visits(seeds: Sequence[int]) -> Iterator[Visits]:
    """Scan heads, each three times.

    Parameters
    ----------
    seeds : sequence of int
        One a head, from a range of :mod:`dmri7t.simulation.subjects`.
    """
    for seed in seeds:
        rng = np.random.default_rng([seed, 2])
        head, protocol = Head.draw(rng), laboratory(rng)
        while True:
            centre = centre_inside(head.phantom, protocol, SIZE, rng)
            low, high = block_axes(centre, SIZE, protocol)
            block = render(head, protocol, low, high)
            if change := place(block, high):
                break
        changed = render(head, protocol, low, high, alter=change)
        first, second, third = (
            scanned(seen, protocol, low, high, np.random.default_rng([seed, noise]))
            for seen, noise in ((block, 3), (changed, 3), (block, 4))
        )
        yield Visits(f"sim{seed}", change, first, second, third)


def laboratory(rng: np.random.Generator) -> Protocol:
    """Scheme of a usual laboratory, its target the same scan on finer voxels."""
    protocol = hcp_protocol(rng)
    low = attrs.evolve(protocol.low, snr=SNR)
    return attrs.evolve(
        protocol,
        low=low,
        high=low,
        voxel_sizes=np.full(3, VOXEL),
        directions=spread_directions(DIRECTIONS) @ random_rotation(rng).T,
        n_b0=N_B0,
    )


def place(block: Block, axes: Axes) -> Change | None:
    """Choose where: the most anisotropic places, away from each other and from the border.

    Parameters
    ----------
    block : Block
    axes : tuple of three ndarrays
        Of its target, mm.

    Returns
    -------
    Change or None
        None where the block has not enough places.
    """
    inside = block.depth_high > 2
    if not inside.any():
        return None
    sh = block.high[1:] / floor_b0(block.high[0].clamp_min(1e-6)[inside]).median()
    order_2 = rish(sh.flatten(1))[1].view(block.depth_high.shape) * inside
    # the mean over a ball's size, so that no single voxel decides
    edge = 2 * int(LESIONS[0] / (axes[0][1] - axes[0][0])) + 3
    smooth = torch.nn.functional.avg_pool3d(order_2[None], edge, 1, edge // 2)[0]
    for axis, along in enumerate(axes):
        shape = [1, 1, 1]
        shape[axis] = -1
        far = (along >= along[0] + RIM) & (along <= along[-1] - RIM)
        smooth = smooth * torch.from_numpy(far).float().view(shape)
    least, balls = COHERENT * float(smooth.max()), list[Ball]()
    # the largest first, while there is room
    for radius in (BUNDLE, *sorted(LESIONS, reverse=True)):
        if least <= 0 or float(smooth.max()) < least:
            return None
        index = np.unravel_index(int(smooth.argmax()), smooth.shape)
        centre = np.array([along[i] for along, i in zip(axes, index, strict=True)])
        balls.append(Ball(centre, radius))
        # surroundings of the next lesion hold nothing of this change
        gap = radius + FADES + AROUND[1] + max(LESIONS)
        smooth = smooth * (balls[-1].distance(axes) > gap)
    return Change(balls[0], tuple(sorted(balls[1:], key=lambda ball: ball.radius)))


def scanned(
    block: Block, protocol: Protocol, low: Axes, high: Axes, rng: np.random.Generator
) -> Scanned:
    """Measure a block."""
    sizes = protocol.voxel_sizes
    brain = Brain((block.depth > 0).numpy(), axes_grid(low, sizes))
    brain_out = Brain((block.depth_high > 0).numpy(), axes_grid(high, sizes * protocol.ratio))
    noisy = measure(block.low, protocol, low, rng)
    b0, signal = noisy[: protocol.n_b0].mean(0), noisy[protocol.n_b0 :]
    scan = ShellScan.of(measured(b0, signal, protocol, brain), brain_out)
    sampled = brain_out.pick(block.high)
    sh_CV = sampled[1:] / floor_b0(sampled[0])
    return Scanned(scan, Estimate(rish(sh_CV)[:3], sh_CV), high)


def effect_sizes(change: Change, seen: Scanned, estimate: Estimate) -> dict[str, float]:
    """Mean FA of the bundle, lesions' differences to their surroundings, spread of the errors.

    Parameters
    ----------
    change : Change
    seen : Scanned
        With or without the change.
    estimate : Estimate
        An answer to it.

    Returns
    -------
    dict
        :data:`EFFECTS`, MD in um2/ms, R0 as its root; and :data:`SPREAD`.
    """
    inside = torch.as_tensor(seen.scan.brain_out.mask)
    fa_V, md_V = estimate.diffusion(seen.scan)
    maps = {"FA": fa_V, "MD": md_V, "R0": estimate.rish_3V[0].clamp_min(0).sqrt()}
    core_V = change.bundle.distance(seen.axes)[inside] <= CORE
    out = {GROUP: float(fa_V[core_V].mean())}
    for name, values_V in maps.items():
        for lesion in change.lesions:
            beyond_V = lesion.distance(seen.axes)[inside] - lesion.radius
            around_V = (beyond_V >= AROUND[0]) & (beyond_V <= AROUND[1])
            contrast = values_V[beyond_V <= 0].mean() - values_V[around_V].mean()
            out[f"{name} {lesion.radius:g} mm"] = float(contrast)
    off_V = fa_V[core_V] - seen.truth.anisotropy(seen.scan)[core_V]
    return out | {SPREAD: float(off_V.std())}


def inner_voxels(seen: Scanned) -> torch.Tensor:
    """Which voxels (V',) of the output's mask lie away from the border of their box."""
    mask = seen.scan.brain_out.mask
    start, stop = bounding_box(mask)
    box = (slice(a + MARGIN, b - MARGIN) for a, b in zip(start, stop, strict=True))
    x, y, z = box
    return torch.from_numpy(seen.scan.brain_out.within((x, y, z)))


def crossing_peaks(seen: Scanned, estimates: dict[str, Estimate]) -> list[dict[str, object]]:
    """Peaks of every method where the truth's fibres cross.

    Parameters
    ----------
    seen : Scanned
    estimates : dict
        Answers by method.

    Returns
    -------
    list of dict
        method, voxels, degrees, missed, false; empty where nothing crosses.
    """
    scan = seen.scan

    def signals(estimate: Estimate, rows_V: np.ndarray) -> np.ndarray:
        sh_CV = estimate.sh_CV[:, torch.from_numpy(rows_V)].float()
        return synthesize(sh_CV, scan.directions_N3).clamp_min(0).T.double().numpy()

    candidates = np.flatnonzero((inner_voxels(seen) & (seen.truth.rish_3V[1] > 0.01)).numpy())
    if not len(candidates):
        return []
    spread = np.random.default_rng(0).permutation(candidates)[: 8 * CROSSINGS]
    csd = Deconvolution.of(signals(seen.truth, candidates), scan.bval, scan.directions_N3)
    truth = csd.peaks(signals(seen.truth, spread))
    crossing = [i for i, found in enumerate(truth) if _crosses(found)][:CROSSINGS]
    if not crossing:
        return []
    right = [truth[i] for i in crossing]
    rows: list[dict[str, object]] = []
    for name, estimate in estimates.items():
        found = agreement(csd.peaks(signals(estimate, spread[crossing])), right)
        rows.append({"method": name, "voxels": len(crossing), **attrs.asdict(found)})
    return rows


def _crosses(peaks: np.ndarray) -> bool:
    if len(peaks) < 2:
        return False
    cosine = np.clip(np.abs(peaks[0] @ peaks[1]), 0, 1)
    return bool(np.degrees(np.arccos(cosine)) >= CLEARLY)


@attrs.frozen(eq=False)
class Found:
    """What was measured, of all heads.

    Parameters
    ----------
    effects : DataFrame
        subject, group, method, :data:`EFFECTS` and :data:`SPREAD`.
    peaks : DataFrame
        subject, method, voxels, degrees, missed, false: of the heads as they are.
    repeats : DataFrame
        subject, method, map, within, between, icc, median: two scans of the heads as they are.
    """

    effects: pd.DataFrame
    peaks: pd.DataFrame
    repeats: pd.DataFrame


def run_effects(seeds: Sequence[int], methods: Sequence[Method], seed: int = 0) -> Found:
    """Measure effects, peaks and repeats.

    Parameters
    ----------
    seeds : sequence of int
        One a head, two at least.
    methods : sequence of Method
    seed : int
        Of the samplers.
    """
    effects: list[dict[str, object]] = []
    peaks: list[dict[str, object]] = []
    repeats: list[dict[str, object]] = []
    progress, done = Progress("effects", 3 * len(seeds) * len(methods)), 0
    progress.show(0, f"{len(methods)} methods; simulating the first head")
    for number, visits in zip(seeds, draw_visits(seeds), strict=True):
        answers: list[dict[str, Estimate]] = []
        for seen in (visits.plain, visits.changed, visits.again):
            estimates, shell = {TRUTH: seen.truth}, seen.scan.represent()
            for method in methods:
                progress.show(done, f"{visits.name}: {method.name}", passing=True)
                estimates[method.name] = method.make(seen.scan, shell, seed + number)
                done += 1
            answers.append(estimates)
        plain, changed, again = answers
        for group, seen, estimates in (
            (PLAIN, visits.plain, plain),
            (CHANGED, visits.changed, changed),
        ):
            for name, estimate in estimates.items():
                told = {"subject": visits.name, "group": group, "method": name}
                effects.append({**told, **effect_sizes(visits.change, seen, estimate)})
        found = crossing_peaks(visits.plain, plain)
        peaks += [{"subject": visits.name} | row for row in found]
        for name in plain:
            rows = _repeats(visits, plain[name], again[name])
            repeats += [{"subject": visits.name, "method": name} | row for row in rows]
        progress.show(done, visits.name)
    return Found(pd.DataFrame(effects), pd.DataFrame(peaks), pd.DataFrame(repeats))


def _repeats(visits: Visits, first: Estimate, second: Estimate) -> list[dict[str, object]]:
    """Repeatability of FA and R2 in tissue: a row a map."""
    scans = (visits.plain.scan, visits.again.scan)
    kept_V = inner_voxels(visits.plain) & (visits.plain.truth.diffusion(scans[0])[1] < TISSUE)
    both = [
        {"FA": estimate.anisotropy(scan)[kept_V], "R2": estimate.rish_3V[1, kept_V]}
        for estimate, scan in zip((first, second), scans, strict=True)
    ]
    return [
        {"map": name} | attrs.asdict(repeatability(both[0][name], both[1][name]))
        for name in both[0]
    ]
