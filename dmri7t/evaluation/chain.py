"""The app's stages on arrays, one shell at a time: what evaluation measures is what users run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

import attrs
import numpy as np
import torch

from dmri7t.models.results import Decoded, Generated
from dmri7t.models.translator import Translator, Upsampling
from dmri7t.models.weighing import Weighing, ask_shell, mix_shell
from dmri7t.signal.clean import denoise_voxels
from dmri7t.signal.consistency import LowPass, hold
from dmri7t.signal.estimate import ShellEstimate
from dmri7t.signal.filter import filter_shell
from dmri7t.signal.floor import add_floor
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import model_rows, rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy, mean_diffusivity

Made = TypeVar("Made")


@attrs.frozen(eq=False)
class ShellScan(ShellSignal):
    """One measured shell and where its translation shall lie.

    Parameters
    ----------
    brain_out : Brain
        Of the output; what is measured lies in ``brain``.
    """

    brain_out: Brain = attrs.field(kw_only=True)
    _made: dict[Hashable, object] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, measured: ShellSignal, brain_out: Brain) -> ShellScan:
        """Say where the translation of what was measured shall lie."""
        fields = {field.name: getattr(measured, field.name) for field in attrs.fields(ShellSignal)}
        return cls(**fields, brain_out=brain_out)

    def represent(self) -> Shell:
        """Represent and describe the input."""
        return self.once("shell", lambda: Shell.from_signal(self))

    def regrid(self) -> Regrid:
        """Spline from the input's mask voxels to the output's."""
        return self.once("regrid", lambda: Regrid(self.brain, self.brain_out))

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Make something of this scan that several methods need; the next one gets the same.

        Parameters
        ----------
        key : hashable
            All that it depends on beside the scan.
        make : callable
        """
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    def forget(self) -> None:
        """Let go of what was made :meth:`once`: a scan may be kept for its mask alone."""
        self._made.clear()


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
    b0_V : Tensor (V'), optional
        The method's own S0, floored, in scanner units.
    floorless : bool
        Whether no floor of noise is in the signals.
    """

    rish_3V: torch.Tensor
    sh_CV: torch.Tensor
    sd_3V: torch.Tensor | None = None
    b0_V: torch.Tensor | None = None
    floorless: bool = False

    def with_floor(self, sigma: float) -> Estimate:
        """What magnitudes with noise make of the signals, on the mean.

        Parameters
        ----------
        sigma : float
            Standard deviation of the noise in scanner units.

        Raises
        ------
        ValueError
            If the estimate's own S0 is not known.
        """
        raised_CV = add_floor(self.sh_CV, sigma / self._s0())
        change_LV = rish(raised_CV)[:3] - rish(self.sh_CV)[:3]
        rish_3V = self.rish_3V.clone()
        rish_3V[: len(change_LV)] += change_LV
        return attrs.evolve(self, rish_3V=rish_3V, sh_CV=raised_CV, floorless=False)

    def over(self, b0_V: torch.Tensor) -> Estimate:
        """The same signals over another S0.

        Parameters
        ----------
        b0_V : Tensor (V')
            Floored, in scanner units.

        Raises
        ------
        ValueError
            If the estimate's own S0 is not known.
        """
        ratio_V = self._s0() / b0_V
        sd_3V = None if self.sd_3V is None else self.sd_3V * ratio_V.square()
        rish_3V, sh_CV = self.rish_3V * ratio_V.square(), self.sh_CV * ratio_V
        return Estimate(rish_3V, sh_CV, sd_3V, b0_V, self.floorless)

    def _s0(self) -> torch.Tensor:
        if self.b0_V is None:
            raise ValueError("an estimate without its S0 cannot be compared in scanner units")
        return self.b0_V

    @classmethod
    def measured(cls, shell: Shell, kept_V: torch.Tensor | slice = slice(None)) -> Estimate:
        """Debiased RISH and coefficients of a scan as they are, at the voxels that are kept."""
        return cls(shell.debiased_3V[:, kept_V], shell.sh_CV[:, kept_V])

    def anisotropy(self, scan: ShellScan) -> torch.Tensor:
        """FA (V',) of the signals at the scan's directions."""
        return fractional_anisotropy(self.tensor(scan))

    def diffusion(self, scan: ShellScan) -> torch.Tensor:
        """FA and MD (2, V') of the signals at the scan's directions, MD in um2/ms."""
        tensor_6V = self.tensor(scan)
        return torch.stack([fractional_anisotropy(tensor_6V), 1000 * mean_diffusivity(tensor_6V)])

    def tensor(self, scan: ShellScan) -> torch.Tensor:
        """Tensors (6, V') in mm2/s of the signals at the scan's directions."""
        signal_NV = synthesize(self.sh_CV, scan.directions_N3).clamp_min(0)
        with_b0 = torch.cat([torch.ones_like(signal_NV[:1]), signal_NV])
        bvals = np.array([0.0, *[scan.bval] * len(signal_NV)])
        directions = np.concatenate([np.zeros((1, 3)), scan.directions_N3])
        return fit_tensor(with_b0, bvals, directions)


def interpolate_shell(scan: ShellScan, shell: Shell) -> Estimate:
    """Make no model at all: gain-corrected, debiased RISH and the coefficients by B-spline."""
    regrid = scan.regrid()
    b0_V = floor_b0(regrid.positive(scan.b0_V))
    return Estimate(regrid(shell.debiased_3V).clamp_min(0), regrid(shell.sh_CV), b0_V=b0_V)


def interpolate_plainly(scan: ShellScan, shell: Shell) -> Estimate:
    """Interpolate coefficients, and take their RISH as they are, noise and all."""
    debiased = interpolate_shell(scan, shell)
    return attrs.evolve(debiased, rish_3V=model_rows(rish(debiased.sh_CV)))


@attrs.frozen
class Sampling:
    """How latents are sampled.

    Parameters
    ----------
    steps, samples : int, optional
        Default: the model's own.
    seed : int
    """

    steps: int | None = None
    samples: int | None = None
    seed: int = 0


def denoise_and_interpolate(scan: ShellScan) -> Estimate:
    """Do what laboratories do: MP-PCA over b0 and shell, then interpolation.

    Raises
    ------
    InputError
        If the image is smaller than a patch of MP-PCA.
    """
    clean_NV = denoise_voxels(torch.cat([scan.b0_V[None], scan.signal_NV]), scan.brain)
    denoised = attrs.evolve(scan, b0_V=clean_NV[0], signal_NV=clean_NV[1:])
    return interpolate_shell(denoised, denoised.represent())


def filter_and_interpolate(scan: ShellScan, shell: Shell) -> Estimate:
    """Filter the coefficients by what neighbours and residuals tell, then interpolate.

    RISH is that of the filtered coefficients and what it lacks of each order.
    """
    filtered, regrid = filter_shell(scan, shell), scan.regrid()
    sh_CV = regrid(filtered.sh_CV)
    missing_3V = model_rows(regrid(filtered.missing_LV))
    rish_3V = (model_rows(rish(sh_CV)) + missing_3V).clamp_min(0)
    return Estimate(rish_3V, sh_CV, b0_V=floor_b0(regrid.positive(filtered.b0_V)))


def translate_shell(
    translator: Translator,
    scan: ShellScan,
    shell: Shell,
    sampling: Sampling = Sampling(),
    upsampling: Upsampling = "model",
    weighing: Weighing | None = None,
) -> Estimate:
    """Run weigh, encode, diffuse, decode, super-resolve and harmonize, as the app does.

    Parameters
    ----------
    translator : Translator
    scan : ShellScan
    shell : Shell
        Of it.
    sampling : Sampling
    upsampling : {"model", "bspline"}
    weighing : Weighing, optional
        Default: the scan is asked where the app asks it.
    """
    upsampling = _told_apart(translator, upsampling)
    decided = weighing or Weighing.of_form(translator.config.form, upsampling=upsampling)
    sizes = scan.brain_out.voxel_sizes
    # what is made of the answer afterwards is no part of the question
    question = attrs.evolve(decided, remove_floor=True, whole_model=False)
    evidence = scan.once(
        (translator, shell, question), lambda: ask_shell(translator, scan, sizes, question)
    )
    estimate = scan.once(
        (translator, shell, decided, "mixed"), lambda: mix_shell(scan, shell, evidence, decided)
    )
    encoded = scan.once((translator, shell), lambda: translator.encode(shell))

    def drawn() -> Decoded:
        asked = (sampling.steps, sampling.samples, sampling.seed)
        return translator.decode(encoded, translator.diffuse(encoded.latent, *asked))

    # rows of a sweep differ in their samples, which are large: nobody needs them twice
    sweeps = sampling.steps is not None or sampling.samples is not None
    decoded = drawn() if sweeps else scan.once((translator, shell, sampling), drawn)
    generated = translator.super_resolve(encoded, decoded, scan.brain_out, upsampling, estimate)
    return harmonized(generated, scan, estimate)


def _told_apart(translator: Translator, upsampling: Upsampling) -> Upsampling:
    """The way that is gone: a model that takes nothing of its network gives the same both ways."""
    takes = any(translator.config.shares.super_resolution)
    return upsampling if takes and "super_resolution" in translator.networks else "bspline"


def hold_shell(estimate: Estimate, scan: ShellScan, shell: Shell, fraction: float) -> Estimate:
    """Hold an estimate to the scan at low spatial frequencies, as ``--consistency`` does."""
    regrid = scan.regrid()
    lowpass = LowPass(scan.brain_out, scan.brain.voxel_sizes, fraction)
    b0_V = floor_b0(regrid(scan.b0_V[None])[0])
    sh_CV = hold(estimate.sh_CV, regrid(shell.sh_CV), b0_V, lowpass)
    held_LV, before_LV = rish(sh_CV)[:3], rish(estimate.sh_CV)[:3]
    # what the coefficients cannot show (bounds, orders that were not fitted) stays as it was
    rish_3V = estimate.rish_3V.clone()
    rish_3V[: len(held_LV)] = (rish_3V[: len(held_LV)] + held_LV - before_LV).clamp_min(0)
    return attrs.evolve(estimate, rish_3V=rish_3V, sh_CV=sh_CV, sd_3V=None)


def harmonized(generated: Generated, scan: ShellScan, estimate: ShellEstimate) -> Estimate:
    """Scale the scan's coefficients, on the output grid, to generated RISH by its shares."""
    regrid = scan.regrid()
    sh_CV, _ = estimate.scaled(regrid(estimate.sh_CV), generated.model_3V)
    b0_V = floor_b0(regrid.positive(estimate.b0_V))
    return Estimate(generated.mean_3V, sh_CV, generated.sd_3V, b0_V, estimate.floor > 0)
