"""Diffusion signals of tissues as spherical harmonics.

White matter is a mixture of sticks and zeppelins (Panagiotaki et al. 2012, NeuroImage
59:2241) with dispersed directions; grey matter holds sticks in all directions (Zhang et al.
2012, NeuroImage 61:1000), an isotropic pool and a weak radial part; CSF is free water.
"""

from __future__ import annotations

from functools import lru_cache

import attrs
import numpy as np
import torch

from dmri7t.signal.harmonics import basis_matrix, coefficient_orders, n_coefficients
from dmri7t.simulation.anatomy import Tissue

TABLE_STEP = 1.0
"""Directions are looked up on a grid of this many degrees."""

SLAB = 4096
"""Voxels whose harmonics are worked out at once: they stay in a processor's cache."""


def zeppelin_kernel(b: float, parallel: float, perpendicular: float, order: int) -> np.ndarray:
    """Rotational harmonics of exp(-b (D_perp + (D_par - D_perp) t^2)).

    r_l = 2 pi integral over t from -1 to 1 of K(t) P_l(t), so that the signal of a fibre along
    u is sum_l r_l sum_m Y_lm(u) Y_lm(g).

    Parameters
    ----------
    b : float
        s/mm2.
    parallel, perpendicular : float
        mm2/s.
    order : int

    Returns
    -------
    ndarray (order / 2 + 1,)
    """
    t, weight = np.polynomial.legendre.leggauss(64)
    kernel = np.exp(-b * (perpendicular + (parallel - perpendicular) * t**2))
    legendre = [np.polynomial.legendre.Legendre.basis(n)(t) for n in range(0, order + 1, 2)]
    return np.array([2 * np.pi * (weight * kernel * p).sum() for p in legendre])


@lru_cache(maxsize=4)
def _direction_table(order: int) -> torch.Tensor:
    """Basis on a grid of polar angles, (181 * 361, C)."""
    theta, phi = np.meshgrid(
        np.deg2rad(np.arange(0, 181, TABLE_STEP)),
        np.deg2rad(np.arange(-180, 181, TABLE_STEP)),
        indexing="ij",
    )
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    return torch.from_numpy(basis_matrix(unit.reshape(-1, 3), order).astype(np.float32))


def direction_harmonics(directions_3V: torch.Tensor, order: int) -> torch.Tensor:
    """Basis at unit vectors (3, V), looked up to the nearest degree: (V, C)."""
    x, y, z = directions_3V
    i = torch.rad2deg(torch.arccos(z.clamp(-1, 1))).round().long()
    j = torch.rad2deg(torch.atan2(y, x)).round().long() + 180
    return _direction_table(order).index_select(0, i * 361 + j)


@attrs.frozen
class Fibre:
    """Properties of white matter; diffusivities in mm2/s."""

    stick_fraction: float
    stick: float
    parallel: float
    perpendicular: float
    dispersion: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Fibre:
        """Draw from the ranges found in adult white matter."""
        parallel = rng.uniform(1.2e-3, 2.1e-3)
        return cls(
            stick_fraction=rng.uniform(0.35, 0.75),
            stick=rng.uniform(1.5e-3, 2.4e-3),
            parallel=parallel,
            perpendicular=parallel * rng.uniform(0.25, 0.6),
            dispersion=float(np.exp(rng.uniform(np.log(0.002), np.log(0.05)))),
        )

    def kernel(self, b: float, order: int) -> np.ndarray:
        """Rotational harmonics (order / 2 + 1,) of the mixture, dispersed by heat on the sphere."""
        stick = zeppelin_kernel(b, self.stick, 0.0, order)
        zeppelin = zeppelin_kernel(b, self.parallel, self.perpendicular, order)
        degree = np.arange(0, order + 1, 2)
        mixture = self.stick_fraction * stick + (1 - self.stick_fraction) * zeppelin
        return mixture * np.exp(-degree * (degree + 1) * self.dispersion)


