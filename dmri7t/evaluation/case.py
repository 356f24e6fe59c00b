"""One shell whose 7T is known, and what a method's answer is worth on it."""

from __future__ import annotations

from functools import cached_property

import attrs
import numpy as np
import torch

from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.evaluation.tensors import Anisotropy, TensorReference
from dmri7t.evaluation.texture import texture_metrics
from dmri7t.models.fitted import MapName
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.metrics import nmse, ssim
from dmri7t.signal.principal import angles, principal_directions
from dmri7t.signal.resample import bounding_box, box_slices

MAPS: tuple[MapName, ...] = ("R0", "R2", "R4", "FA")
"""Features that are compared."""

DWI = "DWI"
"""Signals: of directions that no method saw where a scan has them, else of its own."""

COEFFICIENTS = ("C0", "C2", "C4")
"""Coefficients of S / S0 by order: sizes and directions together, where RISH are sizes alone."""

METRICS = ("NMSE", "SSIM")
"""Of each map; of signals and coefficients the first alone."""

ANGLE = "degrees peak"
"""Column: mean angle of the principal direction to that of the reference, where that is clear."""

CLEAR = 0.7
"""Of voxels by the reference's R2: the principal direction of those above is compared."""


@attrs.frozen(eq=False)
class ReferenceNoise:
    """Noise of signals that answers are held against.

    Parameters
    ----------
    variance_V : Tensor (V',)
        Of a signal over the b0.
    count : int
        Signals.
    noise_L : ndarray (L,)
        Expected RISH of their fit for noise of unit variance, order by order.
    """

    variance_V: torch.Tensor
    count: int
    noise_L: np.ndarray

    def within(self, counted_V: torch.Tensor) -> dict[str, float]:
        """Sum of the variances of the signals, and of the coefficients of every order."""
        variance = float(self.variance_V[counted_V].double().mean())
        orders = dict(zip(COEFFICIENTS, self.noise_L.tolist(), strict=False))
        return {name: factor * variance for name, factor in ({DWI: self.count} | orders).items()}


@attrs.frozen(eq=False)
class HeldOut:
    """What was measured along directions that the methods are not given.

    Parameters
    ----------
    signal_NV : Tensor (N, V')
        Over the b0, within ``mask_out``.
    directions_N3 : ndarray (N, 3)
    given_CV : Tensor (C, V')
        Coefficients of the other directions, before they were degraded: noise of their own.
    tensors : TensorReference, optional
        FA and MD of the others, as they were measured, and of these.
    noise : ReferenceNoise, optional
        Of the signals, where the others are too few to foretell all that these hold: what they
        foretell is no second measurement of it then.
    """

    signal_NV: torch.Tensor
    directions_N3: np.ndarray
    given_CV: torch.Tensor
    tensors: TensorReference | None = None
    noise: ReferenceNoise | None = None

    def errors(
        self, estimate: Estimate, truth: Estimate, counted_V: torch.Tensor
    ) -> dict[str, float]:
        """NMSE of signals and coefficients against a truth that nobody measured without noise.

        With e the answer, t the truth, and a and b two measurements of it whose noise is
        independent::

            |e - t|^2 = |e|^2 - 2 <e, t> + |t|^2, on the mean |e|^2 - 2 <e, b> + <a, b>

        b are the directions that no method saw, a the others, as they were measured. What is left
        is the answer's error without the noise of the reference; chance may make a small one
        negative. Where a shows a part of the signals alone, the noise of b that is known takes its
        place: ``|e - b|^2`` and ``|b|^2``, less that.

        Parameters
        ----------
        estimate : Estimate
        truth : Estimate
            Coefficients of the directions that no method saw.
        counted_V : Tensor (V',) of bool
        """
        seen_NV = self.signal_NV[:, counted_V]
        sides = (estimate.sh_CV[:, counted_V].float(), self.given_CV[:, counted_V])
        answer_NV, given_NV = (synthesize(sh_CV, self.directions_N3) for sh_CV in sides)
        noise = None if self.noise is None else self.noise.within(counted_V)
        pairs = {DWI: (answer_NV, given_NV, seen_NV)}
        for name, rows in order_rows(*sides, truth.sh_CV):
            answer, given = (sh_CV[rows] for sh_CV in sides)
            pairs[name] = answer, given, truth.sh_CV[rows][:, counted_V]
        if noise is None:
            return {name: _error_by_products(*each) for name, each in pairs.items()}
        return {
            name: _error_by_noise(answer, seen, noise[name])
            for name, (answer, _, seen) in pairs.items()
        }


def _error_by_noise(answer: torch.Tensor, seen: torch.Tensor, noise: float) -> float:
    """Error of (K, V) against what has a known noise, the sum over rows of its variance."""
    error = float((answer - seen).square().sum(0).double().mean()) - noise
    energy = float(seen.square().sum(0).double().mean()) - noise
    return error / energy if energy > 0 else float("nan")


def _error_by_products(answer: torch.Tensor, given: torch.Tensor, seen: torch.Tensor) -> float:
    energy = float((given * seen).sum(dtype=torch.float64))
    product = float((answer * seen).sum(dtype=torch.float64))
    square = float(answer.square().sum(dtype=torch.float64))
    return (square - 2 * product + energy) / energy if energy > 0 else float("nan")


def order_rows(*coefficients: torch.Tensor) -> list[tuple[str, slice]]:
    """Names of :data:`COEFFICIENTS` and their rows, of the orders that all of some (C, V) have."""
    shared = min(len(sh_CV) for sh_CV in coefficients)
    rows = (slice(0, 1), slice(1, 6), slice(6, 15))
    return [
        (name, part) for name, part in zip(COEFFICIENTS, rows, strict=True) if part.stop <= shared
    ]


