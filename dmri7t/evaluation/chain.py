"""The app's stages on arrays, one shell at a time: what evaluation measures is what users run."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.models.translator import Translator
from dmri7t.signal.coherence import coherent_rish
from dmri7t.signal.consistency import LowPass, hold
from dmri7t.signal.describe import Description, describe
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import Representation, floor_b0, represent
from dmri7t.signal.rish import debias, harmonize, rish, scale_factors
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy


@attrs.frozen(eq=False)
class ShellScan:
    """One measured shell and where its translation shall lie.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
    b0_V : Tensor (V,)
    directions_N3 : ndarray (N, 3)
    bval : float
        s/mm2.
    n_b0 : int
    mask, grid
        Of the input.
    mask_out, grid_out
        Of the output.
    """

    signal_NV: torch.Tensor
    b0_V: torch.Tensor
    directions_N3: np.ndarray
    bval: float
    n_b0: int
    mask: np.ndarray
    grid: Grid
    mask_out: np.ndarray
    grid_out: Grid

    def represent(self) -> Representation:
        """Harmonics, RISH and noise of the input."""
        return represent(self.signal_NV, self.b0_V, self.directions_N3, self.n_b0)

    def describe(self, rep: Representation) -> Description:
        """The shell in numbers."""
        return describe(self.signal_NV, rep, self.bval, self.mask, self.grid.voxel_sizes)

    def regrid(self) -> Regrid:
        """Spline from the input's mask voxels to the output's."""
        return Regrid(self.mask, self.grid, self.mask_out, self.grid_out)


@attrs.frozen(eq=False)
class Estimate:
    """What a method makes of a shell on the output grid.

    Parameters
    ----------
    rish_3V : Tensor (3, V')
    sh_CV : Tensor (C, V')
        Coefficients of S / S0 that go with it.
    sd_3V : Tensor (3, V'), optional
        Standard deviation of the error of RISH, as far as the method knows it.
    """

    rish_3V: torch.Tensor
    sh_CV: torch.Tensor
    sd_3V: torch.Tensor | None = None

    @classmethod
    def measured(cls, rep: Representation, kept_V: torch.Tensor | slice = slice(None)) -> Estimate:
        """Debiased RISH and coefficients of a scan as they are, at the voxels that are kept."""
        return cls(debias(rep.rish_LV, rep.noise_LV)[:, kept_V], rep.sh_CV[:, kept_V])

    def anisotropy(self, scan: ShellScan) -> torch.Tensor:
        """FA (V',) of the signals at the scan's directions."""
        signal_NV = synthesize(self.sh_CV, scan.directions_N3).clamp_min(0)
        with_b0 = torch.cat([torch.ones_like(signal_NV[:1]), signal_NV])
        bvals = np.array([0.0, *[scan.bval] * len(signal_NV)])
        directions = np.concatenate([np.zeros((1, 3)), scan.directions_N3])
        return fractional_anisotropy(fit_tensor(with_b0, bvals, directions))


def interpolate_shell(scan: ShellScan, rep: Representation) -> Estimate:
    """Make no model at all: gain-corrected, debiased RISH and the coefficients by B-spline."""
    regrid = scan.regrid()
    return Estimate(regrid(debias(rep.rish_LV, rep.noise_LV)).clamp_min(0), regrid(rep.sh_CV))


def encode_shell(
    translator: Translator, scan: ShellScan, rep: Representation
) -> dict[str, torch.Tensor]:
    """Run the first stage."""
    coherent_9V = coherent_rish(rep.sh_CV, scan.mask)
    return translator.encode(rep.rish_LV, rep.noise_LV, coherent_9V, scan.mask, scan.describe(rep))


def translate_shell(
    translator: Translator,
    scan: ShellScan,
    rep: Representation,
    steps: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    upsampling: str = "model",
) -> Estimate:
    """Run encode, diffuse, decode, super-resolve and harmonize, as the app does."""
    encoded = encode_shell(translator, scan, rep)
    diffused = translator.diffuse(encoded, steps, samples, seed)
    decoded = translator.decode(encoded, diffused, scan.mask)
    return harmonized(translator, scan, rep, encoded, decoded, upsampling)


def regress_shell(translator: Translator, scan: ShellScan, rep: Representation) -> Estimate:
    """Leave the diffusion out: the regression mean alone, then super-resolution."""
    from dmri7t.models.box import Box
    from dmri7t.models.inputs import from_root

    encoded = encode_shell(translator, scan, rep)
    box = Box.around(scan.mask, translator.multiple)
    rish_3V = box.pick(from_root(encoded["mean"], translator.scale), scan.mask)
    decoded = {"rish": rish_3V[None], "estimate": rish_3V}
    return harmonized(translator, scan, rep, encoded, decoded, "model")


def hold_shell(made: Estimate, scan: ShellScan, rep: Representation, fraction: float) -> Estimate:
    """Hold an estimate to the scan at low spatial frequencies, as ``--consistency`` does."""
    regrid = scan.regrid()
    lowpass = LowPass(scan.mask_out, scan.grid_out.voxel_sizes, scan.grid.voxel_sizes, fraction)
    b0_V = floor_b0(regrid(scan.b0_V[None])[0])
    sh_CV = hold(made.sh_CV, regrid(rep.sh_CV), b0_V, lowpass)
    held_LV, before_LV = rish(sh_CV)[:3], rish(made.sh_CV)[:3]
    # what the coefficients cannot show (bounds, orders that were not fitted) stays as it was
    rish_3V = made.rish_3V.clone()
    rish_3V[: len(held_LV)] = (rish_3V[: len(held_LV)] + held_LV - before_LV).clamp_min(0)
    return Estimate(rish_3V, sh_CV)


def harmonized(
    translator: Translator,
    scan: ShellScan,
    rep: Representation,
    encoded: dict[str, torch.Tensor],
    decoded: dict[str, torch.Tensor],
    upsampling: str,
) -> Estimate:
    """Bring decoded RISH to the output grid and scale the coefficients to it."""
    generated = translator.super_resolve(
        encoded,
        decoded,
        scan.mask,
        scan.grid,
        scan.mask_out,
        scan.grid_out,
        scan.describe(rep),
        upsampling,
    )
    fine = generated["mean"]
    sh_CV = scan.regrid()(rep.sh_CV)
    n_orders = min(3, rep.plan.order // 2 + 1)
    factor_LV, _ = scale_factors(rish(sh_CV)[:n_orders], fine[:n_orders])
    return Estimate(fine, harmonize(sh_CV, factor_LV), generated["sd"])
