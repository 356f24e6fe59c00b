"""Shells, grids, splines, tensors and metrics against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions
from scipy.ndimage import gaussian_filter, map_coordinates

from dmri7t.errors import InputError
from dmri7t.signal.gradients import GradientTable, find_shells, why_no_shell
from dmri7t.signal.grids import Grid, refine, voxel_coordinates
from dmri7t.signal.harmonics import plan_fit
from dmri7t.signal.metrics import nmse, ssim
from dmri7t.signal.resample import (
    apply_axes,
    bounding_box,
    extend,
    interpolate,
    nearest_in_mask,
    resample_mask,
    spline_matrix,
)
from dmri7t.signal.tensor import (
    fit_tensor,
    fractional_anisotropy,
    mean_diffusivity,
    principal_direction,
)


@pytest.mark.parametrize(
    ("bvals", "n_b0", "shells"),
    [
        ([0, 0, 1000, 1000], 2, {"b1000": 2}),
        ([55, 60, 65, 995, 1000, 1005, 2000, 1995], 3, {"b1000": 3, "b1998": 2}),
        ([5, 930, 930, 930], 1, {"b930": 3}),
        ([0, 990, 1000, 1010, 2990, 3005, 3010], 1, {"b1000": 3, "b3002": 3}),
        ([0, 700, 850, 1000], 1, {"b700": 1, "b850": 1, "b1000": 1}),
    ],
)
def test_shells(bvals, n_b0, shells):
    b0, found = find_shells(np.array(bvals))
    assert len(b0) == n_b0 and {s.name: len(s) for s in found} == shells


def test_b0_threshold_is_a_choice():
    b0, shells = find_shells(np.array([140, 150, 1000]), b0_threshold=200)
    assert b0 == (0, 1) and len(shells) == 1
    assert find_shells(np.array([140, 150, 1000]))[0] == ()


@pytest.mark.parametrize(
    ("bvals", "n_b0", "names"),
    [
        ([0, *[100] * 6, *[1000] * 30], 1, ["b100", "b1000"]),
        ([0, 5, 20, 50, 50, *[1000] * 30], 3, ["b50", "b1000"]),
        # one by one, above and below the default
        ([0, 40, 80, *[1000] * 30], 1, ["b60", "b1000"]),
    ],
)
def test_only_the_lowest_b_values_are_b0(bvals, n_b0, names):
    b0, shells = find_shells(np.array(bvals, float))
    assert len(b0) == n_b0 and [s.name for s in shells] == names


def scheme(*shells: tuple[float, np.ndarray]) -> GradientTable:
    """Two b0s and these directions at these b-values."""
    bvals = np.concatenate([[0, 0], *([b] * len(d) for b, d in shells)])
    return GradientTable(bvals, np.concatenate([np.zeros((2, 3)), *(d for _, d in shells)]))


def reasons_of(table: GradientTable) -> dict[str, str]:
    shells = find_shells(table.bvals)[1]
    return {shell.name: why_no_shell(table, shell, shells) for shell in shells}


def test_many_b_values_are_no_shell():
    """DIPY's table for IVIM: 200 to 1000 by 100, twelve directions each."""
    table = scheme(*((b, fibonacci_directions(12)) for b in range(200, 1001, 100)))
    reasons = reasons_of(table)
    assert list(reasons) == [f"b{b}" for b in range(200, 1001, 100)]
    assert set(reasons.values()) == {
        "one of 9 b-values from 200 to 1000 s/mm2: a scheme without shells"
    }


def test_a_chain_whose_b_values_jitter_is_parted_where_they_part():
    jitter = np.random.default_rng(0).uniform(-5, 5, 48)
    bvals = np.repeat([700.0, 800, 900, 1000], 12) + jitter
    b0, shells = find_shells(np.concatenate([[0], bvals]))
    assert [len(shell) for shell in shells] == [12] * 4
    assert [shell.bval for shell in shells] == pytest.approx([700, 800, 900, 1000], abs=5)


