"""Cases of single real scans: one half of the directions, degraded, against the other half.

The noise of the two halves is independent, so a method gains nothing by keeping its input's
noise. The reference is noisy too: no method reaches zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import torch

from dmri7t.evaluation.case import Case, HeldOut, ReferenceNoise
from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.evaluation.perfect import perfect_answer
from dmri7t.evaluation.tensors import TensorReference
from dmri7t.io.opened import open_checked
from dmri7t.io.source import open_dataset
from dmri7t.progress import note
from dmri7t.signal.filter import filter_shell
from dmri7t.signal.floor import floor_of
from dmri7t.signal.gradients import split_directions
from dmri7t.signal.represent import floor_b0, mean_signal, normalize, scanner_noise
from dmri7t.signal.shell import Shell, ShellSignal
from dmri7t.training.halves import FEWEST, Degradation, Half, read_halves

CROPS = (1.19, 1.5)
"""By how much k-space is cropped along each axis; 1.25 over 1.05 is 1.19."""


def degraded_cases(
    root: Path,
    degradations: Sequence[Degradation] = tuple(map(Degradation, CROPS)),
    truth: Path | None = None,
) -> Iterator[Case]:
    """Cases of all scans of a BIDS data set, with halves that are large enough.

    Parameters
    ----------
    root : Path
    degradations : sequence of Degradation
    truth : Path, optional
        The same (simulated) heads without noise: what a perfect answer scores is measured too.
    """
    source = open_dataset(root)
    for label in source.labels:
        for scan in source.scans(label):
            with open_checked(scan) as opened:
                for shell in opened.shells:
                    halves = split_directions(opened.table.directions[list(shell.indices)])
                    if len(halves[1]) < FEWEST:
                        note(
                            f"[evaluate] {scan.stem} {shell.name}: skipped, {len(shell)} "
                            f"directions make no two halves of {FEWEST}"
                        )
                        continue
                    perfect = None
                    if truth:
                        perfect = perfect_answer(truth, label, scan.stem, opened, shell)
                    for case in _cases(*read_halves(opened, shell, halves), degradations):
                        yield attrs.evolve(
                            case, subject=scan.stem, shell=shell.name, perfect=perfect
                        )


def _cases(given: Half, kept: Half, degradations: Sequence[Degradation]) -> Iterator[Case]:
    """One half degraded in several ways, against the other as it was measured."""
    from scipy.ndimage import binary_erosion

    measured = kept.measured
    shell, other = Shell.from_signal(measured), Shell.from_signal(given.measured)
    # directions and b-value alone tell how signals are made of coefficients
    along = ShellScan.of(given.measured, given.measured.brain)
    # below order 4 crossings and sharp bundles are missing
    partial = min(shell.plan.order, other.plan.order) < 4
    shown = min(len(shell.sh_CV), len(other.sh_CV))
    held_out = HeldOut(
        normalize(measured.signal_NV, measured.b0_V),
        measured.directions_N3,
        other.sh_CV,
        TensorReference.of(
            Estimate.measured(other), Estimate.measured(shell), along, shown if partial else None
        ),
        ReferenceNoise(shell.sigma_V.square(), len(measured.directions_N3), shell.plan.noise_L)
        if partial
        else None,
    )
    truth, counted = Estimate.measured(shell), binary_erosion(measured.brain.mask)
    one_b0 = torch.equal(measured.b0_V, given.measured.b0_V)
    shared_b0_V = floor_b0(measured.b0_V) if one_b0 else None
    floor = _floor(measured, shell)
    volumes = given.volumes()
    for degradation in degradations:
        scan = ShellScan.of(degradation.apply(given, volumes), given.measured.brain)
        orders = min(shell.n_orders, scan.represent().n_orders)
        yield Case(
            "",
            "",
            scan,
            truth,
            counted,
            orders,
            degradation.name,
            held_out,
            shared_b0_V=shared_b0_V,
            floor=floor,
        )


def _floor(measured: ShellSignal, shell: Shell) -> float:
    """Standard deviation, in scanner units, of the noise whose floor a shell has."""
    filtered = filter_shell(measured, shell)
    mean_V = mean_signal(filtered.sh_CV, filtered.b0_V)
    return floor_of(mean_V, measured.brain.mask, scanner_noise(shell.sigma_V, measured.b0_V))