@attrs.frozen(eq=False)
class PureSignals:
    """Signals of pure tissues over their b0, as harmonics.

    Parameters
    ----------
    wm : Tensor (C, X, Y, Z)
    gm : Tensor (6, X, Y, Z)
        Order 2: higher orders of grey matter are negligible.
    csf, scalp : float
        The single coefficient of order 0.
    """

    wm: torch.Tensor
    gm: torch.Tensor
    csf: float
    scalp: float

    def up_to(self, order: int) -> PureSignals:
        """Leave higher orders of white matter out."""
        return attrs.evolve(self, wm=self.wm[: n_coefficients(order)])


@attrs.frozen
class Microstructure:
    """Properties of all tissues of one brain; diffusivities in mm2/s."""

    young: Fibre
    mature: Fibre
    grey: float
    grey_neurites: float
    grey_radial: float
    free_water: float
    wm_water: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Microstructure:
        """Draw a brain's properties."""
        return cls(
            young=Fibre.draw(rng),
            mature=Fibre.draw(rng),
            grey=rng.uniform(0.75e-3, 1.05e-3),
            grey_neurites=rng.uniform(0.15, 0.5),
            grey_radial=rng.uniform(0.05, 0.4),
            free_water=rng.uniform(2.8e-3, 3.2e-3),
            wm_water=rng.uniform(0.0, 0.1),
        )

    def signals(self, tissue: Tissue, b: float, order: int) -> PureSignals:
        """Signals of pure tissues.

        Parameters
        ----------
        tissue : Tissue
        b : float
            s/mm2.
        order : int
            Of white matter's harmonics.
        """
        shape = tissue.csf.shape
        l_C = torch.from_numpy(coefficient_orders(order) // 2)
        young_C = torch.from_numpy(self.young.kernel(b, order)).float()[l_C]
        mature_C = torch.from_numpy(self.mature.kernel(b, order)).float()[l_C]
        root = np.sqrt(4 * np.pi)
        csf = float(np.exp(-b * self.free_water) * root)
        # harmonics of order 0 of sticks in all directions: their kernel's, over sqrt(4 pi) of each
        neurites = float(zeppelin_kernel(b, self.mature.stick, 0.0, 0)[0] / root)
        pool = float(np.exp(-b * self.grey) * root)
        grey = self.grey_neurites * neurites + (1 - self.grey_neurites) * pool
        wm_CV = torch.empty(n_coefficients(order), tissue.csf.numel())
        gm_CV = torch.empty(n_coefficients(2), tissue.csf.numel())
        directions = tissue.directions.reshape(4, 3, -1)
        fractions = tissue.fractions.reshape(3, -1, 1)
        maturity_V1 = tissue.maturity.reshape(-1, 1)
        water = 1 - self.wm_water
        for first in range(0, tissue.csf.numel(), SLAB):
            slab = slice(first, first + SLAB)
            wm_VC = torch.zeros(len(maturity_V1[slab]), len(wm_CV))
            for i in range(3):
                basis_VC = direction_harmonics(directions[i][:, slab], order)
                wm_VC.addcmul_(basis_VC, fractions[i, slab])
            wm_VC *= torch.addcmul(water * young_C, maturity_V1[slab], water * (mature_C - young_C))
            wm_VC[:, 0] += self.wm_water * csf
            wm_CV[:, slab] = wm_VC.T
            gm_VC = direction_harmonics(directions[3][:, slab], 2)
            gm_VC *= self.grey_radial * young_C[:6]
            gm_VC[:, 0] += (1 - self.grey_radial) * grey
            gm_CV[:, slab] = gm_VC.T
        scalp = float(np.exp(-b * 0.2e-3) * root)
        return PureSignals(
            wm_CV.reshape(-1, *shape),
            gm_CV.reshape(-1, *shape),
            csf,
            scalp,
        )
