"""Agreement with MRtrix's command lines and with DIPY, to float precision."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions, tensor_phantom

from dmri7t.signal.gradients import GradientTable
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.harmonics import basis_matrix, coefficient_orders, fit, plan_fit
from dmri7t.signal.resample import interpolate
from dmri7t.signal.rish import rish
from dmri7t.signal.tensor import (
    fit_tensor,
    fractional_anisotropy,
    mean_diffusivity,
    principal_direction,
)

needs_mrtrix = pytest.mark.skipif(
    shutil.which("dwi2tensor") is None, reason="MRtrix is not installed"
)

SHAPE = (9, 8, 7)


def oblique(flip: float) -> np.ndarray:
    """Affine with turned axes; ``flip`` -1 gives the negative determinant most scans have."""
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([flip * 2.0, 2.2, 2.5])
    affine[:3, 3] = 4, -7, 3
    return affine


@pytest.fixture(params=[-1.0, 1.0], ids=["negative determinant", "positive determinant"])
def scan(request, tmp_path) -> tuple[Path, np.ndarray, GradientTable, np.ndarray]:
    """A phantom on disk with FSL gradients: stem, signals, table, affine."""
    affine = oblique(request.param)
    bvals = np.array([0.0, 0.0] + [1000.0] * 60)
    table = GradientTable(bvals, np.concatenate([np.zeros((2, 3)), fibonacci_directions(60)]))
    data, _ = tensor_phantom(SHAPE, bvals, table.directions)
    data = np.maximum(data, 5)
    stem = tmp_path / "scan"
    nibabel.save(nibabel.Nifti1Image(data, affine), f"{stem}.nii")
    np.savetxt(f"{stem}.bval", bvals[None], fmt="%g")
    np.savetxt(f"{stem}.bvec", table.to_fsl(affine), fmt="%.9f")
    return stem, data, table, affine


def mrtrix(*args: object) -> None:
    run = subprocess.run(
        [*map(str, args), "-quiet", "-force"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def load(path: Path) -> np.ndarray:
    return nibabel.load(path).get_fdata()


def volumes_first(data: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(data.reshape(-1, data.shape[-1]).T.astype(np.float64))


def test_table_survives_the_files_whatever_the_affine(scan):
    stem, _, table, affine = scan
    bvecs = np.loadtxt(f"{stem}.bvec")
    again = GradientTable.from_fsl(table.bvals, bvecs, affine)
    np.testing.assert_allclose(again.directions, table.directions, atol=1e-7)


@needs_mrtrix
def test_gradients_are_mrtrix_scanner_frame(scan):
    stem, _, table, _ = scan
    mrtrix(
        "mrinfo",
        f"{stem}.nii",
        "-fslgrad",
        f"{stem}.bvec",
        f"{stem}.bval",
        "-export_grad_mrtrix",
        f"{stem}.b",
    )
    theirs = np.loadtxt(f"{stem}.b")
    np.testing.assert_allclose(theirs[2:, :3], table.directions[2:], atol=1e-5)


@needs_mrtrix
@pytest.mark.parametrize("order", [4, 8])
def test_coefficients_are_those_of_amp2sh(scan, order):
    stem, data, table, _ = scan
    mrtrix(
        "amp2sh",
        f"{stem}.nii",
        f"{stem}_sh.nii",
        "-lmax",
        order,
        "-fslgrad",
        f"{stem}.bvec",
        f"{stem}.bval",
    )
    theirs = volumes_first(load(f"{stem}_sh.nii"))
    plan = plan_fit(table.directions[2:], order, laplace_beltrami=0)
    ours = fit(volumes_first(data)[2:], plan)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=float(theirs.abs().max()) * 2e-6)


@needs_mrtrix
def test_rish_is_the_power_of_sh2power(scan):
    """sh2power takes the mean over the sphere: the energy over 4 pi."""
    stem, data, table, _ = scan
    mrtrix(
        "amp2sh",
        f"{stem}.nii",
        f"{stem}_sh.nii",
        "-lmax",
        6,
        "-fslgrad",
        f"{stem}.bvec",
        f"{stem}.bval",
    )
    mrtrix("sh2power", f"{stem}_sh.nii", f"{stem}_power.nii", "-spectrum")
    theirs = volumes_first(load(f"{stem}_power.nii"))
    plan = plan_fit(table.directions[2:], 6, laplace_beltrami=0)
    ours = rish(fit(volumes_first(data)[2:], plan))
    torch.testing.assert_close(ours, 4 * np.pi * theirs, rtol=1e-4, atol=float(ours.max()) * 1e-6)


@needs_mrtrix
@pytest.mark.parametrize("iterations", [0, 2])
def test_tensor_is_that_of_dwi2tensor(scan, iterations):
    stem, data, table, _ = scan
    mrtrix(
        "dwi2tensor",
        f"{stem}.nii",
        f"{stem}_dt.nii",
        "-ols",
        "-iter",
        iterations,
        "-fslgrad",
        f"{stem}.bvec",
        f"{stem}.bval",
    )
    theirs = volumes_first(load(f"{stem}_dt.nii"))
    ours = fit_tensor(volumes_first(data), table.bvals, table.directions, iterations).double()
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-7)
    mrtrix("tensor2metric", f"{stem}_dt.nii", "-fa", f"{stem}_fa.nii", "-adc", f"{stem}_md.nii")
    fa, md = load(f"{stem}_fa.nii").ravel(), load(f"{stem}_md.nii").ravel()
    # where noise makes an eigenvalue negative MRtrix lets FA pass 1; ours is held there
    np.testing.assert_allclose(fractional_anisotropy(ours), fa.clip(0, 1), atol=1e-3)
    # as near as the elements that it is the mean of: sums in float32 hang on the threads
    np.testing.assert_allclose(mean_diffusivity(ours), md, rtol=2e-3, atol=2e-7)


@needs_mrtrix
def test_principal_direction_is_that_of_tensor2metric(scan):
    stem, data, table, _ = scan
    gradients = ["-fslgrad", f"{stem}.bvec", f"{stem}.bval"]
    mrtrix("dwi2tensor", f"{stem}.nii", f"{stem}_dt.nii", "-ols", "-iter", 2, *gradients)
    vector = ["-num", 1, "-modulate", "none", "-vector", f"{stem}_vector.nii"]
    mrtrix("tensor2metric", f"{stem}_dt.nii", *vector)
    theirs = load(f"{stem}_vector.nii").reshape(-1, 3)
    fitted = fit_tensor(volumes_first(data), table.bvals, table.directions, 2)
    ours = principal_direction(fitted).double().numpy()
    # MRtrix sorts by magnitude, so that outside the phantom, where noise makes eigenvalues
    # negative, its first one may be the lowest
    _, inside = tensor_phantom(SHAPE, table.bvals, table.directions)
    fibre = (fractional_anisotropy(fitted).numpy() > 0.4) & inside.ravel()
    assert fibre.sum() > 60
    cosine = np.abs((ours * theirs).sum(1))[fibre]
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


@needs_mrtrix
@pytest.mark.parametrize("flip", [-1.0, 1.0], ids=["negative determinant", "positive determinant"])
def test_places_on_the_fine_grid_are_those_of_mrgrid(tmp_path, flip):
    """Both kernels keep a quadratic as it is, so the two must agree wherever it is looked at.

    Far from the borders: there the two continue the image differently.
    """
    affine = oblique(flip)
    grid = Grid((40, 44, 38), affine)

    def quadratic(g: Grid) -> np.ndarray:
        index = np.stack(np.meshgrid(*[np.arange(n) for n in g.shape], indexing="ij"), -1)
        x, y, z = np.moveaxis(index @ g.affine[:3, :3].T + g.affine[:3, 3], -1, 0) / 50
        return 1 + x - 0.5 * y**2 + 0.3 * x * z + 0.2 * z**2

    image, out = tmp_path / "in.nii", tmp_path / "out.nii"
    nibabel.save(nibabel.Nifti1Image(quadratic(grid).astype(np.float32), affine), image)
    mrtrix("mrgrid", image, "regrid", out, "-voxel", "1.6,1.9,2.1", "-interp", "cubic")
    made = nibabel.load(out)
    theirs = Grid(made.shape, made.affine)
    ours = refine(grid, (1.6, 1.9, 2.1))
    # the same voxels about the same centre; ours covers the field of view, theirs rounds
    np.testing.assert_allclose(theirs.affine[:3, :3], ours.affine[:3, :3], atol=1e-5)
    corners = [g.affine @ [*((np.array(g.shape) - 1) / 2), 1] for g in (theirs, ours)]
    np.testing.assert_allclose(*corners, atol=1e-4)
    assert all(0 <= a - b <= 1 for a, b in zip(ours.shape, theirs.shape, strict=True))
    values = interpolate(torch.as_tensor(quadratic(grid)), grid, theirs).numpy()
    inner = (slice(14, -14),) * 3
    np.testing.assert_allclose(values[inner], made.get_fdata()[inner], atol=3e-6)
    np.testing.assert_allclose(values[inner], quadratic(theirs)[inner], atol=3e-6)


@pytest.mark.parametrize(("n", "order"), [(16, 4), (30, 8), (90, 8)])
def test_penalised_fit_is_dipys(n, order):
    """DIPY's smooth inverse with the Laplace-Beltrami penalty; ours then undoes the gain."""
    from dipy.reconst.shm import smooth_pinv

    directions = fibonacci_directions(n)
    plan = plan_fit(directions, order, laplace_beltrami=0.006)
    place = coefficient_orders(order)
    penalty = np.sqrt(0.006) * place * (place + 1)
    theirs = smooth_pinv(basis_matrix(directions, order), penalty)
    np.testing.assert_allclose(plan.matrix_CN * plan.gain_L[place // 2][:, None], theirs, atol=1e-9)


def test_basis_is_dipys_tournier():
    from dipy.reconst.shm import real_sh_tournier

    directions = fibonacci_directions(25)
    x, y, z = directions.T
    theirs, _, _ = real_sh_tournier(6, np.arccos(z), np.arctan2(y, x), legacy=False)
    np.testing.assert_allclose(basis_matrix(directions, 6), theirs, atol=1e-12)


def test_basis_is_orthonormal():
    from dipy.data import get_sphere

    sphere = get_sphere(name="repulsion724").vertices
    basis = basis_matrix(sphere, 6)
    gram = 4 * np.pi * basis.T @ basis / len(sphere)
    np.testing.assert_allclose(gram, np.eye(28), atol=2e-2)


def test_weighted_tensor_is_dipys(scan):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    _, data, table, _ = scan
    theirs = TensorModel(
        gradient_table(table.bvals, bvecs=table.directions, b0_threshold=50), fit_method="WLS"
    ).fit(data.astype(float))
    ours = fit_tensor(volumes_first(data), table.bvals, table.directions, 1)
    # DIPY moves negative eigenvalues, which only noise gives, to zero
    physical = theirs.evals.min(-1).ravel() > 1e-5
    assert physical.sum() > 100
    np.testing.assert_allclose(
        fractional_anisotropy(ours)[physical], theirs.fa.ravel()[physical], atol=2e-3
    )
    np.testing.assert_allclose(
        mean_diffusivity(ours)[physical], theirs.md.ravel()[physical], atol=1e-6
    )