@pytest.mark.parametrize("seed", range(3))
def test_b_values_all_over_are_no_shell(seed):
    bvals = np.random.default_rng(seed).uniform(800, 1400, 60)
    table = GradientTable(
        np.concatenate([[0], bvals]), np.concatenate([np.zeros((1, 3)), fibonacci_directions(60)])
    )
    reasons = reasons_of(table)
    assert len(reasons) == 1 and "no shell: its b-values run from 8" in next(iter(reasons.values()))


@pytest.mark.parametrize("radius", [3, 4, 5])
@pytest.mark.parametrize("half", [False, True])
def test_a_grid_in_q_space_has_no_shells(radius, half):
    span = np.arange(-radius, radius + 1)
    grid = np.stack(np.meshgrid(span, span, span), -1).reshape(-1, 3)
    square = (grid**2).sum(1)
    grid = grid[(square > 0) & (square <= radius**2)]
    if half:
        grid = grid[np.lexsort(grid.T)[len(grid) // 2 :]]
    square = (grid**2).sum(1)
    directions = grid / np.sqrt(square)[:, None]
    bvals = square * 4000 / radius**2
    table = GradientTable(
        np.concatenate([[0], bvals]), np.concatenate([np.zeros((1, 3)), directions])
    )
    assert all(reasons_of(table).values())


@pytest.mark.parametrize("n", [3, 6])
def test_usual_schemes_keep_their_shells(n):
    """HCP's jitter, and shells beside a few low b-values."""
    shells = [(500.0 * (k + 1), fibonacci_directions(30)) for k in range(n)]
    assert not any(reasons_of(scheme(*shells)).values())
    low = [(b, fibonacci_directions(3)) for b in (60.0, 200.0, 350.0, 500.0, 650.0, 800.0)]
    reasons = reasons_of(scheme(*low, (1000.0, fibonacci_directions(30))))
    assert [name for name, reason in reasons.items() if not reason] == ["b1000"]


def on_cone(n: int, height: float) -> np.ndarray:
    turn = np.arange(n) * 2.4
    vectors = np.stack([np.cos(turn), np.sin(turn), np.full(n, height)], 1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("jitter", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("height", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [6, 12, 40])
def test_a_plane_or_a_cone_tells_no_tensor(n, height, jitter):
    directions = on_cone(n, height)
    turned = directions + np.deg2rad(jitter) * np.random.default_rng(0).normal(size=(n, 3))
    assert "too near to a plane or a cone" in reasons_of(scheme((1000.0, turned)))["b1000"]


def test_two_cones_tell_order_two_and_no_more():
    directions = np.concatenate([on_cone(20, 0.3), on_cone(20, 1.2)])
    assert not reasons_of(scheme((1000.0, directions)))["b1000"]
    assert plan_fit(directions).order == 2


def test_table_of_wrong_shape_is_refused():
    with pytest.raises(InputError, match="2 b-values"):
        GradientTable(np.zeros(2), np.zeros((3, 3)))


@pytest.mark.parametrize("voxel", [1.05, 0.9, (1.0, 1.1, 2.0)])
def test_refined_grid_has_its_voxels_centre_and_field_of_view(voxel):
    affine = np.diag([-1.25, 1.25, 2.5, 1.0])
    affine[:3, 3] = 70, -80, -40
    grid = Grid((31, 40, 17), affine)
    fine = refine(grid, voxel)
    np.testing.assert_allclose(fine.voxel_sizes, np.broadcast_to(voxel, 3))
    middles = [
        g.affine[:3, :3] @ ((np.array(g.shape) - 1) / 2) + g.affine[:3, 3] for g in (grid, fine)
    ]
    np.testing.assert_allclose(*middles, atol=1e-9)
    grown = np.array(fine.shape) * fine.voxel_sizes - np.array(grid.shape) * grid.voxel_sizes
    assert (grown >= -0.01).all() and (grown < fine.voxel_sizes).all()


def test_grids_that_are_turned_are_refused():
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(ValueError, match="rotated"):
        voxel_coordinates(Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 4), turned))


def test_spline_goes_through_its_samples():
    grid = Grid((7, 8, 9), np.eye(4))
    volume = torch.rand(2, *grid.shape, dtype=torch.float64)
    torch.testing.assert_close(interpolate(volume, grid, grid), volume)


def test_spline_is_scipys():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(9, 8, 7))
    axes = [np.linspace(0, n - 1, 13) for n in volume.shape]
    matrices = [spline_matrix(n, x) for n, x in zip(volume.shape, axes, strict=True)]
    ours = apply_axes(torch.tensor(volume), matrices)
    theirs = map_coordinates(volume, np.meshgrid(*axes, indexing="ij"), order=3, mode="mirror")
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_spline_takes_a_constant_for_what_it_is():
    grid = Grid((12, 11, 10), np.diag([1.25, 1.25, 1.25, 1]))
    out = interpolate(torch.full(grid.shape, 3.0), grid, refine(grid, 1.05))
    torch.testing.assert_close(out, torch.full_like(out, 3.0))


def test_mask_edge_does_not_ring():
    """1.25 to 1.05 mm: with the edge carried outwards a brain's rim stays in its range."""
    grid = Grid((24, 24, 24), np.diag([1.25, 1.25, 1.25, 1]))
    fine = refine(grid, 1.05)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij"), -1)
    mask = (places**2).sum(-1) < 0.7
    smooth = gaussian_filter(np.random.default_rng(0).random(grid.shape), 3)
    values = torch.tensor(smooth[mask])[None]
    inside = resample_mask(mask, grid, fine)
    carried = interpolate(extend(values, mask), grid, fine)[0].numpy()[inside]
    span = np.ptp(smooth[mask])
    assert carried.min() > values.min() - 0.05 * span
    assert carried.max() < values.max() + 0.05 * span
    # without it the same rim does ring: the test can fail
    cut = interpolate(torch.tensor(smooth * mask), grid, fine).numpy()[inside]
    assert cut.min() < values.min() - 0.05 * span


def test_tissue_edge_overshoots_no_more_than_a_cubic_spline_must():
    """A hard step up-sampled from 1.25 to 1.05 mm overshoots by at most 12 % of its height."""
    grid = Grid((40, 4, 4), np.diag([1.25, 1.25, 1.25, 1]))
    step = torch.zeros(grid.shape, dtype=torch.float64)
    step[20:] = 1
    out = interpolate(step, grid, refine(grid, 1.05))
    assert out.max() < 1.12 and out.min() > -0.12


def test_nearest_mask_voxel_is_carried():
    mask = np.zeros((5, 1, 1), bool)
    mask[1:3] = True
    assert nearest_in_mask(mask).ravel().tolist() == [0, 0, 1, 1, 1]


def test_bounding_box_stays_in_the_image():
    mask = np.zeros((6, 6, 6), bool)
    mask[1, 2, 5] = True
    assert bounding_box(mask, 2) == ((0, 0, 3), (4, 5, 6))
    with pytest.raises(ValueError, match="empty"):
        bounding_box(np.zeros((2, 2, 2), bool))


@pytest.mark.parametrize(
    ("eigenvalues", "fa"),
    [((1e-3, 1e-3, 1e-3), 0.0), ((1e-3, 0, 0), 1.0), ((1.7e-3, 0.3e-3, 0.3e-3), 0.7990)],
)
def test_known_tensors(eigenvalues, fa):
    directions = np.concatenate([np.zeros((1, 3)), fibonacci_directions(30)])
    bvals = np.array([0.0] + [1000.0] * 30)
    axis = np.array([1.0, 2.0, 2.0]) / 3
    side, _ = np.linalg.qr(np.stack([axis, [1, 0, 0], [0, 1, 0]], 1))
    side[:, 0] = axis
    tensor = side @ np.diag(eigenvalues) @ side.T
    signal = 900 * np.exp(-bvals * np.einsum("ni,ij,nj->n", directions, tensor, directions))
    fitted = fit_tensor(torch.tensor(signal)[:, None], bvals, directions)
    assert float(fractional_anisotropy(fitted)) == pytest.approx(fa, abs=2e-3)
    assert float(mean_diffusivity(fitted)) == pytest.approx(np.mean(eigenvalues), rel=1e-3)
    if fa > 0.5:
        assert abs(float(principal_direction(fitted)[0] @ torch.tensor(axis).float())) > 0.9999


def test_tensor_of_dead_voxels_is_finite():
    directions = np.concatenate([np.zeros((1, 3)), fibonacci_directions(12)])
    bvals = np.array([0.0] + [1000.0] * 12)
    fitted = fit_tensor(torch.zeros(13, 5), bvals, directions)
    assert torch.isfinite(fitted).all()
    assert torch.isfinite(fractional_anisotropy(fitted)).all()


def rounding_of_fa(signal_NV: torch.Tensor, bvals: np.ndarray, directions: np.ndarray):
    """Largest change of FA when sums are taken in another order."""
    turn = np.random.default_rng(0).permutation(len(bvals))
    maps = [
        fractional_anisotropy(fit_tensor(signal_NV[rows], bvals[rows], directions[rows]))
        for rows in (np.arange(len(bvals)), turn)
    ]
    return float((maps[0] - maps[1]).abs().max())


@pytest.mark.parametrize("bvals", [(1000, 1000), (3000, 3000), (1000, 3000)])
def test_tensor_hardly_depends_on_rounding(bvals):
    """Also where values were cut at zero: another number of threads must tell the same FA."""
    rng = np.random.default_rng(1)
    directions = np.concatenate([np.zeros((4, 3)), *[fibonacci_directions(30)] * 2])
    b = np.repeat([0.0, *map(float, bvals)], [4, 30, 30])
    frames = np.linalg.qr(rng.normal(size=(8000, 3, 3)))[0]
    eigenvalues = rng.uniform(0.2e-3, 2e-3, (8000, 3))
    tensors = np.einsum("vij,vj,vkj->vik", frames, eigenvalues, frames)
    signal = 900 * np.exp(-b[:, None] * np.einsum("ni,vij,nj->nv", directions, tensors, directions))
    signal = np.hypot(signal + rng.normal(0, 30, signal.shape), rng.normal(0, 30, signal.shape))
    signal_NV = torch.as_tensor(signal, dtype=torch.float32)
    assert rounding_of_fa(signal_NV, b, directions) < 1e-4
    signal_NV[torch.as_tensor(rng.random(signal.shape) < 0.01)] = 0
    assert rounding_of_fa(signal_NV, b, directions) < 4e-3


def test_ssim_is_the_formula():
    """Wang et al. 2004 with Gaussian windows of 11 voxels, written out with scipy's filter."""
    rng = np.random.default_rng(0)
    reference = gaussian_filter(rng.random((24, 22, 20)), 1.5)
    estimate = reference + 0.05 * rng.normal(size=reference.shape)
    mask = np.zeros(reference.shape, bool)
    mask[6:-7, 7:-6, 6:-8] = True

    def window(x):
        return gaussian_filter(x, 1.5, truncate=5 / 1.5)

    mean = window(estimate), window(reference)
    span = np.ptp(reference[mask])
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    variance = [window(x * x) - m * m for x, m in zip((estimate, reference), mean, strict=True)]
    covariance = window(estimate * reference) - mean[0] * mean[1]
    full = (2 * mean[0] * mean[1] + c1) * (2 * covariance + c2)
    full /= (mean[0] ** 2 + mean[1] ** 2 + c1) * (sum(variance) + c2)
    got = ssim(torch.tensor(estimate), torch.tensor(reference), torch.tensor(mask))
    assert got == pytest.approx(full[mask].mean(), abs=1e-4)


def test_metrics():
    reference = torch.rand(14, 15, 16)
    assert nmse(reference, reference) == 0 and ssim(reference, reference) == pytest.approx(1)
    assert nmse(2 * reference, reference) == pytest.approx(1)
    noisy = reference + 0.2 * torch.randn_like(reference)
    assert ssim(noisy, reference) < 0.95
    # what lies outside the mask does not count for NMSE
    mask = torch.zeros_like(reference, dtype=torch.bool)
    mask[3:11, 3:11, 3:11] = True
    outside = torch.where(mask, reference, noisy)
    assert nmse(outside, reference, mask) == 0
    with pytest.raises(ValueError, match="11 voxels"):
        ssim(torch.rand(5, 20, 20), torch.rand(5, 20, 20))
