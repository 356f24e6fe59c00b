"""How much of a model's sharpening a scan supports: it is asked where it was made coarser.

How sharp a finer grid should be cannot be told this way: what was left out is as coarse as the
rest. So the scan is made coarser, by the step that leads to the output's grid; estimates of it,
brought back to its own grid, foretell left-out directions as they were measured. What helps there
is taken to help on the next step: a scan is its own example, as in zero-shot
super-resolution (Shocher et al. 2018, CVPR).

Maps of RISH are asked for by themselves (:func:`weigh_rish`): a voxel whose direction is uncertain
wants small coefficients, not small RISH.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch

from dmri7t.signal.coarse import coarsen
from dmri7t.signal.gradients import split_directions
from dmri7t.signal.held_out import (
    Evidence,
    Terms,
    as_rows,
    carried_up,
    cross_validated,
    foretell,
    mean_of,
    middle_part,
    part_directions,
    ratios_of,
    standard_error,
    without,
)
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.reference import Reference
from dmri7t.signal.shell import Brain, ShellSignal

MOST_VOXELS = 40_000
"""Voxels that take part, about, of a larger brain its middle: the networks run on them six times.
Slices would be too thin to be made coarser."""

FEWEST_HALVED = 14
"""Directions of which a half still says what its noise is."""

NOT_SHOWN = 1.0
"""Share of the model's RISH where halves are too small to show an order, which is order 4: of so
few directions the scan's own is nearly all noise. In simulated scans, and in the one real series
whose other directions could tell, the model's was nearer to the truth."""

CHUNKS = 8
"""Parts of the brain whose spread says how sure a gain in RISH is."""

RIM = 2
"""Voxels of the image's faces that do not count: a coarser one knows nothing beyond them."""

FinerEstimates = Callable[[ShellSignal, Brain], Sequence[torch.Tensor]]
"""Makes estimates on the finer grid of a brain: the fit as it is, what is passed on without the
model, and with it."""

RishEstimates = Callable[[ShellSignal, Brain], tuple[torch.Tensor, torch.Tensor]]
"""Makes RISH (3, V) on the grid of a brain: without the model, and the model's."""


@attrs.frozen(eq=False)
class Coarsened:
    """The middle of a shell, and what it would be on larger voxels.

    Parameters
    ----------
    part : ShellSignal
    coarse : ShellSignal
        The same directions, on larger voxels.
    factor : float
        By how much larger, along each axis; 1: it is the part itself.
    """

    part: ShellSignal
    coarse: ShellSignal
    factor: float

    @classmethod
    def of(cls, measured: ShellSignal, factor: float) -> Coarsened:
        """Make the middle of a shell coarser."""
        part = middle_part(measured, MOST_VOXELS)
        return cls(part, coarsen(part, factor) if factor > 1 else part, factor)


def weigh_finer(shell: Coarsened, estimates: FinerEstimates, noise: float) -> Evidence:
    """Measure what part of a model's sharpening a shell supports.

    Parameters
    ----------
    shell : Coarsened
        By how much finer the output's grid is.
    estimates : callable
        Makes three estimates of the coarser shell on the shell's own grid.
    noise : float
        Standard deviation of the noise of a volume, in units of the scanner.

    Returns
    -------
    Evidence
        Shares of the model alone; errors in ``coarser``.
    """
    part, coarse = shell.part, shell.coarse
    counted_V = _inner(part)
    parts, interpolated = [], []
    for left_out in part_directions(part.directions_N3):
        plain_CV, *made = estimates(without(coarse, left_out), part.brain)
        parts.append(foretell(part, left_out, made, counted_V))
        interpolated.append(foretell(part, left_out, [plain_CV], counted_V).error_N)
    terms, plain_N = Terms.join(parts), np.concatenate(interpolated)
    shares_KL = carried_up(terms.shares(1), terms, 1)
    gained_N = terms.error_N - plain_N
    changes = {
        "filter": gained_N,
        "model": gained_N + terms.change(np.ones(shares_KL.size)),
        "result": gained_N + cross_validated(parts, 1),
    }
    return Evidence(
        shares=as_rows(shares_KL),
        coarser=ratios_of(changes, mean_of(plain_N) - noise**2, noise),
        factor=shell.factor,
    )


def weigh_rish(
    shell: Coarsened, estimates: RishEstimates, noise: float, b0_V: torch.Tensor | None = None
) -> tuple[float, ...]:
    """Measure what part of a model's RISH a shell supports, one half of its directions against
    the other.

    RISH of the other half are as they were measured, without their noise's share: their mean is
    the truth's.

    Parameters
    ----------
    shell : Coarsened
        The half that is given is of the coarser one.
    estimates : callable
        Makes RISH without the model and the model's, on the shell's own grid.
    noise : float
        Standard deviation of the noise of a volume, in units of the scanner.
    b0_V : Tensor (V,), optional
        Mean b0 of ``shell.part``, filtered: both halves share the noise of the measured one, and
        an estimate that keeps it would pass for the better one.

    Returns
    -------
    tuple of three floats
        Between 0 and 1, 0 where the gain is within one standard error of nothing. Orders that a
        half does not show have :data:`NOT_SHOWN`. Empty for fewer than :data:`FEWEST_HALVED`
        directions.
    """
    if len(shell.part.directions_N3) < FEWEST_HALVED:
        return ()
    part, coarse = shell.part, shell.coarse
    counted_V = _inner(part) & (part.b0_V > part.b0_V.median() / 2)
    halves = split_directions(part.directions_N3)
    grams, products, orders = [], [], 0
    for kept, left_out in (halves, halves[::-1]):
        own_3V, model_3V = estimates(without(coarse, left_out), part.brain)
        reference = Reference.of(without(part, kept), noise, b0_V)
        shown, orders = torch.arange(len(ORDERS)) < reference.orders, max(orders, reference.orders)
        step_3V = (model_3V - own_3V)[:, counted_V] * shown[:, None]
        rest_3V = (reference.rish_3V - own_3V)[:, counted_V]
        grams.append(_chunks(step_3V.square()))
        products.append(_chunks(step_3V * rest_3V))
    gram_3K, product_3K = torch.cat(grams, 1).numpy(), torch.cat(products, 1).numpy()
    shares: list[float] = []
    for gram_K, product_K in zip(gram_3K[:orders], product_3K[:orders], strict=True):
        if not gram_K.any():
            shares.append(0.0)
            continue
        share = float(np.clip(product_K.sum() / gram_K.sum(), 0, 1))
        gain_K = 2 * share * product_K - share**2 * gram_K
        shares.append(share if mean_of(gain_K) > standard_error(gain_K) else 0.0)
    return (*shares, *[NOT_SHOWN] * (len(ORDERS) - orders))


def _chunks(values_3V: torch.Tensor) -> torch.Tensor:
    """Means over parts of the brain that lie apart, (3, K)."""
    return torch.stack([part.double().mean(1) for part in values_3V.tensor_split(CHUNKS, 1)], 1)


def _inner(part: ShellSignal) -> torch.Tensor:
    """Voxels (V,) away from the faces of the image: a coarser one knows nothing beyond them."""
    mask = part.brain.mask
    inner = np.zeros_like(mask)
    inner[tuple(slice(RIM, -RIM) if n > 4 * RIM else slice(None) for n in mask.shape)] = True
    return torch.as_tensor(inner[mask])
