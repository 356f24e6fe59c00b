"""The cone that holds a principal direction, against noise that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.cone import LEVEL, cone_angle
from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.principal import ORDER_2, angles, principal_directions, quadratic_forms

N = 20_000


def order_2(fractions: tuple[float, ...]) -> torch.Tensor:
    """Coefficients (C, 1) of fibres along x, y and z, by their fractions."""
    directions_N3 = fibonacci_directions(60)
    signal_N = sum(f * np.exp(-1.7 * directions_N3[:, i] ** 2) for i, f in enumerate(fractions))
    return fit(torch.from_numpy(signal_N).float()[:, None], plan_fit(directions_N3, 2))


@pytest.mark.parametrize("fractions", [(1.0,), (0.7, 0.3), (0.6, 0.3, 0.1)])
@pytest.mark.parametrize("relative", [0.02, 0.08])
def test_cones_hold_as_many_directions_as_they_say(fractions, relative):
    clean_C1 = order_2(fractions)
    size = float(clean_C1[ORDER_2].norm())
    generator = torch.Generator().manual_seed(0)
    noisy_CV = clean_C1 + relative * size * torch.randn(6, N, generator=generator)
    off_V = angles(principal_directions(noisy_CV), principal_directions(clean_C1))
    variance = torch.full((1,), (relative * size) ** 2)
    cone = float(cone_angle(clean_C1[ORDER_2], variance))
    assert float((off_V <= cone).float().mean()) == pytest.approx(LEVEL, abs=0.015)


def test_the_cone_turns_with_the_head_and_closes_without_error():
    sh_CV = order_2((0.7, 0.3)) + 0.1 * torch.randn(6, 50, generator=torch.manual_seed(1))
    variance_V = torch.full((50,), 0.01)
    forms = quadratic_forms().float()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.manual_seed(2)))[0]
    q_V33 = torch.einsum("cv,cij->vij", sh_CV[ORDER_2], forms)
    turned_V33 = turn @ q_V33 @ turn.T
    turned_5V = torch.einsum("vij,cij->cv", turned_V33, forms) / forms[0].square().sum()
    torch.testing.assert_close(
        cone_angle(sh_CV[ORDER_2], variance_V),
        cone_angle(turned_5V, variance_V),
        rtol=1e-3,
        atol=0.05,
    )
    assert float(cone_angle(sh_CV[ORDER_2], torch.zeros(50)).max()) == 0


def test_of_no_direction_nothing_is_known():
    """Alike in all directions, or a disc: two fibres of the same strength."""
    assert cone_angle(torch.zeros(5, 1), torch.ones(1)).item() == pytest.approx(90, abs=1e-3)
    disc_C1 = order_2((0.5, 0.5))
    assert cone_angle(disc_C1[ORDER_2], torch.full((1,), 1e-4)).item() > 80
