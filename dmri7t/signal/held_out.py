"""Directions that are left out and foretold: the sums from which shares and errors follow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import numpy as np
import torch

from dmri7t.signal.gradients import split_directions
from dmri7t.signal.harmonics import basis_matrix, n_coefficients, order_for, order_of
from dmri7t.signal.resample import bounding_box
from dmri7t.signal.shell import ShellSignal

SETS = 4
"""Sets that the directions are parted into; a power of two."""

MOST_VOXELS = 100_000
"""Voxels that take part: of a larger brain its middle slices."""

SWEEPS = 200
"""Rounds of coordinate descent: shares are few, and a round costs nothing."""

LEAST_ERROR = 0.05
"""Error of interpolation over the noise of a volume, below which ratios of errors mean nothing."""


@attrs.frozen
class HeldOutError:
    """How far an estimate is off what was measured along directions that it was not given.

    Parameters
    ----------
    name : str
        Of the estimate.
    ratio : float
        Mean squared error over that of interpolation, the noise of what was measured taken off
        both.
    standard_error : float
        Of the ratio, from how it varies with the direction.
    """

    name: str
    ratio: float
    standard_error: float


@attrs.frozen
class Evidence:
    """What directions that were left out say of a shell.

    Parameters
    ----------
    shares : tuple of tuples of float
        For every refinement, what part of it each order takes, from order 0 on.
    errors : tuple of HeldOutError
        Of every refinement taken whole, and of ``result``, the mixture, with shares that were
        fitted without the directions that are foretold. Empty where interpolation has too little
        error for a ratio.
    beside : tuple of HeldOutError
        Of another estimate and of the result beside it, on one set of directions and in a block
        in the middle of the brain; empty where the other cannot be made.
    coarser : tuple of HeldOutError
        Of ``filter``, ``model`` and ``result`` of the scan made coarser, on its own grid, over
        the error of interpolation from there. Empty where the output's grid is no finer.
    factor : float
        By how much coarser.
    rish_shares : tuple of float
        What part of the model's RISH the maps of RISH take, order by order; empty where that
        could not be measured.
    interpolation : float
        Mean squared error of interpolation over the mean squared signal, noise taken off both.
    voxels : int
        That took part.
    reason : str
        Why nothing could be measured; empty where it was.
    """

    shares: tuple[tuple[float, ...], ...]
    errors: tuple[HeldOutError, ...] = ()
    beside: tuple[HeldOutError, ...] = ()
    coarser: tuple[HeldOutError, ...] = ()
    factor: float = 1.0
    rish_shares: tuple[float, ...] = ()
    interpolation: float = 0.0
    voxels: int = 0
    reason: str = ""


@attrs.frozen(eq=False)
class Terms:
    """Sums over voxels from which the error of every mixture follows; N left-out directions.

    Parameters
    ----------
    gram_NJJ, product_NJ : ndarray
        Mean products of the refinements' J parts (refinement by refinement, order by order) with
        each other, and with what the fit leaves of the measured signal.
    error_N : ndarray
        Mean square of what the fit leaves.
    """

    gram_NJJ: np.ndarray
    product_NJ: np.ndarray
    error_N: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Terms]) -> Terms:
        """Put the directions of several sets together."""
        names = [field.name for field in attrs.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def change(self, shares_J: np.ndarray) -> np.ndarray:
        """By how much a mixture changes the error of every direction, (N,)."""
        quadratic_N = np.einsum("a,nab,b->n", shares_J, self.gram_NJJ, shares_J)
        return quadratic_N - 2 * self.product_NJ @ shares_J

    def shares(self, n: int) -> np.ndarray:
        """Shares of ``n`` refinements between 0 and 1 of least error, ties at zero, (J,).

        A refinement of what is not taken is not taken either.
        """
        allowed_KL = np.ones((n, self.product_NJ.shape[1] // n), bool)
        while True:
            shares_J = self._least_squares(allowed_KL.ravel())
            taken_KL = np.cumprod(shares_J.reshape(n, -1) > 0, axis=0, dtype=bool)
            allowed_KL &= taken_KL
            doubtful = [
                j for j in np.flatnonzero(allowed_KL.ravel()) if not self._earns(shares_J, int(j))
            ]
            if not doubtful and np.array_equal(taken_KL.ravel(), shares_J > 0):
                return shares_J
            if doubtful:
                # one at a time, the last refinement first: the others may earn its place
                allowed_KL.ravel()[doubtful[-1]] = False

    def _earns(self, shares_J: np.ndarray, j: int) -> bool:
        """Whether leaving one share out raises the error by more than one standard error."""
        without_J = shares_J.copy()
        without_J[j] = 0
        loss_N = self.change(without_J) - self.change(shares_J)
        return mean_of(loss_N) > standard_error(loss_N)

    def _least_squares(self, allowed: np.ndarray) -> np.ndarray:
        """Solve for the shares that are allowed, each held between 0 and 1."""
        gram_JJ, product_J = self.gram_NJJ.mean(0), self.product_NJ.mean(0)
        shares_J = np.zeros(len(product_J))
        for _ in range(SWEEPS):
            for j in np.flatnonzero(allowed & (np.diag(gram_JJ) > 0)):
                rest = product_J[j] - gram_JJ[j] @ shares_J + gram_JJ[j, j] * shares_J[j]
                shares_J[j] = np.clip(rest / gram_JJ[j, j], 0, 1)
        return shares_J


def carried_up(shares_J: np.ndarray, terms: Terms, n: int) -> np.ndarray:
    """Give orders that nothing was measured of the share of the next lower one, (K, L)."""
    shares_KL = shares_J.reshape(n, -1).copy()
    seen_L = (np.diag(terms.gram_NJJ.mean(0)).reshape(n, -1) > 0).max(0)
    for level in range(1, shares_KL.shape[1]):
        if not seen_L[level]:
            shares_KL[:, level] = shares_KL[:, level - 1]
    return shares_KL


def mean_of(values_N: np.ndarray) -> float:
    return float(values_N.mean())


def standard_error(values_N: np.ndarray) -> float:
    """Standard error of a mean."""
    return float(values_N.std(ddof=1) / len(values_N) ** 0.5)


def part_directions(directions_N3: np.ndarray, n_sets: int = SETS) -> list[list[int]]:
    """Part directions into sets that are each spread well.

    Parameters
    ----------
    directions_N3 : ndarray (N, 3)
    n_sets : int
        A power of two.

    Returns
    -------
    list of lists of int
        Indices; every direction is in one set.
    """
    sets = [list(range(len(directions_N3)))]
    while len(sets) < n_sets:
        sets = [
            [part[i] for i in half]
            for part in sets
            for half in split_directions(directions_N3[part])
        ]
    return sets


def middle_slab(measured: ShellSignal, most: int = MOST_VOXELS) -> ShellSignal:
    """Return the middle slices of a brain along its third axis, up to about ``most`` voxels.

    A smaller brain comes back whole.
    """
    mask = measured.brain.mask
    if measured.brain.n_voxels <= most:
        return measured
    filled = np.cumsum(mask.sum((0, 1)))
    first = int(np.searchsorted(filled, (filled[-1] - most) / 2))
    last = int(np.searchsorted(filled, (filled[-1] + most) / 2))
    box = (slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(first, max(last, first + 1)))
    return measured.crop(box)


def middle_part(measured: ShellSignal, most: int) -> ShellSignal:
    """Return the middle of a brain, alike in all directions, of about ``most`` voxels.

    Its box is that of the brain, shrunk evenly; a smaller brain comes back whole. The middle is
    fuller than the rim: there may be half as many more.
    """
    if measured.brain.n_voxels <= most:
        return measured
    shrunk = (most / measured.brain.n_voxels) ** (1 / 3)
    starts, stops = bounding_box(measured.brain.mask, 0)
    return middle_box(
        measured,
        [max(1, round(shrunk * (b - a))) for a, b in zip(starts, stops, strict=True)],
    )


def middle_box(measured: ShellSignal, edges: Sequence[int]) -> ShellSignal:
    """Return the middle of the brain's box, of at most so many voxels along each axis."""
    starts, stops = bounding_box(measured.brain.mask, 0)
    slices = []
    for start, stop, edge in zip(starts, stops, edges, strict=True):
        first = max(int(start), (int(start) + int(stop) - edge) // 2)
        slices.append(slice(first, min(first + edge, int(stop))))
    return measured.crop((slices[0], slices[1], slices[2]))


def without(measured: ShellSignal, left_out: Sequence[int]) -> ShellSignal:
    """Leave some directions out of a shell."""
    kept = [i for i in range(len(measured.directions_N3)) if i not in set(left_out)]
    return attrs.evolve(
        measured,
        signal_NV=measured.signal_NV[kept],
        directions_N3=measured.directions_N3[kept],
    )


def foretell(
    measured: ShellSignal,
    left_out: Sequence[int],
    made: Sequence[torch.Tensor],
    counted_V: torch.Tensor | slice = slice(None),
) -> Terms:
    """Foretell one set of directions by estimates made of the others, at the voxels that count."""
    fitted_CV, *refined = (sh_CV[:, counted_V] for sh_CV in made)
    order = order_of(len(fitted_CV))
    basis = basis_matrix(measured.directions_N3[list(left_out)], order)
    basis_NC = torch.as_tensor(basis, dtype=fitted_CV.dtype)
    # the whole shell may carry orders that what is left of it does not: they foretell nothing
    whole = order_for(len(measured.directions_N3))
    levels = range(0, max(order, whole) + 1, 2)
    parts = [slice(n_coefficients(level - 2), n_coefficients(level)) for level in levels]
    steps = [after - before for before, after in pairwise([fitted_CV, *refined])]
    rest_NV = measured.signal_NV[list(left_out)][:, counted_V] - basis_NC @ fitted_CV
    # of an order that the whole shell fits and what is left does not, the step is another one
    told = [
        level > whole or bool(fitted_CV[part].any())
        for level, part in zip(levels, parts, strict=True)
    ]
    # all directions at once: the steps are read from memory once
    foretold = [
        basis_NC[:, part] @ step_CV[part] * says
        for step_CV in steps
        for part, says in zip(parts, told, strict=True)
    ]
    parts_NJV = torch.stack(foretold, 1) if foretold else rest_NV[:, None][:, :0]
    n_voxels = rest_NV.shape[1]
    gram_NJJ = torch.bmm(parts_NJV, parts_NJV.mT).double() / n_voxels
    product_NJ = torch.bmm(parts_NJV, rest_NV[:, :, None])[..., 0].double() / n_voxels
    error_N = rest_NV.square().mean(1).double()
    return Terms(gram_NJJ.numpy(), product_NJ.numpy(), error_N.numpy())


def cross_validated(parts: Sequence[Terms], n: int) -> np.ndarray:
    """Change of the error by shares that were fitted without the directions foretold, (N,)."""
    return np.concatenate(
        [part.change(Terms.join([p for p in parts if p is not part]).shares(n)) for part in parts]
    )


def as_rows(shares_KL: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(share) for share in row) for row in shares_KL)


def ratios_of(
    changes: dict[str, np.ndarray], plain: float, noise: float
) -> tuple[HeldOutError, ...]:
    """Errors over that of interpolation, ``plain``, of which the noise was taken off."""
    if plain <= LEAST_ERROR * noise**2:
        return ()
    return tuple(
        HeldOutError(name, 1 + mean_of(change_N) / plain, standard_error(change_N) / plain)
        for name, change_N in changes.items()
    )
