"""FA and MD of an answer: how far off they are in tissue, and to which side.

FA is the size of a tensor, and noise makes any size larger. So FA is compared as that tensor: the
diffusion tensor without its mean, over its whole size, times the root of 1.5. Products of two
measurements of it, whose noise is independent, have no noise in their mean.
"""

from __future__ import annotations

import attrs
import torch

from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.signal.tensor import mean_diffusivity

TISSUE = 1.2
"""Voxels whose reference has a smaller MD, um2/ms, are tissue: the rest is water in part."""

LEAST = 0.1
"""MD, um2/ms, of the smallest tensor that tissue has: noise alone makes smaller ones, or products
of two that are below zero."""

TENSOR_MAPS = ("FA", "MD")
"""What is measured, MD in um2/ms."""

BIAS, RMSE = "bias", "RMSE"
"""By how much the size over tissue is too large, and root of the mean squared error."""


@attrs.frozen(eq=False)
class Anisotropy:
    """Tensors as FA and MD see them.

    Parameters
    ----------
    fa_6V : Tensor (6, V)
        The tensor whose size is FA; products of two over the rows are those of all nine elements.
    md_V : Tensor (V,)
        um2/ms.
    """

    fa_6V: torch.Tensor
    md_V: torch.Tensor

    @classmethod
    def of(cls, estimate: Estimate, scan: ShellScan) -> Anisotropy:
        """Fit tensors to the signals of an answer along a scan's directions."""
        tensor_6V = estimate.tensor(scan)
        return cls.over(tensor_6V, _elements(tensor_6V).norm(dim=0))

    @classmethod
    def over(cls, tensor_6V: torch.Tensor, size_V: torch.Tensor) -> Anisotropy:
        """Take tensors (6, V), mm2/s, over sizes (V,) of them that are known better."""
        md_V = mean_diffusivity(tensor_6V.double())
        part_6V = _elements(tensor_6V)
        part_6V[:3] -= md_V
        tiny = torch.finfo(torch.float32).tiny
        return cls(1.5**0.5 * part_6V / size_V.clamp_min(tiny), 1000 * md_V)


def _elements(tensor_6V: torch.Tensor) -> torch.Tensor:
    """Rows (6, V) whose products are those of all nine elements."""
    # those off the diagonal are there twice
    doubled = tensor_6V.double()
    return torch.cat([doubled[:3], 2**0.5 * doubled[3:]])


@attrs.frozen(eq=False)
class TensorReference:
    """FA and MD that answers are held against.

    Parameters
    ----------
    first, second : Anisotropy
        Two measurements of the truth with independent noise, the second with none of the
        answers' noise either. Where the truth is known, it itself, twice.
    known_V : Tensor (V,) of bool
        Where the size of the tensor is known well enough to divide by.
    shown : int, optional
        Coefficients that the measurements show: an answer with higher orders has other signals, and
        so another tensor, than they can have.
    """

    first: Anisotropy
    second: Anisotropy
    known_V: torch.Tensor
    shown: int | None = None

    @classmethod
    def of(
        cls, first: Estimate, second: Estimate, scan: ShellScan, shown: int | None = None
    ) -> TensorReference:
        """Take two measurements; or a truth, twice.

        Noise makes a tensor's size larger too, so both are taken over the root of their product.

        Parameters
        ----------
        first, second : Estimate
        scan : ShellScan
            Along whose directions signals are made of coefficients.
        shown : int, optional
            Coefficients that both show; default: all that there are.
        """
        tensors = (first.tensor(scan), second.tensor(scan))
        size_V = (_elements(tensors[0]) * _elements(tensors[1])).sum(0).clamp_min(0).sqrt()
        one, other = (Anisotropy.over(tensor_6V, size_V) for tensor_6V in tensors)
        return cls(one, other, size_V > 3**0.5 * LEAST / 1000, shown)

    def errors(self, answer: Anisotropy, counted_V: torch.Tensor) -> dict[str, float]:
        """How far an answer is off, in tissue.

        With e the answer, and a and b the two measurements, sums over rows and means over
        voxels::

            bias of FA     sqrt(e e) - sqrt(a b)
            bias of MD     e - (a + b) / 2
            RMSE           sqrt(e e - 2 e b + a b)

        The RMSE is the answer's own, without the noise of the reference, and an error of the
        direction is part of that of FA. Chance may make a small square negative: it counts as 0.

        Parameters
        ----------
        answer : Anisotropy
        counted_V : Tensor (V',) of bool

        Returns
        -------
        dict
            Keys such as ``bias FA`` and ``RMSE MD``; nan where there is no tissue.
        """
        md_V = (self.first.md_V + self.second.md_V) / 2
        tissue_V = counted_V & self.known_V & (md_V < TISSUE)
        e, a, b = (x.fa_6V[:, tissue_V] for x in (answer, self.first, self.second))
        # about the mean: chance is less where the products are
        about = md_V[tissue_V].mean()
        m, p, q = (x.md_V[tissue_V][None] - about for x in (answer, self.first, self.second))
        return {
            f"{BIAS} {TENSOR_MAPS[0]}": _root(_product(e, e)) - _root(_product(a, b)),
            f"{BIAS} {TENSOR_MAPS[1]}": float(m.mean()),
            f"{RMSE} {TENSOR_MAPS[0]}": _root(_squared_error(e, a, b)),
            f"{RMSE} {TENSOR_MAPS[1]}": _root(_squared_error(m, p, q)),
        }


def _product(a_KV: torch.Tensor, b_KV: torch.Tensor) -> torch.Tensor:
    return (a_KV * b_KV).sum(0).mean()


def _squared_error(e_KV: torch.Tensor, a_KV: torch.Tensor, b_KV: torch.Tensor) -> torch.Tensor:
    return _product(e_KV, e_KV) - 2 * _product(e_KV, b_KV) + _product(a_KV, b_KV)


def _root(value: torch.Tensor) -> float:
    return float(value.clamp_min(0).sqrt())
