"""A brain on its grid, what was measured of one shell in it, and what the shell says."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike

from dmri7t.signal.coherence import N_COHERENT, coherent_rish, residual_correlation
from dmri7t.signal.describe import Description, direction_spread
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import FitPlan, plan_fit
from dmri7t.signal.noise import few_directions_noise, is_ample
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.represent import fit_normalized, floor_b0, residual_sigma
from dmri7t.signal.resample import bounding_box, box_slices
from dmri7t.signal.rish import debias, model_rows, noise_share, rish
from dmri7t.signal.slices import slice_loss


def _as_mask(mask: ArrayLike) -> np.ndarray:
    return np.asarray(mask, bool)


@attrs.frozen(eq=False)
class Brain:
    """The voxels of an image that are worked on, and where they lie.

    Arrays of these voxels end in an axis V: the mask's true voxels in C order.

    Parameters
    ----------
    mask : ndarray (X, Y, Z) of bool
    grid : Grid
        Of the image.

    Raises
    ------
    ValueError
        If the mask and the grid are of different shapes.

    Examples
    --------
    >>> brain = Brain(np.array([[[False, True, True]]]), Grid((1, 1, 3), np.eye(4)))
    >>> brain.n_voxels
    2
    >>> brain.place(torch.tensor([[5.0, 7.0]])).tolist()
    [[[[0.0, 5.0, 7.0]]]]
    >>> Brain(np.ones((1, 1, 2), bool), brain.grid)
    Traceback (most recent call last):
    ...
    ValueError: a mask of shape (1, 1, 2) on a grid of shape (1, 1, 3)
    """

    mask: np.ndarray = attrs.field(converter=_as_mask)
    grid: Grid

    def __attrs_post_init__(self) -> None:
        if self.mask.shape != self.grid.shape:
            raise ValueError(
                f"a mask of shape {self.mask.shape} on a grid of shape {self.grid.shape}"
            )

    @property
    def n_voxels(self) -> int:
        """Voxels of the mask, V."""
        return int(self.mask.sum())

    @property
    def voxel_sizes(self) -> np.ndarray:
        """Edge lengths of a voxel in mm, (3,)."""
        return self.grid.voxel_sizes

    def place(self, values_KV: torch.Tensor) -> torch.Tensor:
        """Lay values (K, V) into volumes (K, X, Y, Z), zero outside the mask."""
        inside = torch.as_tensor(self.mask, device=values_KV.device)
        volumes = values_KV.new_zeros(len(values_KV), *self.mask.shape)
        volumes[:, inside] = values_KV
        return volumes

    def pick(self, volumes: torch.Tensor) -> torch.Tensor:
        """Take the mask's voxels (..., V) out of volumes (..., X, Y, Z).

        Raises
        ------
        ValueError
            If the volumes are of another shape than the mask.
        """
        if tuple(volumes.shape[-3:]) != self.mask.shape:
            raise ValueError(
                f"volumes of shape {tuple(volumes.shape[-3:])}, a mask of shape {self.mask.shape}"
            )
        return volumes[..., torch.as_tensor(self.mask, device=volumes.device)]

    def padded(self, margins: Sequence[tuple[int, int]]) -> Brain:
        """Lay voxels outside the mask around the image, so many before and after along each axis.

        Those of the mask stay in their order.
        """
        x, y, z = (
            (-before, n + after)
            for n, (before, after) in zip(self.mask.shape, margins, strict=True)
        )
        grid = self.grid.crop((x[0], y[0], z[0]), (x[1], y[1], z[1]))
        return Brain(np.pad(self.mask, margins), grid)

    def bounded(self, margin: int = 0) -> Brain:
        """Return the smallest box around the mask, widened by some voxels within the image."""
        return self.crop(box_slices(*bounding_box(self.mask, margin)))

    def within(self, box: tuple[slice, slice, slice]) -> np.ndarray:
        """Which of its voxels lie within a box: (V,) of bool."""
        inside = np.zeros_like(self.mask)
        inside[box] = True
        return inside[self.mask]

    def crop(self, box: tuple[slice, slice, slice]) -> Brain:
        """Return the part within a box; its slices have a start and a stop within the image."""
        x, y, z = box
        grid = self.grid.crop((x.start, y.start, z.start), (x.stop, y.stop, z.stop))
        return Brain(self.mask[box], grid)


def _check_shapes(shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Refuse arrays whose shape is not the expected one, each by its name."""
    for name, (given, expected) in shapes.items():
        if tuple(given) != expected:
            raise ValueError(f"{name}: of shape {tuple(given)}, expected {expected}")


