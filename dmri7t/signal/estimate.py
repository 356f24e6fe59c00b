"""What is taken for the coefficients of a shell on the input's grid, and for their RISH."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch

from dmri7t.signal.filter import Filtered
from dmri7t.signal.floor import floor_of, remove_floor
from dmri7t.signal.harmonics import n_coefficients, order_of, order_rows
from dmri7t.signal.held_out import Evidence
from dmri7t.signal.level import hold_level, trust
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.represent import MEAN_SIGNAL, floor_b0, mean_signal
from dmri7t.signal.rish import LOWER, UPPER, harmonize, model_rows, rish, scale_factors
from dmri7t.signal.shell import Shell

SQUARED_FINER = n_coefficients(2)
"""Coefficients that are squared on the finer grid: those of orders 0 and 2."""

Finer = Callable[[torch.Tensor], torch.Tensor]
"""Brings values (T, V) of the input's mask to the finer grid, (T, ...)."""


@attrs.frozen(eq=False)
class ShellEstimate:
    """Coefficients of a shell as far as the scan itself says, and what a model may add.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Of S / S0, S0 being ``b0_V``, floored.
    rish_3V : Tensor (3, V)
        RISH of the true coefficients as far as the scan says: those of ``sh_CV`` and what they
        lack, or without the noise that they hold.
    model_shares : tuple of three floats
        What part of a model's RISH orders 0, 2, 4 take. 1: scaled wholly to it.
    evidence : Evidence
    rish_shares : tuple of three floats
        What part of a model's RISH the maps of RISH take: their least error is not where that of
        the signals is, whose directions have noise.
    b0_V : Tensor (V,)
        Mean b0, filtered where the coefficients are.
    trust_V : Tensor (V,), optional
        How far a model's order 0 is held to the scan's own: see :mod:`dmri7t.signal.level`.
        None: not at all.
    floor : float
        Standard deviation, in units of the scanner, of the noise whose floor was taken out: see
        :mod:`dmri7t.signal.floor`.
    """

    sh_CV: torch.Tensor
    rish_3V: torch.Tensor
    model_shares: tuple[float, ...]
    evidence: Evidence
    b0_V: torch.Tensor
    rish_shares: tuple[float, ...] = attrs.field()

    @rish_shares.default
    def _same(self) -> tuple[float, ...]:
        return self.model_shares

    trust_V: torch.Tensor | None = None
    floor: float = 0.0

    @classmethod
    def as_measured(cls, shell: Shell, b0_V: torch.Tensor, reason: str) -> ShellEstimate:
        """Take the fit as it is, scaled wholly to a model's RISH, as the paper does.

        Parameters
        ----------
        shell : Shell
        b0_V : Tensor (V,)
            Mean b0 that its signals were divided by.
        reason : str
            Why nothing was measured.
        """
        n = shell.n_orders
        evidence = Evidence(((0.0,) * n, (1.0,) * n), reason=reason)
        return cls(shell.sh_CV, shell.debiased_3V, (1.0,) * len(ORDERS), evidence, b0_V)

    @classmethod
    def mixed(
        cls,
        shell: Shell,
        b0_V: torch.Tensor,
        filtered: Filtered,
        energy: float,
        evidence: Evidence,
    ) -> ShellEstimate:
        """Mix the fit and the filtered coefficients by the shares of the evidence.

        Parameters
        ----------
        shell : Shell
        b0_V : Tensor (V,)
            Mean b0 that its signals were divided by.
        filtered : Filtered
            Of it.
        energy : float
            See :meth:`dmri7t.signal.filter.Filtered.with_energy`.
        evidence : Evidence
            Shares of the filter, then those of the model.
        """
        filter_L, model_L = evidence.shares
        full_CV = filtered.with_energy(energy)
        if not any(filter_L):
            # a scan that gains nothing by the filter is interpolated as it is
            filtered = attrs.evolve(filtered, b0_V=b0_V)
        scale_V = floor_b0(b0_V) / floor_b0(filtered.b0_V)
        # the filtered ones are of no use after this
        for index, span in enumerate(order_rows(len(full_CV))):
            rows = slice(span.start, span.stop)
            share = filter_L[min(index, len(filter_L) - 1)]
            if span.stop <= len(shell.sh_CV):
                torch.lerp(shell.sh_CV[rows] * scale_V, full_CV[rows], share, out=full_CV[rows])
            else:
                # foretold, and not fitted
                full_CV[rows] *= share
        n = min(shell.n_orders, len(filter_L))
        true_3V = model_rows(rish(filtered.sh_CV)[:n] + filtered.missing_LV[:n]).clamp_min(0)
        weights_31 = torch.zeros(len(ORDERS), 1)
        weights_31[:n, 0] = torch.tensor(filter_L[:n])
        rish_3V = torch.lerp(shell.debiased_3V * scale_V.square(), true_3V, weights_31)
        model = [*model_L[:n], *[0.0] * (len(ORDERS) - n)]
        # a scan that shows nothing of an order has no RISH of its own to hold against the model's
        of_rish = evidence.rish_shares or (*model[:n], *[1.0] * (len(ORDERS) - n))
        trust_V = trust(shell.sh_CV[0] / MEAN_SIGNAL, shell.sigma_V)
        return cls(full_CV, rish_3V, tuple(model), evidence, filtered.b0_V, of_rish, trust_V)

    def held(self, sigma_V: torch.Tensor) -> ShellEstimate:
        """Hold a model's order 0 to the scan's own: see :mod:`dmri7t.signal.level`.

        Parameters
        ----------
        sigma_V : Tensor (V,)
            Standard deviation of the noise over the floored mean b0.
        """
        return attrs.evolve(self, trust_V=trust(self.sh_CV[0] / MEAN_SIGNAL, sigma_V))

    def without_floor(
        self, sigma: float, mask_XYZ: np.ndarray, highest: int | None = None
    ) -> ShellEstimate:
        """Take the floor of the noise out of coefficients and RISH.

        Parameters
        ----------
        sigma : float
            Standard deviation of the noise in units of the scanner, as residuals tell it.
        mask_XYZ : ndarray of bool
            V true voxels, C order.
        highest : int, optional
            Order above which coefficients stay as they are: 0 where these are not filtered, so that
            only their mean over directions is known well.
        """
        sigma = floor_of(mean_signal(self.sh_CV, self.b0_V), mask_XYZ, sigma)
        if sigma <= 0:
            return self
        sigma_V = sigma / floor_b0(self.b0_V)
        rows = len(self.sh_CV) if highest is None else n_coefficients(highest)
        sh_CV = torch.cat([remove_floor(self.sh_CV[:rows], sigma_V), self.sh_CV[rows:]])
        n = min(order_of(len(sh_CV)) // 2 + 1, len(ORDERS))
        rish_3V = self.rish_3V.clone()
        rish_3V[:n] += rish(sh_CV)[:n] - rish(self.sh_CV)[:n]
        # held by the signals as they were
        held = self.held(sigma_V)
        return attrs.evolve(held, sh_CV=sh_CV, rish_3V=rish_3V.clamp_min(0), floor=sigma)

    @property
    def takes_model(self) -> bool:
        """Whether any order takes something of the model."""
        return any(share > 0 for share in self.model_shares)

    def levelled(
        self,
        root_3: torch.Tensor,
        own_3: torch.Tensor,
        inside: torch.Tensor,
        finer: Finer,
        coarser: Sequence[float] | np.ndarray,
    ) -> torch.Tensor:
        """Hold a model's order 0 to the scan's own, unless all is to be the model's.

        Parameters
        ----------
        root_3 : Tensor (3, X, Y, Z)
            Square roots of the model's RISH.
        own_3 : Tensor (3, X, Y, Z)
            RISH of the scan itself, from :meth:`finer`.
        inside, coarser
            See :func:`dmri7t.signal.level.hold_level`.
        finer : callable
            See :meth:`finer`.
        """
        if self.trust_V is None:
            return root_3
        trusted = finer(self.trust_V[None])[0].clamp(0, 1).to(root_3.device)
        held = hold_level(root_3[0], own_3[0].sqrt(), trusted, inside, coarser)
        return torch.cat([held[None], root_3[1:]])

    def finer(self, finer: Finer) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients of orders 0 and 2, and RISH, on a finer grid as far as the scan says.

        RISH are those of the coefficients there, and what these lack of the true ones' on the
        input's grid. Interpolated RISH themselves are too large beside edges: the square of a
        mean is less than the mean of squares. Of order 4 they are interpolated all the same: its
        nine coefficients cost more than they bring.

        Parameters
        ----------
        finer : callable
            Brings values (T, V) to the finer grid, (T, ...).

        Returns
        -------
        sh : Tensor (6, ...)
            Fewer where order 2 was not fitted.
        rish : Tensor (3, ...)
        """
        sh_CV = self.sh_CV[:SQUARED_FINER]
        n = order_of(len(sh_CV)) // 2 + 1
        lacking_3V = self.rish_3V.clone()
        lacking_3V[:n] -= rish(sh_CV)
        own, fine = finer(lacking_3V), finer(sh_CV)
        own[:n] += rish(fine.flatten(1)).unflatten(1, own.shape[1:])
        return fine, own.clamp_min(0)

    def scaled(
        self,
        fine_CV: torch.Tensor,
        rish7_3V: torch.Tensor,
        bounds: tuple[float, float] = (LOWER, UPPER),
    ) -> tuple[torch.Tensor, list[float]]:
        """Bring coefficients on the output's grid to a model's RISH, as far as shares say.

        Parameters
        ----------
        fine_CV : Tensor (C, V')
            ``sh_CV`` on the output's grid.
        rish7_3V : Tensor (3, V')
            The model's.
        bounds : tuple of float
            Of the factors sqrt(R7 / R3).

        Returns
        -------
        sh_CV : Tensor (C, V')
        bounded : list of float
            For every order, the fraction of voxels whose factor met a bound; 0 where nothing of
            the model is taken.
        """
        n = min(order_of(len(fine_CV)) // 2 + 1, len(ORDERS))
        if not self.takes_model:
            return fine_CV, [0.0] * n
        factor_LV, bounded_L = scale_factors(rish(fine_CV)[:n], rish7_3V[:n], *bounds)
        shares_L = torch.tensor(self.model_shares[:n])
        taken_LV = 1 + shares_L[:, None] * (factor_LV - 1)
        bounded = [float(b) if share else 0.0 for b, share in zip(bounded_L, shares_L, strict=True)]
        return harmonize(fine_CV, taken_LV), bounded


def mixed_rish(
    own_3V: torch.Tensor, model_3V: torch.Tensor, model_shares: Sequence[float]
) -> torch.Tensor:
    """RISH (3, ...) of which orders take the model's by their shares, the scan's own beside."""
    shares = torch.tensor(model_shares, dtype=own_3V.dtype, device=own_3V.device)
    return torch.lerp(own_3V, model_3V, shares.view(-1, *[1] * (own_3V.ndim - 1)))
