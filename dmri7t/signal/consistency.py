"""The result held against what was measured.

1. The result is brought back to the input's grid: :class:`Back`.
2. What differs there is told by order of spherical harmonics, in units of what the scan's own
   noise would make of it: :func:`departure`.
3. On request the result is held to the measurement at low spatial frequencies, where little
   noise is left to take out and no detail to be added: :func:`hold`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import attrs
import numpy as np
import torch
from torch.nn import functional

from dmri7t.signal.floor import add_floor
from dmri7t.signal.grids import Grid, voxel_coordinates
from dmri7t.signal.harmonics import n_coefficients, order_of
from dmri7t.signal.regrid import MARGIN, ROWS
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.resample import (
    apply_axes,
    bounding_box,
    box_slices,
    linear_matrix,
    nearest_in_mask,
    spline_matrix,
)
from dmri7t.signal.rish import rish
from dmri7t.signal.rows import take_rows
from dmri7t.signal.shell import Brain, Shell

SLAB = 65536
"""Voxels whose signals are fitted at once."""

SMOOTH = 1.0
"""Standard deviation, in voxels, of the Gaussian by which differences are averaged, so that
those of neighbours that agree stand out of the noise."""

CHANCE = 0.001
"""How often noise alone would be taken for a departure."""

TOLERANCE = 1e-7
"""Where the search for the low-frequency part ends, relative to its beginning."""

MOST_STEPS = 500
"""Steps of that search at most."""

Voxel = tuple[int, int, int]


class Back:
    """From the voxels of the output's mask to those of the input's: a scanner's lower resolution.

    Along each axis, the samples on the input's grid are those whose cubic B-spline comes nearest
    to the output in least squares: of what the output holds, that is the part below the input's
    Nyquist frequency, as a scanner keeps that samples less of k-space. What was interpolated from
    the input comes back as it was. Along an axis on which the output is the coarser one, it is
    interpolated. Outside the mask the nearest voxel's value is taken.

    Parameters
    ----------
    brain_out : Brain
        Of the output.
    brain : Brain
        Of the input; grids must have parallel axes.
    """

    def __init__(self, brain_out: Brain, brain: Brain) -> None:
        inside = brain.bounded(MARGIN)
        target = inside.grid
        start_out, stop_out = _cover(target, brain_out.grid)
        source = brain_out.grid.crop(start_out, stop_out)
        forth, back = voxel_coordinates(target, source), voxel_coordinates(source, target)
        self._matrices = [
            np.linalg.pinv(spline_matrix(target.shape[a], forth[a]))
            if source.voxel_sizes[a] <= target.voxel_sizes[a] * (1 + 1e-6)
            else spline_matrix(source.shape[a], back[a])
            for a in range(3)
        ]
        self._shape = source.shape
        self._fill = torch.as_tensor(_nearest(brain_out.mask, start_out, stop_out).ravel())
        self._pick = torch.as_tensor(np.flatnonzero(inside.mask.ravel()))

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Bring images (T, V'), one or several, back; gives (T, V)."""
        out_TV = values_TV.new_empty(values_TV.shape[0], len(self._pick))
        for first in range(0, len(values_TV), ROWS):
            rows = slice(first, first + ROWS)
            box = values_TV[rows][:, self._fill].reshape(-1, *self._shape)
            coarse = apply_axes(box, self._matrices)
            torch.index_select(coarse.flatten(1), 1, self._pick, out=out_TV[rows])
        return out_TV


def _cover(target: Grid, grid_out: Grid) -> tuple[Voxel, Voxel]:
    """Start and stop of the part of a grid that covers another one, as far as there is any."""
    along = voxel_coordinates(grid_out, target)
    x, y, z = (max(0, math.floor(indices.min())) for indices in along)
    stops = (
        min(n, math.ceil(indices.max()) + 1)
        for n, indices in zip(grid_out.shape, along, strict=True)
    )
    x_stop, y_stop, z_stop = stops
    return (x, y, z), (x_stop, y_stop, z_stop)


def _nearest(mask_XYZ: np.ndarray, start: Voxel, stop: Voxel) -> np.ndarray:
    """Rank among the mask's values of the one nearest to every voxel of a box."""
    inner, outer = bounding_box(mask_XYZ)
    # the box may lie within the mask's own: look at both together
    first = [min(a, b) for a, b in zip(start, inner, strict=True)]
    last = [max(a, b) for a, b in zip(stop, outer, strict=True)]
    near = nearest_in_mask(mask_XYZ[box_slices(first, last)])
    return near[box_slices(np.subtract(start, first).tolist(), np.subtract(stop, first).tolist())]


