"""What a finer grid does to an image: polynomials are kept, edges hardly ring, FA stays FA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions
from shells import translated_shell

from dmri7t.signal.compose import Composer
from dmri7t.signal.grids import Grid, refine, voxel_coordinates
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.resample import interpolate, linear_matrix, resample_mask
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy, mean_diffusivity

BVALS = np.array([0.0] + [1000.0] * 60)
DIRECTIONS = np.concatenate([np.zeros((1, 3)), fibonacci_directions(60)])

TISSUES = {
    "csf": (1000.0, np.eye(3) * 3e-3),
    "grey": (600.0, np.eye(3) * 0.8e-3),
    "fibre across": (450.0, np.diag([1.7e-3, 0.3e-3, 0.3e-3])),
    "fibre along": (450.0, np.diag([0.3e-3, 1.7e-3, 0.3e-3])),
}
HIGHEST_FA = 0.799


def test_cubic_polynomials_are_exact_away_from_the_borders():
    """A mirror bends a polynomial at the border; that fades by 0.27 a voxel."""
    grid = Grid((48, 50, 46), np.diag([1.25, 1.25, 1.25, 1]))
    fine = refine(grid, 1.05)
    line = np.polynomial.Polynomial([0.3, -1.0, 0.8, 2.0])

    def polynomial(axes):
        x, y, z = np.meshgrid(*[(a - 24) / 24 for a in axes], indexing="ij")
        return line(x) * (1 + y**3) - y * z**3 + x * y * z

    volume = torch.as_tensor(polynomial([np.arange(n) for n in grid.shape]))
    expected = polynomial(voxel_coordinates(grid, fine))
    got = interpolate(volume, grid, fine).numpy()
    inner = (slice(16, -16),) * 3
    np.testing.assert_allclose(got[inner], expected[inner], atol=1e-6)


def upsampled(left: str, right: str) -> tuple[torch.Tensor, torch.Tensor]:
    """FA and MD along a line across a hard edge, after 1.25 to 1.05 mm with a factor of one."""
    grid = Grid((40, 10, 10), np.diag([1.25, 1.25, 1.25, 1]))
    fine = refine(grid, 1.05)
    dwi_NXYZ = np.empty((61, *grid.shape))
    for half, (b0, tensor) in ((slice(20), TISSUES[left]), (slice(20, None), TISSUES[right])):
        decay = np.exp(-BVALS * np.einsum("ni,ij,nj->n", DIRECTIONS, tensor, DIRECTIONS))
        dwi_NXYZ[:, half] = (b0 * decay)[:, None, None, None]
    dwi_NV = torch.as_tensor(dwi_NXYZ.reshape(61, -1))
    brain, brain_out = (Brain(np.ones(g.shape, bool), g) for g in (grid, fine))
    regrid = Regrid(brain, brain_out)
    shell = Shell.from_signal(ShellSignal(dwi_NV[1:], dwi_NV[0], DIRECTIONS[1:], 1000.0, 1, brain))
    same = translated_shell(shell, dwi_NV[0], rish(regrid(shell.sh_CV))[:3], list(range(1, 61)))
    out_NV = np.empty((61, regrid.n_out))
    Composer(regrid, (0.25, 4.0)).compose(dwi_NV, dwi_NV[0], [same], [0], [], out_NV)
    tensor_6V = fit_tensor(torch.as_tensor(out_NV), BVALS, DIRECTIONS)
    maps = (fractional_anisotropy(tensor_6V), mean_diffusivity(tensor_6V))
    return tuple(m.reshape(fine.shape)[:, 5, 5] for m in maps)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("csf", "fibre across"),
        ("csf", "fibre along"),
        ("fibre across", "fibre along"),
        ("grey", "fibre across"),
    ],
)
def test_anisotropy_overshoots_little_at_a_hard_edge(left, right):
    fa, md = upsampled(left, right)
    assert fa.max() < HIGHEST_FA + 0.035
    assert md.min() > 0.9 * min(np.trace(TISSUES[t][1]) / 3 for t in (left, right))
    # three voxels from the edge all is as it was
    for end, tissue in ((slice(2, 18), left), (slice(-18, -2), right)):
        wanted = 0.0 if np.ptp(np.diag(TISSUES[tissue][1])) == 0 else HIGHEST_FA
        np.testing.assert_allclose(fa[end], wanted, atol=0.01)


def test_no_anisotropy_comes_of_an_edge_between_isotropic_tissues():
    fa, _ = upsampled("csf", "grey")
    assert fa.max() < 1e-5


def test_masks_keep_their_volume_and_touch_the_border():
    grid = Grid((20, 24, 22), np.diag([1.25, 1.25, 1.25, 1]))
    fine = refine(grid, 1.05)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    ball = ((places - (np.array(grid.shape) - 1) / 2) ** 2).sum(-1) < 8**2
    after = resample_mask(ball, grid, fine).sum() * fine.voxel_sizes.prod()
    assert after == pytest.approx(ball.sum() * grid.voxel_sizes.prod(), rel=0.02)
    assert resample_mask(ball, grid, grid).tolist() == ball.tolist()
    # a field of view that is all mask stays all mask, but for what lies outside it
    everything = resample_mask(np.ones(grid.shape, bool), grid, fine)
    assert everything[1:-1, 1:-1, 1:-1].all()
    assert not resample_mask(np.zeros(grid.shape, bool), grid, fine).any()


def test_beyond_the_image_a_mask_is_empty():
    rows = linear_matrix(4, np.array([-0.6, -0.5, 0.0, 1.25, 3.5, 3.6]))
    np.testing.assert_allclose(rows.sum(1), [0, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(rows[3], [0, 0.75, 0.25, 0])
