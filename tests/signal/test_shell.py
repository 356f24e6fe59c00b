"""A brain on its grid, and a shell made in one place, held against its parts made by hand."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.coherence import coherent_rish, residual_correlation
from dmri7t.signal.describe import direction_spread
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.noise import few_directions_noise
from dmri7t.signal.represent import floor_b0, normalize
from dmri7t.signal.rish import debias, rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.signal.slices import slice_loss

N_B0 = 3


@pytest.fixture
def brain() -> Brain:
    mask = np.random.default_rng(0).random((9, 10, 11)) < 0.5
    return Brain(mask, Grid(mask.shape, np.diag([1.0, 2.0, 3.0, 1.0])))


@pytest.fixture
def measured(brain) -> ShellSignal:
    """Noise on a signal that hangs on the direction."""
    directions = fibonacci_directions(20)
    generator = torch.Generator().manual_seed(0)
    b0_V = 900 + 100 * torch.rand(brain.n_voxels, generator=generator)
    decay = torch.from_numpy(np.exp(-0.2 * directions[:, :1] ** 2)).float()
    noise_NV = 20 * torch.randn(20, brain.n_voxels, generator=generator)
    return ShellSignal(decay * b0_V + noise_NV, b0_V, directions, 1000.0, N_B0, brain)


def test_placed_values_are_picked_again(brain):
    values_KV = torch.randn(3, brain.n_voxels)
    volumes = brain.place(values_KV)
    assert torch.equal(brain.pick(volumes), values_KV)
    assert torch.equal(brain.pick(volumes[0]), values_KV[0])
    assert not volumes[:, ~torch.from_numpy(brain.mask)].any()
    assert brain.voxel_sizes.tolist() == [1.0, 2.0, 3.0]


def test_voxels_stand_in_c_order(brain):
    index_XYZ = torch.arange(brain.mask.size).reshape(brain.mask.shape)
    assert brain.pick(index_XYZ).tolist() == np.flatnonzero(brain.mask).tolist()


def test_wrong_shapes_are_refused(brain, measured):
    with pytest.raises(ValueError, match="grid of shape"):
        Brain(brain.mask[1:], brain.grid)
    with pytest.raises(ValueError, match="mask of shape"):
        brain.pick(torch.zeros(3, 11, 10, 9))
    with pytest.raises(RuntimeError):
        brain.place(torch.zeros(3, brain.n_voxels + 1))
    with pytest.raises(ValueError, match="signal: of shape"):
        attrs.evolve(measured, signal_NV=measured.signal_NV[1:])
    with pytest.raises(ValueError, match="mean b0: of shape"):
        attrs.evolve(measured, b0_V=measured.b0_V[1:])
    shell = Shell.from_signal(measured)
    for field in ("sh_CV", "rish_3V", "noise_3V", "coherent_9V", "sigma_V", "loss_V"):
        with pytest.raises(ValueError, match="of shape"):
            attrs.evolve(shell, **{field: getattr(shell, field)[..., 1:]})


def test_a_crop_lies_where_its_voxels_lay(brain):
    part = brain.crop((slice(1, 4), slice(0, 6), slice(2, 5)))
    assert (part.mask == brain.mask[1:4, :6, 2:5]).all()
    assert part.grid.affine[:3, 3].tolist() == [1.0, 0.0, 6.0]


def test_a_shell_is_its_parts_put_together_by_hand(brain, measured):
    shell = Shell.from_signal(measured)
    plan = plan_fit(measured.directions_N3)
    normalized_NV = normalize(measured.signal_NV, measured.b0_V)
    sh_CV = fit(normalized_NV, plan)
    # a penalised fit of 20 directions leaves signal in its residuals
    sigma = few_directions_noise(measured.signal_NV, measured.directions_N3, brain.mask)
    sigma_V = (sigma / floor_b0(measured.b0_V)).clamp_max(1.0)
    share_3V = torch.as_tensor(plan.noise_L).float()[:, None] * sigma_V.square()
    noise_3V = share_3V + rish(sh_CV) * sigma_V.square() / N_B0

    assert shell.plan.order == 4 and sigma == pytest.approx(20, rel=0.2)
    assert torch.equal(shell.sh_CV, sh_CV) and torch.equal(shell.rish_3V, rish(sh_CV))
    assert torch.equal(shell.sigma_V, sigma_V)
    torch.testing.assert_close(shell.noise_3V, noise_3V)
    assert torch.equal(shell.coherent_9V, coherent_rish(sh_CV, brain.mask))
    assert torch.equal(shell.loss_V, slice_loss(measured.signal_NV, brain.mask))
    assert torch.equal(shell.debiased_3V, debias(shell.rish_3V, shell.noise_3V))
    numbers = shell.description
    assert numbers.voxel_sizes == (1.0, 2.0, 3.0)
    assert (numbers.bval, numbers.n_directions) == (1000.0, 20)
    assert (numbers.sigma, numbers.spread) == (float(sigma_V.median()), direction_spread(plan))
    assert numbers.correlation == residual_correlation(measured.signal_NV, brain.mask, plan)


def test_order_and_penalty_are_those_asked_for(measured):
    shell = Shell.from_signal(measured, order=2, laplace_beltrami=0.01)
    assert (shell.plan.order, shell.plan.laplace_beltrami, shell.n_orders) == (2, 0.01, 2)
    assert len(shell.sh_CV) == 6 and not shell.rish_3V[2].any() and not shell.noise_3V[2].any()


def test_what_was_measured_is_cropped_with_its_b0s(measured):
    b0s_MV = torch.stack([measured.b0_V, 2 * measured.b0_V])
    box = (slice(1, 4), slice(0, 6), slice(2, 5))
    part = attrs.evolve(measured, b0s_MV=b0s_MV).crop(box)
    brain = measured.brain
    assert np.array_equal(part.brain.mask, brain.mask[box])
    for values, whole in (
        (part.signal_NV, measured.signal_NV),
        (part.b0_V[None], measured.b0_V[None]),
        (part.b0s_MV, b0s_MV),
    ):
        assert torch.equal(part.brain.place(values), brain.place(whole)[:, *box])
    with pytest.raises(ValueError, match="b0s: of shape"):
        attrs.evolve(measured, b0s_MV=part.b0s_MV)


def test_a_cropped_shell_holds_the_voxels_of_the_box(measured):
    shell = Shell.from_signal(measured)
    box = (slice(2, 8), slice(1, 9), slice(3, 10))
    part = shell.crop(box)
    for field in ("sh_CV", "rish_3V", "noise_3V", "coherent_9V"):
        whole = shell.brain.place(getattr(shell, field))
        assert torch.equal(part.brain.place(getattr(part, field)), whole[(slice(None), *box)])
    for field in ("sigma_V", "loss_V"):
        whole = shell.brain.place(getattr(shell, field)[None])
        assert torch.equal(part.brain.place(getattr(part, field)[None]), whole[(slice(None), *box)])
    assert part.description == shell.description and part.plan is shell.plan