@attrs.frozen(eq=False)
class BeforeAfter:
    """A whole scan before and after, and the way back to its grid.

    Parameters
    ----------
    input_NV : Tensor (N, V)
        On the input's grid.
    output_NV : Tensor (N, V')
        The same volumes on the output's.
    back : callable
        From the output's mask to the input's: a :class:`Back`.
    """

    input_NV: torch.Tensor
    output_NV: torch.Tensor
    back: Callable[[torch.Tensor], torch.Tensor]

    def difference(self, row: int) -> torch.Tensor:
        """Output, brought back, minus input, of one volume: (V,)."""
        return self.back(self.output_NV[row : row + 1])[0] - self.input_NV[row]


@attrs.frozen(eq=False)
class Departure:
    """How far one shell of the output lies from the input; L orders 0, 2, 4 as far as fitted.

    Parameters
    ----------
    map_LV : Tensor (L, V)
        Smoothed difference in units of the noise expected in it, on the input's grid: about 1
        where the output is the input without its noise, less where it kept that noise.
    difference : list of float (L,)
        Energy of the difference over the energy of the input, not smoothed.
    noise : list of float (L,)
        What the input's noise alone would make of that energy.
    beyond : list of float (L,)
        Fraction of the voxels whose smoothed difference is larger than noise makes it in
        :data:`CHANCE` of the cases.
    """

    map_LV: torch.Tensor
    difference: list[float]
    noise: list[float]
    beyond: list[float]


def departure(
    scans: BeforeAfter, b0_V: torch.Tensor, shell: Shell, rows: list[int], floor: float = 0.0
) -> Departure:
    """Hold a shell of the output, brought back to the input's grid, against the input.

    Both are compared as coefficients of spherical harmonics of S / S0, by the same fit and over
    the same b0. The fit acts on directions and the way back on voxels, so the coefficients are
    brought back, not the volumes, of which there are more.

    Parameters
    ----------
    scans : BeforeAfter
        The whole scan.
    b0_V : Tensor (V,)
        Mean b0 of the input.
    shell : Shell
        Of the input.
    rows : list of int
        Volumes of the shell.
    floor : float
        Standard deviation of the noise whose floor was taken out of the output, in units of the
        scanner: it is put back, as the input has it.
    """
    n_orders = shell.n_orders
    matrix_CN = torch.as_tensor(
        shell.plan.matrix_CN[: n_coefficients(2 * n_orders - 2)], dtype=torch.float32
    )
    divisor_V = floor_b0(b0_V)
    measured_CV = fit_slabs(scans.input_NV, rows, matrix_CN) / divisor_V
    change_CV = scans.back(fit_slabs(scans.output_NV, rows, matrix_CN))
    change_CV.div_(divisor_V)
    if floor > 0:
        change_CV = add_floor(change_CV, floor / divisor_V)
    change_CV.sub_(measured_CV)
    noise_LV = shell.noise_3V[:n_orders]
    energy_L = rish(measured_CV).sum(1, dtype=torch.float64).clamp_min(1e-30)
    map_LV = in_noise(change_CV, noise_LV, shell.description.correlation, shell.brain.mask)
    limit_L = torch.tensor(noise_limits(n_orders), dtype=map_LV.dtype)
    return Departure(
        map_LV=map_LV,
        difference=(rish(change_CV).sum(1, dtype=torch.float64) / energy_L).tolist(),
        noise=(noise_LV.sum(1, dtype=torch.float64) / energy_L).tolist(),
        beyond=(map_LV > limit_L[:, None]).double().mean(1).tolist(),
    )


def fit_slabs(signal_NV: torch.Tensor, rows: list[int], matrix_CN: torch.Tensor) -> torch.Tensor:
    """Coefficients (C, V) of some volumes, slab by slab, so that these are never copied whole."""
    out_CV = matrix_CN.new_empty(len(matrix_CN), signal_NV.shape[1])
    for first in range(0, signal_NV.shape[1], SLAB):
        slab = slice(first, first + SLAB)
        out_CV[:, slab] = matrix_CN @ take_rows(signal_NV[:, slab], rows)
    return out_CV


