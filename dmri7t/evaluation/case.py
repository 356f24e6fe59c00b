"""One shell whose 7T is known, and what a method's answer is worth on it."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.models.fitted import MapName
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.metrics import nmse, ssim
from dmri7t.signal.resample import bounding_box

MAPS: tuple[MapName, ...] = ("R0", "R2", "R4", "FA")
"""Features that are compared."""

DWI = "DWI"
"""Signals of directions that no method saw; compared where a scan has them."""

METRICS = ("NMSE", "SSIM")
"""Of each map; of signals the first alone."""


@attrs.frozen(eq=False)
class HeldOut:
    """What was measured along directions that the methods are not given.

    Parameters
    ----------
    signal_NV : Tensor (N, V')
        Over the b0, within ``mask_out``.
    directions_N3 : ndarray (N, 3)
    """

    signal_NV: torch.Tensor
    directions_N3: np.ndarray

    def nmse(self, estimate: Estimate, counted_V: torch.Tensor) -> float:
        """Squared error of what an answer's coefficients say of them, over their energy.

        Their noise counts, the same for every answer: none can reach zero. Unlike FA and RISH,
        whose reference noise raises, signals favour no answer for being noisy itself.
        """
        truth_NV = self.signal_NV[:, counted_V]
        answer_NV = synthesize(estimate.sh_CV[:, counted_V].float(), self.directions_N3)
        return float((answer_NV - truth_NV).square().sum() / truth_NV.square().sum())


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
        start, stop = bounding_box(self.counted, 6)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        keep = torch.as_tensor(self.counted[box])
        out = {}
        for name in self.names:
            pair = answer[name][box], truth[name][box]
            out[f"NMSE {name}"] = float(nmse(*pair, keep))
            out[f"SSIM {name}"] = float(ssim(*pair, keep))
        return out

    def signal_metrics(self, estimate: Estimate) -> dict[str, float]:
        """``NMSE DWI``, of the directions that the methods are not given; nothing without any."""
        if self.held_out is None:
            return {}
        counted_V = torch.as_tensor(self.counted[self.scan.brain_out.mask])
        return {f"{METRICS[0]} {DWI}": self.held_out.nmse(estimate, counted_V)}


def metrics_of(estimate: Estimate, case: Case) -> dict[str, float]:
    """NMSE and SSIM of an answer against its case's truth."""
    return case.metrics(case.maps(estimate), case.maps(case.truth))
