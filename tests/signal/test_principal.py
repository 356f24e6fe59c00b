"""The principal direction from order 2, against tensors of known direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.principal import angles, principal_directions


def test_it_is_the_fibre_of_a_tensor():
    rng = np.random.default_rng(1)
    axes_3V = rng.normal(size=(3, 200))
    axes_3V /= np.linalg.norm(axes_3V, axis=0)
    directions_N3 = fibonacci_directions(60)
    signal_NV = np.exp(-0.3 - 1.4 * (directions_N3 @ axes_3V) ** 2)
    sh_CV = fit(torch.from_numpy(signal_NV).float(), plan_fit(directions_N3, 4, 0.0))
    found_3V = principal_directions(sh_CV)
    assert angles(found_3V, torch.from_numpy(axes_3V)).max() < 0.5
    torch.testing.assert_close(found_3V.norm(dim=0), torch.ones(200).double())


def test_angles_know_no_sign():
    first = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).double()
    second = torch.tensor([[-1.0, 0.6], [0.0, 0.8], [0.0, 0.0]]).double()
    assert angles(first, second).tolist() == pytest.approx([0, 53.1301], abs=1e-3)