def in_noise(
    change_CV: torch.Tensor,
    noise_LV: torch.Tensor,
    correlation: tuple[float, float, float],
    mask_XYZ: np.ndarray,
) -> torch.Tensor:
    """Smooth differences of coefficients, and give them in units of what noise leaves of itself.

    Parameters
    ----------
    change_CV : Tensor (C, V)
    noise_LV : Tensor (L, V)
        Expected energy of the noise in each order, before smoothing.
    correlation : tuple of three floats
        Of the noise between neighbours; what is correlated averages out less.
    mask_XYZ : ndarray of bool

    Returns
    -------
    Tensor (L, V)
        Root of the energy of the smoothed differences over that of smoothed noise.
    """
    inside = torch.as_tensor(mask_XYZ[box_slices(*bounding_box(mask_XYZ))])
    kernels = [_gaussian(n) for n in inside.shape]

    def smoothed(values_TV: torch.Tensor, matrices: list[np.ndarray]) -> torch.Tensor:
        volume = values_TV.new_zeros(len(values_TV), *inside.shape)
        volume[:, inside] = values_TV
        return apply_axes(volume, matrices)[:, inside]

    weight_V = smoothed(torch.ones_like(change_CV[:1]), kernels)[0]
    energy_LV = rish(smoothed(change_CV, kernels) / weight_V)
    remaining_LV = smoothed(noise_LV, [kernel**2 for kernel in kernels]) / weight_V.square()
    kept = math.prod(_kept_noise(rho) for rho in correlation)
    return (energy_LV / (remaining_LV * kept).clamp_min(1e-20)).sqrt()


def _gaussian(n: int) -> np.ndarray:
    """Smoothing along a line of n samples as a matrix (n, n)."""
    away = np.subtract.outer(np.arange(n), np.arange(n))
    rows = np.exp(-0.5 * (away / SMOOTH) ** 2)
    return rows / (math.sqrt(2 * math.pi) * SMOOTH)


def _kept_noise(correlation: float) -> float:
    """How much more noise is left after smoothing along an axis where neighbours share it.

    Examples
    --------
    >>> _kept_noise(0.0), round(_kept_noise(0.5), 2)
    (1.0, 1.99)
    """
    rho = min(max(correlation, 0.0), 0.95)
    kernel = _gaussian(8 * round(max(SMOOTH, 1)) + 1)[4 * round(max(SMOOTH, 1))]
    steps = np.abs(np.subtract.outer(np.arange(len(kernel)), np.arange(len(kernel))))
    return float(kernel @ rho**steps @ kernel / (kernel @ kernel))


def noise_limits(n_orders: int) -> list[float]:
    """Values of the map that noise passes in :data:`CHANCE` of the voxels, by order.

    The energy of order l is a sum over 2 l + 1 coefficients: the root of a chi-square over its
    degrees of freedom.

    Examples
    --------
    >>> [round(limit, 2) for limit in noise_limits(3)]
    [3.29, 2.03, 1.76]
    """
    from scipy.stats import chi2

    freedoms = [4 * row + 1 for row in range(n_orders)]
    return [float(np.sqrt(chi2.ppf(1 - CHANCE, k) / k)) for k in freedoms]