@attrs.frozen(eq=False)
class ShellSignal:
    """What was measured of one shell in a brain.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Volumes of the shell in scanner units.
    b0_V : Tensor (V,)
        Mean b0.
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    bval : float
        s/mm2.
    n_b0 : int
        How many b0 volumes the mean is made of: its own noise is part of sigma.
    brain : Brain
    b0s_MV : Tensor (M, V), optional
        The b0s one by one, where there are several; they tell the noise of shells whose directions
        are too few to do so.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """

    signal_NV: torch.Tensor
    b0_V: torch.Tensor
    directions_N3: np.ndarray
    bval: float
    n_b0: int
    brain: Brain
    b0s_MV: torch.Tensor | None = None

    def __attrs_post_init__(self) -> None:
        n, n_voxels = len(self.directions_N3), self.brain.n_voxels
        _check_shapes(
            {
                "signal": (self.signal_NV.shape, (n, n_voxels)),
                "mean b0": (self.b0_V.shape, (n_voxels,)),
                "directions": (self.directions_N3.shape, (n, 3)),
            }
        )
        if self.b0s_MV is not None:
            _check_shapes({"b0s": (self.b0s_MV.shape, (len(self.b0s_MV), n_voxels))})

    def crop(self, box: tuple[slice, slice, slice]) -> ShellSignal:
        """Return what was measured of the voxels within a box.

        Parameters
        ----------
        box : tuple of three slices
            With a start and a stop within the image.
        """
        kept_V = torch.as_tensor(self.brain.within(box))
        return ShellSignal(
            signal_NV=self.signal_NV[:, kept_V],
            b0_V=self.b0_V[kept_V],
            directions_N3=self.directions_N3,
            bval=self.bval,
            n_b0=self.n_b0,
            brain=self.brain.crop(box),
            b0s_MV=None if self.b0s_MV is None else self.b0s_MV[:, kept_V],
        )

    def noise(self, plan: FitPlan) -> float:
        """Standard deviation of the noise in units of the scanner, by one fit or without any.

        Parameters
        ----------
        plan : FitPlan
        """
        if not is_ample(plan):
            sigma = few_directions_noise(
                self.signal_NV, self.directions_N3, self.brain.mask, self.b0s_MV
            )
            if np.isfinite(sigma):
                return sigma
        return residual_sigma(self.signal_NV, self.b0_V, plan)

    def relative_noise(self, plan: FitPlan) -> torch.Tensor:
        """The same over the floored b0, (V,), no more than that."""
        return (self.noise(plan) / floor_b0(self.b0_V)).clamp_max(1.0)


