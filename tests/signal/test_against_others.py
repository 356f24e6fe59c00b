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
from dmri7t.signal.harmonics import basis_matrix, fit, plan_fit
from dmri7t.signal.resample import interpolate
from dmri7t.signal.rish import rish
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy, mean_diffusivity

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
    np.testing.assert_allclose(mean_diffusivity(ours), md, atol=2e-7)


@needs_mrtrix
def test_spline_is_that_of_mrgrid(tmp_path):
    """Away from the borders, where the two continue the image differently."""
    rng = np.random.default_rng(0)
    volume = rng.random((20, 22, 18)).astype(np.float32)
    affine = np.diag([1.25, 1.25, 1.25, 1.0])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "in.nii")
    grid = Grid(volume.shape, affine)
    fine = refine(grid, 1.05)
    nibabel.save(
        nibabel.Nifti1Image(np.zeros(fine.shape, np.float32), fine.affine), tmp_path / "to.nii"
    )
    mrtrix(
        "mrgrid",
        tmp_path / "in.nii",
        "regrid",
        tmp_path / "out.nii",
        "-template",
        tmp_path / "to.nii",
        "-interp",
        "cubic",
    )
    theirs = load(tmp_path / "out.nii")
    ours = interpolate(torch.from_numpy(volume).double(), grid, fine).numpy()
    # MRtrix's cubic is Catmull-Rom-like, not a B-spline: the same place, not the same kernel
    inner = (slice(6, -6),) * 3
    assert np.corrcoef(ours[inner].ravel(), theirs[inner].ravel())[0, 1] > 0.97


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