class LowPass:
    """The part of an image in a mask that varies slowly, exactly: a projection.

    Of all images that run linearly between knots so far apart that they carry frequencies up to
    the limit, the one that comes nearest to the image within the mask, in least squares. Nothing
    outside the mask is made up, so nothing leaks over its edge, and the slow part of a slow part
    is itself. Linear and not cubic: at the rim, where a knot has few voxels, splines of higher
    order are nearly dependent, and overshoot.

    Parameters
    ----------
    brain : Brain
        Of the output.
    voxel_sizes_in : ndarray (3,)
        Of the input, mm.
    fraction : float
        The limit along each axis, as a fraction of the Nyquist frequency of the coarser of both.

    Examples
    --------
    >>> brain = Brain(np.ones((12, 12, 12), bool), Grid((12, 12, 12), np.eye(4)))
    >>> lowpass = LowPass(brain, np.ones(3), 0.5)
    >>> ramp = torch.arange(12.0).repeat(144)[None]
    >>> bool((lowpass(ramp) - ramp).abs().max() < 1e-3)
    True
    """

    def __init__(self, brain: Brain, voxel_sizes_in: np.ndarray, fraction: float) -> None:
        if not 0 < fraction <= 1:
            raise ValueError(f"the fraction of the Nyquist frequency is {fraction}, not in (0, 1]")
        inside = brain.bounded().mask
        self._shape = inside.shape
        self._pick = torch.as_tensor(np.flatnonzero(inside.ravel()))
        sizes = brain.voxel_sizes
        spacings = np.maximum(sizes, voxel_sizes_in) / fraction / sizes
        self._forth = [_tents(n, mm) for n, mm in zip(inside.shape, spacings, strict=True)]
        self._back = [matrix.T for matrix in self._forth]
        self._gram = _gram(self._back, inside)
        weight = self._gram[0, 0, 0]
        # knots without a voxel take no part
        self._scale = torch.where(weight > 1e-12 * weight.max(), weight.rsqrt(), 0.0)

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Slow part of images (T, V)."""
        out_TV = torch.empty_like(values_TV)
        for first in range(0, len(values_TV), ROWS):
            rows = slice(first, first + ROWS)
            box = values_TV.new_zeros(len(values_TV[rows]), math.prod(self._shape))
            box[:, self._pick] = values_TV[rows]
            knots = self._solve(apply_axes(box.reshape(-1, *self._shape), self._back))
            slow = apply_axes(knots.to(values_TV), self._forth)
            torch.index_select(slow.flatten(1), 1, self._pick, out=out_TV[rows])
        return out_TV

    def _solve(self, sums: torch.Tensor) -> torch.Tensor:
        """Solve the normal equations by conjugate gradients, each image with its own steps.

        Float64, as the equations of knots at the rim are nearly dependent; scaled by their
        diagonal.
        """
        rest = sums.double() * self._scale
        knots, direction = torch.zeros_like(rest), rest
        power_T = begun_T = _power(rest)
        for _ in range(MOST_STEPS):
            if bool((power_T <= TOLERANCE**2 * begun_T).all()):
                break
            turned = self._apply(direction * self._scale) * self._scale
            length = power_T / (direction * turned).sum((1, 2, 3)).clamp_min(1e-300)
            knots = knots + length[:, None, None, None] * direction
            rest = rest - length[:, None, None, None] * turned
            last_T, power_T = power_T, _power(rest)
            direction = rest + (power_T / last_T.clamp_min(1e-300))[:, None, None, None] * direction
        return knots * self._scale

    def _apply(self, knots: torch.Tensor) -> torch.Tensor:
        """Multiply by the matrix of the normal equations: a knot meets its 26 neighbours."""
        around = functional.pad(knots, (1,) * 6)
        out = torch.zeros_like(knots)
        for step, weights in self._gram.items():
            window = around
            for axis, (by, n) in enumerate(zip(step, knots.shape[1:], strict=True), start=1):
                window = window.narrow(axis, 1 + by, n)
            out.addcmul_(window, weights.expand_as(window))
        return out


def _power(knots: torch.Tensor) -> torch.Tensor:
    return knots.square().sum((1, 2, 3))


def _gram(
    matrices: list[np.ndarray], inside_XYZ: np.ndarray
) -> dict[tuple[int, int, int], torch.Tensor]:
    """Sums over a mask of the products of every tent with its neighbours, by their step.

    Parameters
    ----------
    matrices : list of three ndarrays (knots, n)
        Tents along each axis.
    inside_XYZ : ndarray of bool
    """
    products = []
    for matrix in matrices:
        padded = np.pad(matrix, ((1, 1), (0, 0)))
        products.append({by: matrix * padded[1 + by :][: len(matrix)] for by in (-1, 0, 1)})
    volume = torch.as_tensor(inside_XYZ, dtype=torch.float64)
    return {
        (x, y, z): apply_axes(volume, [products[0][x], products[1][y], products[2][z]])
        for x, y, z in product((-1, 0, 1), repeat=3)
    }


def _tents(n: int, spacing: float) -> np.ndarray:
    """Linear interpolation from knots that lie ``spacing`` samples apart to n samples."""
    n_knots = math.ceil((n - 1) / spacing - 1e-6) + 1
    along = np.arange(n) / spacing
    return linear_matrix(n_knots, along + ((n_knots - 1) - along[-1]) / 2)


def hold(
    scaled_CV: torch.Tensor,
    interpolated_CV: torch.Tensor,
    b0_V: torch.Tensor,
    lowpass: LowPass,
) -> torch.Tensor:
    """Hold the result to what was measured at low spatial frequencies.

    x + lowpass(up(x_in) - x), where x is the signal's coefficients. The low-pass lies behind the
    interpolation ``up``, on the output's grid: as what was interpolated comes back as it was,
    that is x + up(lowpass(x_in - down(x))), but exact within a mask of any shape. Nothing is
    changed where the model changed nothing, and a second time changes nothing more.

    Coefficients are held, not the volumes: the model changes nothing else, what the harmonics
    leave of a volume is mostly its noise, which would come back in, and there are fewer of them.

    Parameters
    ----------
    scaled_CV : Tensor (C, V')
        Coefficients of S / S0 as the model scaled them.
    interpolated_CV : Tensor (C, V')
        The input's, interpolated.
    b0_V : Tensor (V',)
        What S / S0 is multiplied by: signals are held, not their ratios to the b0.
    lowpass : LowPass
        On the output's mask.

    Returns
    -------
    Tensor (C, V')
    """
    # an order that was foretold was not measured
    measured = min(order_of(len(scaled_CV)), order_of(len(interpolated_CV)), 4)
    rows = slice(0, n_coefficients(measured))
    held_CV = scaled_CV.clone()
    missing_CV = (interpolated_CV[rows] - scaled_CV[rows]).mul_(b0_V)
    held_CV[rows] += lowpass(missing_CV).div_(b0_V.clamp_min(1e-6))
    return held_CV