@attrs.frozen(eq=False)
class Case:
    """A scan and its reference.

    Parameters
    ----------
    subject : str
    shell : str
        Such as ``b1000``.
    scan : ShellScan
        What the methods are given, and the grid and mask they answer on.
    truth : Estimate
        Reference RISH and coefficients at ``scan.brain_out.mask``.
    counted : ndarray of bool
        Voxels of the output grid that count, within ``scan.brain_out.mask``.
    orders : int
        How many of R0, R2, R4 both sides can show.
    factor : str
        How the scan was degraded; empty where it was not.
    held_out : HeldOut, optional
        Signals of the scan's other directions.
    perfect : Estimate, optional
        What a method should answer, where the reference is not that.
    exact : bool
        Whether the truth has no noise: its texture can be compared.
    shared_b0_V : Tensor (V'), optional
        Floored mean b0 that scan and reference are both measured over, if they share it. Its noise
        is in both: who leaves it out of S0 would seem to be wrong. So everything is compared over
        this one.
    floor : float
        Standard deviation, in scanner units, of the noise whose floor the reference has: answers
        without any get this one.
    """

    subject: str
    shell: str
    scan: ShellScan
    truth: Estimate
    counted: np.ndarray
    orders: int = 3
    factor: str = ""
    held_out: HeldOut | None = None
    perfect: Estimate | None = None
    exact: bool = False
    shared_b0_V: torch.Tensor | None = None
    floor: float = 0.0

    def comparable(self, estimate: Estimate) -> Estimate:
        """An answer as the reference would have measured it."""
        if estimate.floorless and self.floor:
            estimate = estimate.with_floor(self.floor)
        return estimate if self.shared_b0_V is None else estimate.over(self.shared_b0_V)

    @property
    def names(self) -> tuple[str, ...]:
        """Maps that can be compared."""
        return (*MAPS[: self.orders], "FA")

    def maps(self, estimate: Estimate) -> dict[str, torch.Tensor]:
        """Volumes (X, Y, Z) of an answer, by name, zero outside the mask."""
        values = [*estimate.rish_3V[: self.orders], estimate.anisotropy(self.scan)]
        inside = torch.as_tensor(self.scan.brain_out.mask)
        out = {}
        for name, value in zip(self.names, values, strict=True):
            out[name] = torch.zeros(self.scan.brain_out.mask.shape)
            out[name][inside] = value.float()
        return out

    def metrics(
        self, answer: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, float]:
        """NMSE and SSIM of every map, keys such as ``NMSE R0``.

        Parameters
        ----------
        answer, truth : dict
            Both from :meth:`maps`.
        """
        # a window of SSIM reaches five voxels beyond what counts
        box = box_slices(*bounding_box(self.counted, 6))
        keep = torch.as_tensor(self.counted[box])
        out = {}
        for name in self.names:
            pair = answer[name][box], truth[name][box]
            out[f"NMSE {name}"] = float(nmse(*pair, keep))
            out[f"SSIM {name}"] = float(ssim(*pair, keep))
        return out

    def texture(
        self, answer: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, float]:
        """How unlike the truth's the texture of maps is; empty where noise is part of that.

        Parameters
        ----------
        answer, truth : dict
            Both from :meth:`maps`.
        """
        return texture_metrics(answer, truth, self.counted) if self.exact else {}

    def signal_metrics(self, estimate: Estimate) -> dict[str, float]:
        """``NMSE DWI``, that of coefficients by order, and the angle of the principal direction."""
        counted_V = torch.as_tensor(self.counted[self.scan.brain_out.mask])
        if self.held_out is None:
            errors = self._errors(estimate, counted_V)
        else:
            errors = self.held_out.errors(estimate, self.truth, counted_V)
        out = {f"{METRICS[0]} {name}": value for name, value in errors.items()}
        truth_V = self.truth.rish_3V[1, counted_V]
        clear_V = truth_V >= torch.quantile(truth_V[:: len(truth_V) // 100_000 + 1], CLEAR)
        pair = (
            principal_directions(sh_CV[:, counted_V][:, clear_V])
            for sh_CV in (estimate.sh_CV, self.truth.sh_CV)
        )
        return out | {ANGLE: float(angles(*pair).mean())}

    @cached_property
    def tensors(self) -> TensorReference:
        """FA and MD that answers are held against: the truth's, or what a scan tells of it."""
        if self.held_out is None or self.held_out.tensors is None:
            return TensorReference.of(self.truth, self.truth, self.scan)
        return self.held_out.tensors

    def tensor_metrics(self, estimate: Estimate) -> dict[str, float]:
        """How far FA and MD are off in tissue, keys such as ``bias FA``."""
        counted_V = torch.as_tensor(self.counted[self.scan.brain_out.mask])
        seen = attrs.evolve(estimate, sh_CV=estimate.sh_CV[: self.tensors.shown])
        return self.tensors.errors(Anisotropy.of(seen, self.scan), counted_V)

    def _errors(self, estimate: Estimate, counted_V: torch.Tensor) -> dict[str, float]:
        """NMSE of signals along the scan's directions, and of coefficients, against the truth."""
        sides = (estimate.sh_CV[:, counted_V].float(), self.truth.sh_CV[:, counted_V].float())
        answer_NV, truth_NV = (synthesize(sh_CV, self.scan.directions_N3) for sh_CV in sides)
        out = {DWI: float(nmse(answer_NV, truth_NV))}
        for name, rows in order_rows(*sides):
            out[name] = float(nmse(sides[0][rows], sides[1][rows]))
        return out


def metrics_of(estimate: Estimate, case: Case) -> dict[str, float]:
    """NMSE and SSIM of an answer against its case's truth."""
    return case.metrics(case.maps(estimate), case.maps(case.truth))
