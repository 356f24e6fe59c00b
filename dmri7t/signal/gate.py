"""What a scan itself says of its estimates: directions that are left out are foretold.

The directions of a shell are parted into a few sets, each spread well. One set after the other is
left out, the estimates are made of the rest, and what they say of the left-out volumes is compared
with what was measured there. The noise of those volumes took no part in any estimate, so an error
that is lower there is lower in truth, and nothing need be known of that truth. The fit of what is
left has a little more noise than that of the whole shell: ratios hold for so many directions.

The first estimate is the fit as it is, which is what interpolation passes on. Each further one
refines the one before it, order by order,

    c_l = c0_l + sum over k of a_kl (ck_l - c(k-1)_l),    0 <= a_kl <= 1,

and the shares a that foretell best, by least squares, say what part of each refinement the scan
supports. A share whose gain is within one standard error of nothing is zero: ties go to
interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from dmri7t.signal.harmonics import basis_matrix, order_of
from dmri7t.signal.held_out import (
    Evidence,
    HeldOutError,
    Terms,
    as_rows,
    carried_up,
    cross_validated,
    foretell,
    mean_of,
    middle_box,
    middle_slab,
    part_directions,
    ratios_of,
    without,
)
from dmri7t.signal.shell import ShellSignal

FEWEST = 12
"""Directions from which on some can be left out, and the rest still says enough."""

RIM = 2
"""Voxels of that block's faces that do not count: patches and neighbours end there."""

BLOCK = 24
"""Edge in voxels of the block in the middle of the brain on which slow estimates are compared."""

Estimate = Callable[[ShellSignal], torch.Tensor]
"""Makes coefficients (C, V) of the signal in scanner units."""

Estimates = Callable[[ShellSignal], Sequence[torch.Tensor]]
"""Makes several of them: the fit as it is, then its refinements."""


def middle_block(measured: ShellSignal, edge: int = BLOCK) -> ShellSignal:
    """Return a block in the middle of the brain's box, of at most ``edge`` voxels an axis."""
    return middle_box(measured, (edge,) * 3)


def weigh(
    measured: ShellSignal,
    estimates: Estimates,
    names: Sequence[str],
    noise: float,
    other: tuple[str, Estimate] | None = None,
) -> Evidence:
    """Measure what part of each refinement a shell supports.

    Parameters
    ----------
    measured : ShellSignal
    estimates : callable
        Makes the fit and its refinements of what is left of the shell.
    names : sequence of str
        Of the refinements.
    noise : float
        Standard deviation of the noise of a volume, in units of the scanner.
    other : (str, callable), optional
        An estimate that is compared only.

    Raises
    ------
    ValueError
        If there are fewer than :data:`FEWEST` directions.
    """
    if len(measured.directions_N3) < FEWEST:
        raise ValueError(
            f"{len(measured.directions_N3)} directions: {FEWEST} are needed to leave some out"
        )
    slab = middle_slab(measured)
    sets = part_directions(slab.directions_N3)
    parts = [foretell(slab, left_out, estimates(without(slab, left_out))) for left_out in sets]
    terms = Terms.join(parts)
    shares_KL = carried_up(terms.shares(len(names)), terms, len(names))
    changes = {}
    for number, name in enumerate(names, start=1):
        whole_KL = np.zeros_like(shares_KL)
        whole_KL[:number] = 1
        changes[name] = terms.change(whole_KL.ravel())
    changes["result"] = cross_validated(parts, len(names))
    plain = mean_of(terms.error_N) - noise**2
    power = float(slab.signal_NV.square().mean()) - noise**2
    return Evidence(
        shares=as_rows(shares_KL),
        errors=ratios_of(changes, plain, noise),
        beside=_beside(measured, sets[0], estimates, shares_KL, noise, other) if other else (),
        interpolation=max(plain, 0.0) / max(power, 1e-30),
        voxels=slab.brain.n_voxels,
    )


def _beside(
    measured: ShellSignal,
    left_out: Sequence[int],
    estimates: Estimates,
    shares_KL: np.ndarray,
    noise: float,
    other: tuple[str, Estimate],
) -> tuple[HeldOutError, ...]:
    """Compare the mixture with another estimate on one set of directions, in the middle block."""
    block = middle_block(measured)
    mask = block.brain.mask
    inner = np.zeros_like(mask)
    inner[(slice(RIM, -RIM),) * 3] = True
    counted_V = torch.as_tensor(inner[mask])
    name, estimate = other
    if not counted_V.any():
        return ()
    terms = foretell(block, left_out, estimates(without(block, left_out)), counted_V)
    sh_CV = estimate(without(block, left_out))[:, counted_V]
    basis = basis_matrix(block.directions_N3[list(left_out)], order_of(len(sh_CV)))
    foretold_NV = torch.as_tensor(basis, dtype=sh_CV.dtype) @ sh_CV
    rest_NV = block.signal_NV[list(left_out)][:, counted_V] - foretold_NV
    changes = {
        name: rest_NV.square().mean(1).double().numpy() - terms.error_N,
        "result": terms.change(shares_KL.ravel()),
    }
    return ratios_of(changes, mean_of(terms.error_N) - noise**2, noise)