@attrs.frozen(eq=False, kw_only=True)
class ShellFit:
    """Coefficients of a shell and their noise: what can be said of each voxel by itself.

    Parameters
    ----------
    plan : FitPlan
        How the coefficients were fitted.
    sh_CV : Tensor (C, V)
        Gain-corrected coefficients of S / S0.
    rish_3V : Tensor (3, V)
        R_0, R_2, R_4 of these coefficients; a zero row where the order was not fitted.
    noise_3V : Tensor (3, V)
        The noise's expected share of each.
    sigma_V : Tensor (V,)
        Standard deviation of the noise over the b0.
    """

    plan: FitPlan
    sh_CV: torch.Tensor
    rish_3V: torch.Tensor
    noise_3V: torch.Tensor
    sigma_V: torch.Tensor

    @classmethod
    def of(
        cls,
        measured: ShellSignal,
        order: int | None = None,
        laplace_beltrami: float | None = None,
    ) -> ShellFit:
        """Fit one shell.

        Parameters
        ----------
        measured : ShellSignal
        order, laplace_beltrami
            See :func:`dmri7t.signal.harmonics.plan_fit`.
        """
        plan = plan_fit(measured.directions_N3, order, laplace_beltrami)
        sh_CV = fit_normalized(measured.signal_NV, measured.b0_V, plan)
        sigma_V = measured.relative_noise(plan)
        rish_LV = rish(sh_CV)
        # noise of the divisor scales all coefficients of a voxel together: relative variance
        # sigma^2 / n_b0 of every R_l's amplitude, and as much again of its expectation
        noise_LV = noise_share(plan, sigma_V)
        noise_LV = noise_LV + rish_LV * (sigma_V.square() / max(measured.n_b0, 1))
        return ShellFit(
            plan=plan,
            sh_CV=sh_CV,
            rish_3V=model_rows(rish_LV),
            noise_3V=model_rows(noise_LV),
            sigma_V=sigma_V,
        )

    @property
    def n_orders(self) -> int:
        """How many of the orders 0, 2, 4 were fitted."""
        return min(len(ORDERS), self.plan.order // 2 + 1)

    @property
    def debiased_3V(self) -> torch.Tensor:
        """RISH without the noise's expected share, (3, V), never below zero."""
        return debias(self.rish_3V, self.noise_3V)


@attrs.frozen(eq=False, kw_only=True)
class Shell(ShellFit):
    """What one shell says of every voxel of a brain; made by :meth:`from_signal`.

    Parameters
    ----------
    plan, sh_CV, rish_3V, noise_3V, sigma_V
        As in :class:`ShellFit`.
    brain : Brain
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    coherent_9V : Tensor (9, V)
        RISH together with the neighbours, see :func:`dmri7t.signal.coherence.coherent_rish`.
    loss_V : Tensor (V,)
        What slices lost in single volumes, see :func:`dmri7t.signal.slices.slice_loss`.
    description : Description
        The shell in numbers.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """

    brain: Brain
    directions_N3: np.ndarray
    coherent_9V: torch.Tensor
    loss_V: torch.Tensor
    description: Description

    def __attrs_post_init__(self) -> None:
        n_voxels, n_orders = self.brain.n_voxels, len(ORDERS)
        _check_shapes(
            {
                "directions": (self.directions_N3.shape, (self.plan.n_directions, 3)),
                "coefficients": (self.sh_CV.shape, (len(self.plan.matrix_CN), n_voxels)),
                "RISH": (self.rish_3V.shape, (n_orders, n_voxels)),
                "noise": (self.noise_3V.shape, (n_orders, n_voxels)),
                "coherent RISH": (self.coherent_9V.shape, (N_COHERENT, n_voxels)),
                "sigma": (self.sigma_V.shape, (n_voxels,)),
                "loss of slices": (self.loss_V.shape, (n_voxels,)),
            }
        )

    @classmethod
    def from_signal(
        cls,
        measured: ShellSignal,
        order: int | None = None,
        laplace_beltrami: float | None = None,
    ) -> Shell:
        """Represent and describe one shell.

        Parameters
        ----------
        measured : ShellSignal
        order, laplace_beltrami
            See :func:`dmri7t.signal.harmonics.plan_fit`.
        """
        brain, signal_NV = measured.brain, measured.signal_NV
        fitted = ShellFit.of(measured, order, laplace_beltrami)
        description = Description(
            voxel_sizes=brain.voxel_sizes,
            bval=measured.bval,
            n_directions=fitted.plan.n_directions,
            sigma=fitted.sigma_V.median(),
            spread=direction_spread(fitted.plan),
            correlation=residual_correlation(signal_NV, brain.mask, fitted.plan),
        )
        return cls(
            plan=fitted.plan,
            sh_CV=fitted.sh_CV,
            rish_3V=fitted.rish_3V,
            noise_3V=fitted.noise_3V,
            sigma_V=fitted.sigma_V,
            brain=brain,
            directions_N3=measured.directions_N3,
            coherent_9V=coherent_rish(fitted.sh_CV, brain.mask),
            loss_V=slice_loss(signal_NV, brain.mask),
            description=description,
        )

    def crop(self, box: tuple[slice, slice, slice]) -> Shell:
        """Return the voxels within a box; fit and description stay those of the whole shell.

        Parameters
        ----------
        box : tuple of three slices
            With a start and a stop within the image.
        """
        kept_V = torch.as_tensor(self.brain.within(box), device=self.sh_CV.device)
        return attrs.evolve(
            self,
            brain=self.brain.crop(box),
            sh_CV=self.sh_CV[:, kept_V],
            rish_3V=self.rish_3V[:, kept_V],
            noise_3V=self.noise_3V[:, kept_V],
            coherent_9V=self.coherent_9V[:, kept_V],
            sigma_V=self.sigma_V[kept_V],
            loss_V=self.loss_V[kept_V],
        )
